"""Rows of ready-made features from a CSV, for releases whose features are given."""

import csv
import gzip
import math
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import numpy as np

from fedtiny.errors import DataError
from fedtiny.signal.checks import columns_in, reason
from fedtiny.signal.recording import Recording

FLOAT32_MAX = float(np.finfo(np.float32).max)


class Rows:
    """A table with a header, plain or as .gz; every row is a recording of one sample, its channels the features.

    Args:
        path: The table; its rows in time order.
        channels: Columns to take, in this order; None takes all.
        sample_rate_hz: Rows a second when the table was made.
    """

    live = False

    def __init__(self, path: Path, channels: tuple[str, ...] | None = None, sample_rate_hz: float = 1.0) -> None:
        self._path = path
        self.name = f"rows {path.resolve()}"
        self.sample_rate_hz = sample_rate_hz
        with _table(path) as lines:
            header = [name.strip() for name in next(csv.reader(lines), [])]
        self.channels = tuple(channels or header)
        for name in self.channels:
            if header.count(name) != 1:
                found = ", ".join(header[:20]) or "an empty file"
                raise DataError(f"{path}: column {name!r} is expected once in the header; found {found}")
        self._width, self._columns = len(header), [header.index(name) for name in self.channels]

    def recordings(self, after: str = "") -> Iterator[Recording]:
        """A recording a row, (1, features), from behind row ``after`` (1 is the first below the header)."""
        first = int(after) + 1 if after else 1
        with _table(self._path) as lines:
            for row, cells in enumerate(csv.reader(lines)):
                if row >= first and cells:
                    yield Recording(f"{self._path.name} row {row}", self._sample(row, cells), cursor=str(row))

    def close(self) -> None:
        """Nothing is held open."""

    def _sample(self, row: int, cells: list[str]) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
        if len(cells) != self._width:
            raise DataError(f"{self._path}: row {row} has {columns_in(len(cells))}, expected {self._width}")
        values = []
        for name, column in zip(self.channels, self._columns, strict=True):
            try:
                value = float(cells[column])
            except ValueError:
                value = math.nan
            if not abs(value) <= FLOAT32_MAX:
                raise DataError(
                    f"{self._path}: row {row}, column {name!r} is {cells[column][:40]!r}, expected a finite number"
                )
            values.append(value)
        return np.array([values], np.float32)


@contextmanager
def _table(path: Path) -> Iterator[TextIO]:
    try:
        with (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8-sig", newline="") as lines:
            yield lines
    except (OSError, EOFError, zlib.error, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read ({reason(error)})") from None
