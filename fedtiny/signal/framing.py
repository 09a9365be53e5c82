"""Recordings -> windows, across the border of recordings that follow each other without a gap."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedtiny.signal.recording import Recording, Samples
from fedtiny.signal.windows import cut


class Framer:
    """Cuts windows of ``window`` samples every ``hop``, or every ``stream_hop`` in a stream.

    In a stream, where ``stream_hop`` may be longer than a window, what lies between two windows is passed over; the
    time that passes between recordings that do not follow each other counts as samples that are passed over.
    ``wasted``: the last call has found that a stretch ended before it made a single window.
    """

    def __init__(self, window: int, hop: int, stream_hop: int, sample_rate_hz: float) -> None:
        self._window, self._hop, self._stream_hop, self._rate = window, hop, stream_hop, sample_rate_hz
        self._rest: Samples | None = None
        self._skip = 0
        self._ended = 0.0
        self._fruitful = True
        self.wasted = False

    def windows(self, recording: Recording, arrived: float | None = None) -> NDArray[Any]:
        """The windows (n, window, channels) that ``recording`` completes; n may be 0.

        arrived: monotonic clock, seconds, where it is part of a stream; None: a snapshot on its own.
        """
        samples = recording.samples
        if arrived is None:
            self._rest, self.wasted = None, len(samples) < self._window
            return cut(samples, self._window, self._hop)
        self.wasted = False
        if recording.follows and self._rest is not None:
            samples = np.concatenate([self._rest, samples])
        else:
            self.wasted, self._fruitful = not self._fruitful, self._skip > 0
            gap_s = arrived - self._ended - len(samples) / self._rate
            self._skip = max(0, self._skip - max(0, round(gap_s * self._rate)))
        self._ended = arrived
        skipped = min(self._skip, len(samples))
        self._skip -= skipped
        found = cut(samples[skipped:], self._window, self._stream_hop)
        self._fruitful |= bool(len(found)) or self._skip > 0
        after = len(found) * self._stream_hop
        self._skip += max(0, after - (len(samples) - skipped))
        self._rest = samples[skipped + after :].copy()
        return found
