"""Why a window is anomalous: the bands that its score comes from.

The score is the mean square of a whitened residual, M^(1/2) z with a symmetric M^(1/2), so the square of each of its
parts is that feature's contribution, and together they are the score: the complete decomposition of Alcala and Qin
(Reconstruction-based contribution for process monitoring, Automatica 45, 2009). A symmetric root keeps a part with
its own feature; what leaks to others through the few ``directions`` of the residual model is small.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedtiny.model.artifact import Manifest

Array = NDArray[np.float32]
STANDS_OUT = 0.25  # of the largest contribution


@dataclass(frozen=True)
class Band:
    """Neighbouring bands of a channel that stand out, or one given feature (its name is the channel; no Hz).

    share: of the score, 0..1. Hz, and orders of the shaft where its speed is known.
    """

    channel: str
    share: float
    low_hz: float | None = None
    high_hz: float | None = None
    low_order: float | None = None
    high_order: float | None = None


def contributions(whitened: Array) -> Array:
    """What each feature adds to the mean score of windows, (features,) float32 from (n, features) or (features,)."""
    rows = np.atleast_2d(whitened)
    return np.square(rows).mean(axis=0) / np.float32(rows.shape[1])


def top_bands(
    contributions: Array, manifest: Manifest, speed_hz: float | None = None, count: int = 5
) -> tuple[Band, ...]:
    """At most ``count`` bands, the largest share first, of ``contributions`` (features,).

    A band stands out with at least a quarter of the largest contribution; neighbours that do are one.
    ``speed_hz``: turns of the shaft a second.
    """
    total = float(contributions.sum())
    if not total > 0:
        return ()
    table = (contributions / total).reshape(len(manifest.channels), -1)
    out = table >= STANDS_OUT * table.max()
    if manifest.feature == "given":
        found = [Band(name, float(share)) for name, share in zip(manifest.channels, table[:, 0], strict=True)]
        found = [band for band, stands in zip(found, out[:, 0], strict=True) if stands]
    else:
        edges = band_edges(manifest)
        found = [
            _band(name, float(shares[start:end].sum()), float(edges[start]), float(edges[end]), speed_hz)
            for name, shares, stands in zip(manifest.channels, table, out, strict=True)
            for start, end in _stretches(stands)
        ]
    return tuple(sorted(found, key=lambda band: -band.share)[:count])


def band_edges(manifest: Manifest) -> NDArray[np.float64]:
    """Where the bands of ``BandEnergies`` begin and end, Hz, (bands + 1,): half a bin beside their outer bins."""
    half = manifest.window // 2
    edges = np.round(np.linspace(1, half + 1, manifest.bands + 1)) - 0.5
    return np.minimum(edges, manifest.window / 2) * manifest.sample_rate_hz / manifest.window


def _band(channel: str, share: float, low_hz: float, high_hz: float, speed_hz: float | None) -> Band:
    orders = (low_hz / speed_hz, high_hz / speed_hz) if speed_hz else (None, None)
    return Band(channel, share, low_hz, high_hz, *orders)


def _stretches(flags: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """(start, end) of each run of True."""
    ends = np.flatnonzero(np.diff(flags, prepend=False, append=False))
    return [(int(start), int(end)) for start, end in ends.reshape(-1, 2)]
