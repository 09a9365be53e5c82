"""Samples -> overlapping windows, and the sizes to use where the configuration is silent."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedtiny.errors import ConfigError

TARGET_SECONDS = 0.16  # a few turns of a machine from 1,000 rpm up
SMALLEST, LARGEST = 128, 8192  # samples


@dataclass(frozen=True)
class WindowPlan:
    """How a signal is cut: ``window`` and ``hop`` in samples, ``bands`` a channel."""

    window: int
    hop: int
    bands: int

    def __post_init__(self) -> None:
        bins = self.window // 2
        if self.bands > bins:
            raise ConfigError(f"bands: {self.bands} asked, but a window of {self.window} samples has {bins} bins")
        if not 1 <= self.hop <= self.window:
            raise ConfigError(f"hop: {self.hop} samples, expected 1 to {self.window} (the window)")


def plan_windows(
    sample_rate_hz: float,
    shortest: int,
    *,
    window: int | None = None,
    hop: int | None = None,
    bands: int | None = None,
) -> WindowPlan:
    """Sizes that follow from the sample rate (Hz) and the shortest recording (samples).

    The window is the power of two next above 0.16 s, between 128 and 8,192 samples, or the whole recording
    where that is shorter; half of it is the hop in longer recordings; two bins make the narrowest band, 64 bands
    at most. Raises ConfigError where the sizes asked for do not fit the data.
    """
    if window is None:
        target = 2 ** int(np.ceil(np.log2(max(sample_rate_hz * TARGET_SECONDS, 1))))
        window = min(int(np.clip(target, SMALLEST, LARGEST)), shortest)
        if window < 8:
            raise ConfigError(f"recordings of {shortest} samples are too short: at least 8 are needed")
    if window > shortest:
        raise ConfigError(f"window: {window} samples asked, but the shortest recording has {shortest}")
    if hop is None:
        hop = window if window == shortest else max(1, window // 2)
    if bands is None:
        bands = min(64, max(1, window // 4))
    return WindowPlan(window, hop, bands)


def cut(samples: NDArray[Any], window: int, hop: int) -> NDArray[Any]:
    """View (n, window, channels) of the windows in ``samples`` (length, channels); n may be 0. No copy."""
    if len(samples) < window:
        return samples[:0].reshape(0, window, samples.shape[1])
    if len(samples) < window + hop:  # one alone, as a snapshot has: the view below costs more than its transform
        return samples[None, :window]
    frames = np.lib.stride_tricks.sliding_window_view(samples, window, axis=0)
    return frames[::hop].swapaxes(1, 2)
