"""Recordings -> windows, across the border of recordings that follow each other without a gap."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedtiny.signal.recording import Recording, Samples
from fedtiny.signal.windows import cut


class Framer:
    """Cuts windows of ``window`` samples every ``hop``, or every ``stream_hop`` in a stream.

    In a stream, where ``stream_hop`` may be longer than a window, what lies between two windows is passed over.
    """

    def __init__(self, window: int, hop: int, stream_hop: int) -> None:
        self._window, self._hop, self._stream_hop = window, hop, stream_hop
        self._rest: Samples | None = None
        self._skip = 0

    def windows(self, recording: Recording, *, stream: bool) -> NDArray[Any]:
        """The windows (n, window, channels) that ``recording`` completes; n may be 0."""
        samples = recording.samples
        if not stream:
            self._rest = None
            return cut(samples, self._window, self._hop)
        if recording.follows and self._rest is not None:
            samples = np.concatenate([self._rest, samples])
        else:
            self._skip = 0
        skipped = min(self._skip, len(samples))
        self._skip -= skipped
        found = cut(samples[skipped:], self._window, self._stream_hop)
        after = len(found) * self._stream_hop
        self._skip += max(0, after - (len(samples) - skipped))
        self._rest = samples[skipped + after :].copy()
        return found
