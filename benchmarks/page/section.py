"""What a section of the page is, and how its parts are written."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Picture:
    """A picture of a section: its file's name without ending, what it shows in words, and itself."""

    name: str
    caption: str
    figure: "Figure"


@dataclass(frozen=True)
class Section:
    """A section: its heading, one paragraph that says where we stand, the rest in Markdown, pictures at its end.

    figures: what other pages quote, by name, as they should read ("34 ms", "1,283 B").
    """

    title: str
    lead: str
    body: str
    pictures: tuple[Picture, ...] = ()
    figures: Mapping[str, str] | None = None


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; the first column is of words, the others of figures."""
    lines = ["| " + " | ".join(head) + " |", "|---" + "|---:" * (len(head) - 1) + "|"]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def floors(results: Mapping[str, Any]) -> str:
    """The promises of a results file as a table, each met or short; nothing where there are none."""
    rows = [
        (
            str(floor["what"]),
            _with_unit(floor["figure"], floor["unit"]),
            ("at most " if floor["at_most"] else "at least ") + _with_unit(floor["bound"], floor["unit"]),
            "met" if floor["met"] else "**short**",
        )
        for floor in results.get("floors", ())
    ]
    return table(("asked for", "measured", "bound", ""), rows) if rows else ""


def _with_unit(value: float, unit: str) -> str:
    return f"{value:.4g} {unit}".rstrip()
