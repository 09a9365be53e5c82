"""A few lines that are drawn again only when they change, and the line of the pages."""

from collections.abc import Mapping, Sequence

from rich.text import Text
from textual.widgets import Static

from fedtiny.monitor.rows import Row, fit


class Panel(Static):
    """A few rows; nothing where there are none."""

    _rows: Sequence[Row] | None = None

    def show(self, rows: Sequence[Row]) -> None:
        """Show ``rows``."""
        if rows == self._rows:
            return
        self._rows = rows
        self.display = bool(rows)
        self.update(Text("\n").join(Text.assemble(*row) for row in rows))


def tabs(pages: Mapping[str, str], current: str, link: str, connected: bool, width: int) -> Row:
    """The names of the pages with their keys, and how the connection is."""
    cells = [
        (f" {number} {title} ", "bold reverse" if name == current else "")
        for number, (name, title) in enumerate(pages.items(), 1)
    ]
    left = sum(len(text) for text, _ in cells)
    return (*cells, (fit(link, max(width - left, 10), right=True), "green" if connected else "bold red"))
