"""Tables of numbers as text: any of the usual separators, with or without a header."""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TextIO

import numpy as np

from fedtiny.errors import DataError
from fedtiny.signal.checks import columns_in
from fedtiny.signal.recording import Samples

_TRIM = ' \t\r\n"'
_FLOAT32_MAX = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Table:
    """How a text file is laid out: header (if any), lines before the data, separator, columns of row one."""

    header: tuple[str, ...] | None
    skip: int
    separator: str | None
    width: int


def read_text(path: Path, channels: tuple[str, ...] | None = None, *, width: int | None = None) -> Samples:
    """A table of numbers, float32 (rows, channels).

    Where the header names all `channels`, those columns are taken by name and the others may hold anything;
    otherwise every column is a channel.
    """
    table = sniff(path)
    if channels and table.header and set(channels) <= set(table.header):
        width = len(table.header)
        columns = [table.header.index(channel) for channel in channels]
    else:
        width = width or (len(channels) if channels else table.width)
        columns = list(range(width))
    try:
        values: Samples = np.loadtxt(
            str(path),
            dtype=np.float32,
            comments=None,
            delimiter=table.separator,
            skiprows=table.skip,
            ndmin=2,
            encoding="latin1",
        )
    except ValueError:
        return _read_rows(path, table, width, columns)
    if values.shape[1] != width:
        return _read_rows(path, table, width, columns)
    if columns != list(range(width)):
        values = values[:, columns]
    return values if np.isfinite(values).all() else _read_rows(path, table, width, columns)


def row_count(path: Path) -> int:
    """Rows of numbers in a text file, counted without parsing them."""
    header = sniff(path).skip
    with _open_text(path) as lines:
        return sum(1 for row, line in enumerate(lines, 1) if row > header and not line.isspace())


def sniff(path: Path) -> Table:
    """Separator and header from the first two lines: a first line without any number is a header."""
    with _open_text(path) as lines:
        head = list(islice(((row, line) for row, line in enumerate(lines, 1) if line.strip()), 2))
    if not head:
        raise DataError(f"{path}: empty; expected rows of numbers")
    row, line = head[0]
    separator = _separator(line)
    cells = _split(line, separator)
    if any(_number(cell) is not None for cell in cells):
        return Table(None, row - 1, separator, len(cells))
    if len(head) == 1:
        raise DataError(f"{path}: no rows of numbers, only {line.strip()[:40]!r}")
    separator = _separator(head[1][1])
    width = len(_split(head[1][1], separator))
    names = _split(line, separator)
    if separator is None and len(names) != width:  # names of several words
        names = [line.strip(_TRIM)] if width == 1 else [""] * width
    return Table(tuple(names), row, separator, width)


def _read_rows(path: Path, table: Table, width: int, columns: Sequence[int]) -> Samples:
    """The same row by row, where numpy gives up: on text in a column not asked for, or on a row to blame."""
    values = array("f")
    with _open_text(path) as lines:
        for row, line in enumerate(lines, 1):
            if row <= table.skip or not line.strip():
                continue
            cells = _split(line, table.separator)
            if len(cells) != width:
                raise DataError(f"{path}: row {row} has {columns_in(len(cells))}, expected {width}")
            for column in columns:
                value = _number(cells[column])
                if value is None or not abs(value) <= _FLOAT32_MAX:
                    what = "a number" if value is None else "a finite number"
                    raise DataError(
                        f"{path}: row {row}, column {column + 1} is {cells[column][:40]!r}, expected {what}"
                    )
                values.append(value)
    return np.array(values, np.float32).reshape(-1, len(columns))


def _open_text(path: Path) -> TextIO:
    try:
        return path.open(encoding="utf-8-sig", errors="replace")
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None


def _split(line: str, separator: str | None) -> list[str]:
    return [cell.strip(_TRIM) for cell in line.strip("\r\n ").split(separator)]


def _separator(line: str) -> str | None:
    return next((mark for mark in (";", "\t", ",") if mark in line.strip()), None)


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None
