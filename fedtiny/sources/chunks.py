"""A live stream cut into recordings, neither too many nor too long."""

import time
from collections.abc import Iterator

import numpy as np

from fedtiny.signal.recording import Recording, Samples

CHUNK_S, CHUNK_SAMPLES = 0.25, 65_536
PAUSE_S, PAUSE_SAMPLES = 1.0, 10  # what comes after the longer of the two does not follow what came before
NOT_FINITE = "dropped: non-finite values"


def limit_of(sample_rate_hz: float) -> int:
    """The most samples that a recording of a live stream has."""
    return min(CHUNK_SAMPLES, max(1, int(CHUNK_S * sample_rate_hz)))


class Chunks:
    """Gathers what comes in, small or large, to recordings of at most `CHUNK_S` and `CHUNK_SAMPLES`."""

    def __init__(self, name: str, sample_rate_hz: float, channels: tuple[str, ...]) -> None:
        self._name, self._rate, self._width = name, sample_rate_hz, len(channels)
        self._limit = limit_of(sample_rate_hz)
        self._pause = max(PAUSE_S, PAUSE_SAMPLES / sample_rate_hz)
        self._last = time.monotonic()
        self._waiting: list[Samples] = []
        self._count = 0
        self._at = 0.0
        self._fault = ""
        self._follows = False

    def add(self, samples: Samples, fault: str = "", at: float | None = None) -> Iterator[Recording]:
        """Take ``samples`` (n, channels); give what is full.

        Args:
            samples: The next of the stream; what is not finite among them becomes NaN.
            fault: What happened right before them: they do not follow what was taken until now.
            at: Unix time of the first of them, seconds; None: they have just come in.
        """
        now = time.monotonic()
        if fault or now - self._last > self._pause:
            yield from self.flush()
            self._fault, self._follows = fault, False
        self._last = now
        while len(samples):
            if not self._count:
                self._at = time.time() - len(samples) / self._rate if at is None else at
            part = samples[: self._limit - self._count]
            self._waiting.append(part)
            self._count += len(part)
            samples = samples[len(part) :]
            at = None if at is None else at + len(part) / self._rate
            if self._count == self._limit:
                yield from self.flush()

    def flush(self) -> Iterator[Recording]:
        """Give what is there, and a fault that nothing has come behind yet."""
        if not self._count and not self._fault:
            return
        empty = np.empty((0, self._width), np.float32)
        samples = np.concatenate(self._waiting) if self._waiting else empty
        fault = self._fault
        if not np.isfinite(samples).all():
            samples = np.where(np.isfinite(samples), samples, np.float32(np.nan))
            fault = fault or NOT_FINITE
        at = self._at if self._count else time.time()
        recording = Recording(self._name, samples, at=at, follows=self._follows, fault=fault)
        self._follows = self._count > 0
        self._waiting, self._count, self._fault = [], 0, ""
        yield recording
