"""A list that draws only the rows that are on the screen, and of these only the ones that have changed.

Textual's DataTable took 0.8 s to put 1,000 rows into another order; here the cost depends on the screen's height.
"""

from collections.abc import Callable
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from fedtiny.monitor.rows import EMPTY, Row

PLAIN, MARK = Style(), Style(reverse=True)  # in the terminal's own colours
PAGE = 1_000_000  # rows, more than there are: to an end


class Listing(ScrollView, can_focus=True):
    """Rows under a heading. cursor: one row is marked, and keys move the mark. follow: stay at the end."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", show=False),
        Binding("down,j", "move(1)", show=False),
        Binding("pageup", "page(-1)", show=False),
        Binding("pagedown,space", "page(1)", show=False),
        Binding("home", f"move(-{PAGE})", show=False),
        Binding("end", f"move({PAGE})", show=False),
    ]
    DEFAULT_CSS = "Listing { overflow-x: hidden; scrollbar-size-vertical: 1; }"

    class Moved(Message):
        """A key has put the mark on another row."""

        def __init__(self, listing: "Listing", row: int) -> None:
            super().__init__()
            self.listing, self.row = listing, row

        @property
        def control(self) -> "Listing":
            """The list."""
            return self.listing

    def __init__(self, *, id: str, cursor: bool = False, follow: bool = False) -> None:
        super().__init__(id=id)
        self._cursor = 0 if cursor else None
        self._follow = follow
        self._count = 0
        self._heading: Row = EMPTY
        self._row: Callable[[int], Row] = lambda _: EMPTY
        self._drawn: dict[int, tuple[Row, bool]] = {}

    def show(self, heading: Row, count: int, row: Callable[[int], Row], cursor: int | None = None) -> None:
        """Show ``count`` rows, of which ``row(index)`` is one. cursor: the row to mark now."""
        at_end = self.scroll_offset.y >= self.max_scroll_y
        grown = count != self._count
        self._heading, self._count, self._row = heading, count, row
        if grown:
            self.virtual_size = Size(0, count + 1)
        if self._follow and grown and at_end:
            self.call_after_refresh(self.scroll_end, animate=False)
        if cursor is not None and cursor != self._cursor:
            self._cursor = cursor
            self._keep_in_sight()
        for y in range(self.size.height):
            if self._drawn.get(y) != self._line(y):
                self.refresh(Region(0, y, self.size.width, 1))

    def render_line(self, y: int) -> Strip:
        """Line ``y`` of the widget; Textual calls this."""
        row, marked = self._drawn[y] = self._line(y)
        base = MARK if marked else PLAIN
        segments = [Segment(text, base + Style.parse(style)) for text, style in row]
        return Strip(segments).adjust_cell_length(self.size.width, base)

    def action_move(self, rows: int) -> None:
        """Move the mark, or the rows where there is none."""
        if self._cursor is None:
            self.scroll_to(y=self.scroll_offset.y + rows, animate=False)
            return
        self._cursor = min(max(self._cursor + rows, 0), max(self._count - 1, 0))
        self._keep_in_sight()
        self.refresh()
        self.post_message(self.Moved(self, self._cursor))

    def action_page(self, pages: int) -> None:
        """Move by what fits the screen."""
        self.action_move(pages * max(self.size.height - 2, 1))

    def _line(self, y: int) -> tuple[Row, bool]:
        """What stands in line ``y``, and whether it is marked."""
        index = self.scroll_offset.y + y - 1
        if y == 0:
            return self._heading, False
        return (self._row(index), index == self._cursor) if index < self._count else (EMPTY, False)

    def _keep_in_sight(self) -> None:
        assert self._cursor is not None
        top, rows = self.scroll_offset.y, self.size.height - 1
        if not top <= self._cursor < top + rows:
            to = self._cursor if self._cursor < top else self._cursor - rows + 1
            self.scroll_to(y=to, animate=False, immediate=True)
