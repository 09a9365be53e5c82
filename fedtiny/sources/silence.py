"""A live source that says so when its sensor has fallen silent."""

import time
from collections.abc import Iterator

import numpy as np

from fedtiny.signal.recording import Recording, Source


class Silence:
    """``source``, and one recording with a fault when nothing has come for ``silent_s`` seconds."""

    def __init__(self, source: Source, silent_s: float) -> None:
        self._source, self._silent_s = source, silent_s
        self.name, self.sample_rate_hz = source.name, source.sample_rate_hz
        self.channels, self.live = source.channels, source.live
        self.close = source.close

    def recordings(self, after: str = "") -> Iterator[Recording | None]:
        """Those of the source, in its order."""
        heard, said = time.monotonic(), False
        for one in self._source.recordings(after):
            yield one
            if one is not None:
                heard, said = time.monotonic(), False
            elif not said and time.monotonic() - heard > self._silent_s:
                said = True
                empty = np.empty((0, len(self.channels)), np.float32)
                yield Recording(self.name, empty, fault=f"disconnected: nothing came for {self._silent_s:g} s")
