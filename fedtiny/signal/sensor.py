"""Is it the sensor? Faults of the measuring chain, told from the samples alone, before any model sees them.

A sensor's fault is not the machine's. Looked for, the gravest first: samples that are no numbers (``dropped``), a flat
line (``flat``: even a stopped machine leaves a sensor its own noise), one value held for a quarter of the window or
longer (``stuck``), a channel that has gone quiet while another goes on (``disconnected``; all channels quiet at once is
a machine that stands still), and samples piled up at a rail (``clipping``). A loose cable that picks up nothing but
the mains' hum looks like a signal and is not told here.

A failing machine overloads its sensor, so clipping leaves a window usable. It is told without knowing the rail: below
the turning point of a smooth wave, where samples are densest, the count within a depth d of the extreme grows as
sqrt(d) (a parabola), elsewhere faster; so what lies within 1/16 of the range bounds how many can share the
extreme value. Clipped are windows far over this bound whose extreme also repeats far more than their other values do,
which excuses coarse steps and tones that hit the same few phases again and again. Analogue saturation that is
rounded or noisy by more than one step of the converter has no such pile and is not told.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Kind = Literal["dropped", "flat", "stuck", "disconnected", "clipping"]

BATCH = 8  # windows looked at together
HELD = 4  # one value for this part of a window, 1/4, is stuck
QUIET_LEVELS = 4  # a window of no more values is a quiet sensor with coarse steps: it may well repeat one
SILENT, STEADY = 1e-3, 0.5  # shares of a channel's lowest normal power: at most of a dead one, at least of its witness
PILE = 4  # samples at the extreme, the fewest that are called clipping
DEPTH = 16  # the neighbourhood of the extreme is this part of the window's range
MARGIN = 2.5  # times the bound
REPEATS, PEAK = 4, 3  # times the mean count of a value, times that of any near the extreme (a smooth peak: 2.4)


@dataclass(frozen=True)
class SensorFault:
    """What is wrong with one window; ``text`` starts with the kind."""

    kind: Kind
    text: str

    @property
    def usable(self) -> bool:
        """Whether the samples still tell of the machine: score the window all the same."""
        return self.kind == "clipping"


@dataclass(frozen=True, eq=False)
class SensorBaseline:
    """The lowest AC power of each channel in normal windows, float32 (channels,), units of the signal squared."""

    lowest: Array

    @classmethod
    def of(cls, windows: NDArray[Any]) -> "SensorBaseline":
        """From normal ``windows`` (n, window, channels), n at least 1."""
        return cls(np.min([window.var(axis=0) for window in windows], axis=0).astype(np.float32))

    def merged(self, other: "SensorBaseline") -> "SensorBaseline":
        """Of the windows of both."""
        return SensorBaseline(np.minimum(self.lowest, other.lowest))


def check_windows(
    windows: NDArray[Any], channels: Sequence[str], baseline: SensorBaseline | None = None
) -> list[SensorFault | None]:
    """The gravest fault of each of ``windows`` (n, window, channels) float32, None for a clean one.

    Without a ``baseline`` no channel is called disconnected; a window of one sample (given features) is never flat.
    A clean window costs a few passes over its samples, fewest where each channel's lie side by side in memory.
    """
    _, size, count = windows.shape
    lowest = np.zeros(count, np.float32) if baseline is None else baseline.lowest
    # two samples so far apart alone make a variance of range^2 / (2 size) at least, whatever the others are
    ranges = [math.sqrt(2 * size * SILENT * power) for power in lowest.tolist()]
    faults: list[SensorFault | None] = []
    for start in range(0, len(windows), BATCH):
        rows = np.ascontiguousarray(windows[start : start + BATCH].swapaxes(1, 2), np.float32)
        if _clean(rows, ranges):
            faults += [None] * len(rows)
        else:
            faults += [None if _clean(one[None], ranges) else _examine(one, channels, lowest) for one in rows]
    return faults


def _clean(rows: Array, ranges: list[float]) -> bool:
    """True only where none of ``rows`` (n, channels, window) has a fault; cheap, and seldom False without one."""
    n, channels, size = rows.shape
    high, low = np.maximum.reduce(rows, axis=2), np.minimum.reduce(rows, axis=2)
    for top, bottom, least in zip(high.ravel().tolist(), low.ravel().tolist(), ranges * n, strict=True):
        if not least < top - bottom < math.inf:  # what is no number fails too
            return False
    most = n * channels + PILE - 2  # an extreme a row, and fewer of one value than make a pile
    if np.count_nonzero(rows == high[:, :, None]) > most or np.count_nonzero(rows == low[:, :, None]) > most:
        return False
    grid = rows[:, :, :: max(1, size // (3 * HELD))]  # a held value shows at three neighbours of it
    same = grid[:, :, 1:] == grid[:, :, :-1]
    return not np.count_nonzero(same[:, :, 1:] & same[:, :, :-1])


def _examine(rows: Array, channels: Sequence[str], lowest: Array) -> SensorFault | None:
    """The gravest fault of one window (channels, window)."""
    size = rows.shape[1]
    for row, name in zip(rows, channels, strict=True):
        if lost := size - np.count_nonzero(np.isfinite(row)):
            return SensorFault("dropped", f"dropped: {lost} of {size} samples of channel {name} are no numbers")
    for row, name in zip(rows, channels, strict=True):
        if size > 1 and row.min() == row.max():
            return SensorFault("flat", f"flat: every sample of channel {name} is {row[0]:.4g}")
    for row, name in zip(rows, channels, strict=True):
        longest, value = _longest_run(row)
        if HELD * longest >= size and len(np.unique(row)) > QUIET_LEVELS:
            return SensorFault("stuck", f"stuck: channel {name} stays at {value:.4g} for {longest} of {size} samples")
    power = rows.var(axis=1)
    if (power >= STEADY * lowest).any():
        for quiet, name in zip(power < SILENT * lowest, channels, strict=True):
            if quiet:
                return SensorFault("disconnected", f"disconnected: channel {name} is silent, the others are not")
    share, rails, name = max((*_clipped(row), name) for row, name in zip(rows, channels, strict=True))
    if not rails:
        return None
    at = " and ".join(f"{rail:.4g}" for rail in rails)
    return SensorFault("clipping", f"clipping: {100 * share:.3g} % of channel {name} at {at}")


def _longest_run(row: Array) -> tuple[int, float]:
    """(length, value) of the longest run of one value in ``row`` (samples,)."""
    starts = np.concatenate([[0], np.flatnonzero(row[1:] != row[:-1]) + 1, [len(row)]])
    lengths = np.diff(starts)
    longest = int(lengths.argmax())
    return int(lengths[longest]), float(row[starts[longest]])


def _clipped(row: Array) -> tuple[float, tuple[float, ...]]:
    """(share of the samples of ``row`` at a rail, its rails)."""
    if max(np.count_nonzero(row == row.min()), np.count_nonzero(row == row.max())) < PILE:
        return 0.0, ()
    values, counts = np.unique(row, return_counts=True)
    step, depth = np.diff(values).min(), (values[-1] - values[0]) / DEPTH
    piled, rails = 0, []
    for end, inside, near in (
        (0, slice(1, None), values <= values[0] + depth),
        (-1, slice(None, -1), values >= values[-1] - depth),
    ):
        bound = counts[near].sum() * np.sqrt(step / depth)
        usual = max(REPEATS * len(row) / len(values), PEAK * (counts * near)[inside].max())
        if counts[end] >= max(PILE + MARGIN * bound, usual):
            piled += int(counts[end])
            rails.append(float(values[end]))
    return piled / len(row), tuple(rails)
