"""A device's last score summaries, in little memory: 32 bytes each, so that thousands of devices have a past."""

from array import array
from collections.abc import Iterator
from typing import NamedTuple

from fedtiny.protocol.messages import ScoreSummary

POINTS = 240
_FIELDS = 4


class Point(NamedTuple):
    """A span of scores: Unix time of its arrival, mean and largest score, threshold (0 where there was none)."""

    at: float
    mean: float
    largest: float
    threshold: float


class Trace:
    """The newest ``POINTS`` points, oldest first."""

    def __init__(self) -> None:
        self._numbers = array("d")

    def add(self, summary: ScoreSummary, at: float) -> None:
        """Take in a summary that came at Unix time ``at``."""
        self._numbers.extend((at, summary.mean, summary.max, summary.threshold or 0.0))
        if len(self) > POINTS:
            del self._numbers[:_FIELDS]

    def __len__(self) -> int:
        return len(self._numbers) // _FIELDS

    def __iter__(self) -> Iterator[Point]:
        numbers = self._numbers
        return (Point(*numbers[start : start + _FIELDS]) for start in range(0, len(numbers), _FIELDS))
