"""The screens as rows, from what is known of the fleet: a heading, and one row at a time."""

from collections.abc import Sequence
from dataclasses import dataclass

from fedtiny.monitor import words
from fedtiny.monitor.rows import Cell, Column, Row, heading, table_row
from fedtiny.monitor.view import DeviceView, Entry, FleetView, RoundView
from fedtiny.plain import plain

STATE_STYLES = {"online": "green", "offline": "red"}
LOG_STYLES = {"": "", "alarm": "red", "trouble": "yellow"}


@dataclass(frozen=True)
class FleetPage:
    """The devices, in columns for a terminal of ``width`` cells."""

    view: FleetView
    width: int

    @property
    def columns(self) -> list[Column]:
        """Those after the device are as wide as what they usually hold; it gets the rest, up to 40."""
        roomy = self.width >= 100
        rest = [
            Column("state", 7),
            Column("rel/rev", 16 if roomy else 13),
            Column("phase", 9),
            Column("heard", 5, right=True),
            Column("score/threshold" if roomy else "score/thresh", 17 if roomy else 12, right=True),
            Column("alarm", 17 if roomy else 10),
            Column("MB", 3, right=True),
        ]
        return [Column("device", min(40, self.width - sum(column.width + 1 for column in rest) - 2)), *rest]

    def heading(self) -> Row:
        """Of the table."""
        return heading(self.columns)

    def row(self, name: str, device: DeviceView, now: float) -> Row:
        """One device at Unix time ``now``."""
        status, raised, standing = device.status, words.raised(device), words.standing(device)
        head, state = self.view.head, words.state(device)
        behind = bool(head and status and status.base and status.base.revision < head.revision)
        conflict = bool(status and status.conflict)
        cells: list[Cell] = [
            (name, "bold red" if raised else "bold magenta" if conflict else ""),
            (state, STATE_STYLES.get(state, "")),
            (words.base(status, 6 if self.width >= 100 else 4) if status else "-", "yellow" if behind else ""),
            (words.phase(status) if status else "-", ""),
            (words.heard(device, now), ""),
            (words.pair(words.score(device)), "red" if raised else ""),
            (standing or "-", "bold red" if raised else "yellow" if standing else ""),
            (words.memory(device), ""),
        ]
        return table_row(self.columns, cells)


@dataclass(frozen=True)
class RoundsPage:
    """The rounds, newest first."""

    width: int

    @property
    def columns(self) -> list[Column]:
        """The outcome gets what the others leave."""
        rest = [
            Column("round", 5, right=True),
            Column("state", 6),
            Column("strategy", 12 if self.width >= 100 else 8),
            Column("asked", 5, right=True),
            Column("answered", 8, right=True),
            Column("loss old > new", 17 if self.width >= 100 else 14),
            Column("kB up", 7 if self.width >= 100 else 6, right=True),
        ]
        return [*rest, Column("outcome", max(self.width - sum(column.width + 1 for column in rest) - 2, 8))]

    def heading(self) -> Row:
        """Of the table."""
        return heading(self.columns)

    def row(self, seen: RoundView) -> Row:
        """One round."""
        message = seen.message
        closed = message.state == "closed"
        losses = (message.loss_before, message.loss_after)
        before, after = ("-" if loss is None else f"{loss:.3g}" for loss in losses)
        answered = str(message.updates) if closed else str(seen.answered or "-")
        left_out = f", {message.left_out} left out" if message.left_out else ""
        outcome = plain(f"{message.outcome or ''}{left_out}") if closed else f"since {message.opened_utc[11:19]}"
        cells: list[Cell] = [
            (str(message.round_number), ""),
            (message.state, "" if closed else "green"),
            (message.strategy, ""),
            (str(seen.asked), ""),
            (answered, ""),
            (f"{before} > {after}", ""),
            (f"{message.bytes_up / 1e3:,.0f}" if closed else "-", ""),
            (outcome, ""),
        ]
        return table_row(self.columns, cells)


def log_row(entry: Entry) -> Row:
    """A line of the event log."""
    return ((str(entry), LOG_STYLES[entry.weight]),)


def refusals(view: FleetView) -> Sequence[Row]:
    """What the coordinator has refused, by reason, and what became of the newest command."""
    status = view.status
    if status is None:
        return [(("the coordinator has not said anything yet", "dim"),)]
    counted = ", ".join(f"{plain(reason)} {count}" for reason, count in sorted(status.rejected.items()))
    rows: list[Row] = [(("refused by the coordinator: ", "bold"), (counted or "nothing", "yellow" if counted else ""))]
    if status.orders:
        last = status.orders[-1]
        told = f"{last.order}, {'done' if last.ok else 'REFUSED'} {last.done_utc[11:19]}: {last.outcome}"
        rows.append((("newest command: ", "bold"), (plain(told), "" if last.ok else "red")))
    return rows
