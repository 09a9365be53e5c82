"""Rows of ready-made features from a CSV, for releases whose features are given."""

import csv
import gzip
import logging
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


log = logging.getLogger(__name__)


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
        self._odd_time = False
        self._time = None if time is None else header.index(time)

    def recordings(self, after: str = "") -> Iterator[Recording]:
        """A recording a row, (1, features), from behind row ``after`` (1 is the first below the header)."""
        first = int(after) + 1 if after else 1
        with _table(self._path) as lines:
            for row, cells in enumerate(csv.reader(lines)):
                if row >= first and cells:
                    yield self._recording(row, cells)

    def close(self) -> None:
        """Nothing is held open."""

    def _recording(self, row: int, cells: list[str]) -> Recording:
        """One row; a row that cannot be read is the fault of whoever writes the table, and ends nothing."""
        name, cursor = f"{self._path.name} row {row}", str(row)
        if len(cells) != self._width:
            empty = np.empty((0, len(self.channels)), np.float32)
            fault = f"unreadable: row {row} has {columns_in(len(cells))}, expected {self._width}"
            return Recording(name, empty, fault=fault, cursor=cursor)
        sample = np.array([[_value(cells[column]) for column in self._columns]], np.float32)
        return Recording(name, sample, at=self._at(row, cells), cursor=cursor)

    def _at(self, row: int, cells: list[str]) -> float | None:
        if self._time is None:
            return None
        try:
            return _seconds(cells[self._time])
        except ValueError:
            if not self._odd_time:
                log.warning(
                    "%s: row %d: time %r, expected Unix seconds or ISO 8601", self._path, row, cells[self._time][:40]
                )
            self._odd_time = True
            return None


def _value(text: str) -> float:
    """A number, NaN for what is none or no float32 can hold."""
    try:
        value = float(text)
    except ValueError:
        return math.nan
    return value if abs(value) <= FLOAT32_MAX else math.nan


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
