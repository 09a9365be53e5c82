"""Rows of ready-made features from a CSV, for releases whose features are given."""

import csv
import gzip
import math
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
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
        time: Column with the time of each row, Unix seconds or ISO 8601 (UTC where it names no zone); None: none.
    """

    live = False

    def __init__(
        self,
        path: Path,
        channels: tuple[str, ...] | None = None,
        sample_rate_hz: float = 1.0,
        time: str | None = None,
    ) -> None:
        self._path = path
        self.name = f"rows {path.resolve()}"
        self.sample_rate_hz = sample_rate_hz
        with _table(path) as lines:
            header = [name.strip() for name in next(csv.reader(lines), [])]
        self.channels = tuple(channels or (name for name in header if name != time))
        for name in self.channels if time is None else (*self.channels, time):
            if header.count(name) != 1:
                found = ", ".join(header[:20]) or "an empty file"
                raise DataError(f"{path}: column {name!r} is expected once in the header; found {found}")
        self._width, self._columns = len(header), [header.index(name) for name in self.channels]
        self._time = None if time is None else header.index(time)

    def recordings(self, after: str = "") -> Iterator[Recording]:
        """A recording a row, (1, features), from behind row ``after`` (1 is the first below the header)."""
        first = int(after) + 1 if after else 1
        with _table(self._path) as lines:
            for row, cells in enumerate(csv.reader(lines)):
                if row >= first and cells:
                    name = f"{self._path.name} row {row}"
                    yield Recording(name, self._sample(row, cells), at=self._at(row, cells), cursor=str(row))

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

    def _at(self, row: int, cells: list[str]) -> float | None:
        if self._time is None:
            return None
        try:
            return _seconds(cells[self._time])
        except ValueError:
            found = cells[self._time][:40]
            raise DataError(f"{self._path}: row {row}: time {found!r}, expected Unix seconds or ISO 8601") from None


def _seconds(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        found = datetime.fromisoformat(text.strip())
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


@contextmanager
def _table(path: Path) -> Iterator[TextIO]:
    try:
        with (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8-sig", newline="") as lines:
            yield lines
    except (OSError, EOFError, zlib.error, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read ({reason(error)})") from None
