"""Is a sensor as fast, and as even, as it was asked to be?

A spectrum is only as good as the clock below it. Over each block of `TIMED_S` with the kernel's timestamps, or
`UNTIMED_S` without them (bursts of the sensor's own memory blur the ends), the achieved rate is measured:

- more than 2 % off: a warning; more than 10 % off, in two blocks one behind the other: DataError;
- jitter, the 99 % quantile of |interval - median interval| (timestamps only): beyond a tenth of a sample period a
  warning; beyond half of one, in two blocks, DataError: a sample then may stand for its neighbour.
"""

import logging

import numpy as np
from numpy.typing import NDArray

from fedtiny.errors import DataError

TIMED_S, UNTIMED_S = 5.0, 30.0
WARN_RATE, LIMIT_RATE = 0.02, 0.10
WARN_JITTER, LIMIT_JITTER = 0.1, 0.5

log = logging.getLogger(__name__)


class RateCheck:
    """Feed it what arrives; it warns once for each kind of trouble, and raises past the limit."""

    def __init__(self, name: str, asked_hz: float) -> None:
        self._name, self._asked = name, asked_hz
        self._warned: set[str] = set()
        self._past_limit = 0
        self.achieved_hz: float | None = None
        self.restart()

    def restart(self) -> None:
        """Begin a new block: there was a break."""
        self._intervals: list[NDArray[np.int64]] = []
        self._began: float | None = None
        self._count = self._span = 0

    def timed(self, intervals: NDArray[np.int64]) -> None:
        """Between the kernel's timestamps of the next samples, nanoseconds, (n,); those with a gap left out."""
        if (intervals <= 0).any():  # the clock of the stamps was set
            self.restart()
            return
        self._intervals.append(intervals)
        self._span += int(intervals.sum())
        if self._span >= TIMED_S * 1e9:
            block = np.concatenate(self._intervals)
            rate = len(block) / self._span * 1e9
            deviation = np.abs(block - np.median(block)) * 1e-9
            self.restart()
            self._judge(rate, float(np.quantile(deviation, 0.99)) * self._asked)

    def untimed(self, count: int, now: float) -> None:
        """``count`` samples were complete at ``now``, monotonic seconds."""
        if self._began is None:  # those before the first look came at nobody knows what time
            self._began = now
            return
        self._count += count
        if now - self._began >= UNTIMED_S:
            rate = self._count / (now - self._began)
            self.restart()
            self._began = now
            self._judge(rate, 0.0)

    def _judge(self, rate: float, jitter: float) -> None:
        self.achieved_hz = rate
        off = abs(rate / self._asked - 1)
        found = f"{rate:.6g} Hz, asked for {self._asked:g} Hz ({rate / self._asked - 1:+.1%})"
        uneven = f"intervals jitter by {jitter:.2f} of a sample period"
        past = off > LIMIT_RATE or jitter > LIMIT_JITTER
        self._past_limit = self._past_limit + 1 if past else 0
        if self._past_limit >= 2:
            what = f"{found}; at most {LIMIT_RATE:.0%} off" if off > LIMIT_RATE else f"{uneven}, at most {LIMIT_JITTER}"
            raise DataError(f"{self._name}: {what} is usable")
        if off > WARN_RATE:
            self._warn("rate", found)
        if jitter > WARN_JITTER:
            self._warn("jitter", uneven)

    def _warn(self, kind: str, words: str) -> None:
        if kind not in self._warned:
            self._warned.add(kind)
            log.warning("%s: %s", self._name, words)
