"""Rows of a screen: cells of text with a style, cut or filled to a width."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size

Cell = tuple[str, str]  # text and how it looks, as rich names it: "bold red"
Row = tuple[Cell, ...]
EMPTY: Row = ()


@dataclass(frozen=True)
class Column:
    """A column: heading, width in cells, and whether it is flush right."""

    title: str
    width: int
    right: bool = False


def fit(text: str, width: int, right: bool = False) -> str:
    """``text`` in exactly ``width`` cells of a terminal; what does not fit ends in an ellipsis."""
    if (taken := cell_len(text)) > width:
        return set_cell_size(text, max(width - 1, 0)) + "…" * (width > 0)
    return " " * (width - taken) + text if right else text + " " * (width - taken)


def heading(columns: Sequence[Column]) -> Row:
    """The line of the headings."""
    return table_row(columns, [(column.title, "bold") for column in columns])


def table_row(columns: Sequence[Column], cells: Sequence[Cell]) -> Row:
    """One line of a table, with a blank between the columns."""
    return tuple(
        (fit(text, column.width, column.right) + " ", style)
        for column, (text, style) in zip(columns, cells, strict=True)
    )


def grid(pairs: Sequence[tuple[str, str]], width: int) -> list[Row]:
    """Names with their values, in as many columns as ``width`` has room for, read from top to bottom."""
    side_by_side = min(max(1, width // 38), 3)
    each = width // side_by_side
    lines = -(-len(pairs) // side_by_side)
    rows = []
    for line in range(lines):
        cells: list[Cell] = []
        for name, value in pairs[line::lines]:
            cells += [(fit(name, 14), "dim"), (fit(value, each - 15) + " ", "")]
        rows.append(tuple(cells))
    return rows
