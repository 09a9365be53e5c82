"""The table of ``fedtiny monitor --once``."""

from typing import TYPE_CHECKING, Any

from fedtiny.config import Config
from fedtiny.monitor import words
from fedtiny.monitor.facts import conflicts, coordinator_line, fleet_line, round_line, troubles
from fedtiny.monitor.view import FleetView
from fedtiny.plain import plain

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table

COLUMNS = (
    ("state", False),
    ("rel/rev", False),
    ("phase", False),
    ("heard", True),
    ("score/threshold", True),
    ("alarm", False),
    ("MB", True),
)
RECENT = 5


def render(config: Config, view: FleetView, link: str, now: float) -> "Group":
    """The fleet as something that rich prints. now: Unix time."""
    from rich.console import Group
    from rich.text import Text

    parts: list[Any] = [
        Text(plain(link)),
        Text(fleet_line(view, config.fleet)),
        Text(coordinator_line(view)),
        Text(round_line(view)),
        _table(view, now),
    ]
    if text := conflicts(view):
        parts.append(Text(text, style="bold red"))
    parts += [Text(line, style="yellow") for line in troubles(view)]
    parts += [Text(str(entry), style="dim") for entry in list(view.log)[-RECENT:]]
    for part in parts:
        if isinstance(part, Text):
            part.no_wrap, part.overflow = True, "ellipsis"
    return Group(*parts)


def _table(view: FleetView, now: float) -> "Table":
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 1, 0, 0), expand=True, header_style="bold")
    table.add_column("device", no_wrap=True, overflow="ellipsis", ratio=1)
    for title, right in COLUMNS:
        table.add_column(title, no_wrap=True, justify="right" if right else "left")
    first = words.ORDERS["alarms first"]
    for name, device in sorted(view.devices.items(), key=lambda item: first(*item)):
        status, raised, standing = device.status, words.raised(device), words.standing(device)
        behind = bool(view.head and status and status.base and status.base.revision < view.head.revision)
        state = words.state(device)
        table.add_row(
            name,
            Text(state, style={"online": "green", "offline": "red"}.get(state, "")),
            Text(words.base(status) if status else "-", style="yellow" if behind else ""),
            words.phase(status) if status else "-",
            words.heard(device, now),
            Text(words.pair(words.score(device)), style="red" if raised else ""),
            Text(standing or "-", style="bold red" if raised else "yellow" if standing else ""),
            words.memory(device),
        )
    return table
