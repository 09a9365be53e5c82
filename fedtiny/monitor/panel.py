"""A few lines that are drawn again only when they change, and the line of the pages."""

from collections.abc import Mapping, Sequence

from rich.text import Text
from textual.widgets import Static

from fedtiny.monitor.rows import Row, fit


class Panel(Static):
    """Rows, as high as they are many; nothing where there are none."""

    _rows: Sequence[Row] | None = None

    def show(self, rows: Sequence[Row]) -> None:
        """Show ``rows``, each cut to one line."""
        if rows == self._rows:
            return
        self._rows = rows
        lines = [Text.assemble(*row, no_wrap=True, overflow="ellipsis") for row in rows]
        self.display = bool(rows)
        self.update(Text("\n", no_wrap=True, overflow="ellipsis").join(lines))


def tabs(pages: Mapping[str, str], current: str, link: str, connected: bool, width: int) -> Row:
    """The names of the pages with their keys, and how the connection is."""
    cells = [
        (f" {number} {title} ", "bold reverse" if name == current else "")
        for number, (name, title) in enumerate(pages.items(), 1)
    ]
    left = sum(len(text) for text, _ in cells)
    return (*cells, (fit(link, max(width - left, 10), right=True), "green" if connected else "bold red"))
