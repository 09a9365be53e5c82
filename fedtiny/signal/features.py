"""Window -> log band energies, and their standardisation.

The amplitude stays in the features: a machine that gets louder or quieter shows as a shift of all bands. (Randall,
Vibration-based Condition Monitoring, 2011, chapter 3, for spectra of rotating machines.)
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedtiny.errors import ConfigError
from fedtiny.signal.windows import WindowPlan

Array = NDArray[np.float32]
BATCH_SAMPLES = 1 << 14  # worked on at a time: enough to share the cost of a call, little enough for a cache


class BandEnergies:
    """Log energies of equally wide bands of the Hann-windowed power spectrum.

    Calling it maps windows (n, window, channels) to float32 (n, channels * bands), channel by channel: the natural
    logarithm of a band's mean power plus ``floor``, in units of the signal squared. The mean of a window (gravity,
    an offset of the sensor) and the bin at 0 Hz are left out.

    It works in a buffer of its own, so one object is for one thread at a time. The spectrum is float64: numpy 1 has no
    other, and numpy 2 is no faster in float32 (docs/adr/007-hot-path.md).
    """

    def __init__(self, plan: WindowPlan, channels: int, floor: float) -> None:
        if floor <= 0:
            raise ConfigError(f"floor: {floor}, expected a positive power")
        self.plan, self.channels, self.floor = plan, channels, np.float32(floor)
        n = plan.window
        hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n) / n)
        hann /= np.sqrt(np.square(hann).sum())
        edges = np.round(np.linspace(1, n // 2 + 1, plan.bands + 1)).astype(int)
        # as large as what they are combined with, so that numpy takes its straight way through both
        self._hann = np.tile(hann, (1, channels, 1))
        self._per_bin = np.tile(1 / np.diff(edges), (1, channels, 1))
        self._floors = np.full((1, channels, plan.bands), self.floor, np.float64)
        self._starts = 2 * edges[:-1]  # of the bands, among real and imaginary parts in turn
        # what a window's mean puts into the first bin, the only one beside 0 Hz that a Hann window lets it into
        self._leak = np.full(n, np.fft.rfft(hann)[1].real / n)
        self._batch = max(1, BATCH_SAMPLES // (n * channels))
        self._samples = np.empty((self._batch, channels, n))

    @property
    def size(self) -> int:
        """Number of features of a window."""
        return self.channels * self.plan.bands

    def __call__(self, windows: NDArray[Any]) -> Array:
        """Features of ``windows`` (n, window, channels), float32 (n, channels * bands)."""
        features = np.empty((len(windows), self.size), np.float32)
        for at in range(0, len(windows), self._batch):  # what is needed beside the result does not grow with n
            part = windows[at : at + self._batch]
            features[at : at + len(part)] = self._features(part).reshape(len(part), self.size)
        return features

    def _features(self, windows: NDArray[Any]) -> NDArray[np.float64]:
        x = self._samples[: len(windows)]
        x[...] = windows.swapaxes(1, 2)
        leaked = x.dot(self._leak)
        x *= self._hann
        parts = np.fft.rfft(x).view(np.float64)
        parts[..., 2] -= leaked
        np.square(parts, out=parts)
        bands = np.add.reduceat(parts, self._starts, axis=2)
        bands *= self._per_bin
        bands += self._floors
        return np.log(bands, out=bands)


@dataclass(frozen=True)
class Standardisation:
    """features -> (features - mean) / deviation; both float32 (features,)."""

    mean: Array
    deviation: Array

    def __call__(self, features: Array) -> Array:
        """Standardised features of ``features`` (n, features), float32, same shape."""
        z = features - self.mean[None]  # as rows: for a single window both have one shape, numpy's straight way
        z /= self.deviation[None]
        return z


def fit_standardisation(features: Array, smallest: float = 0.02) -> Standardisation:
    """Mean and deviation of each feature over (n, features), with a floor on the deviation.

    The floor, a quarter of the median deviation and at least ``smallest`` (natural log units), keeps a band that
    happens to be still in the few windows seen from dominating every score.
    """
    deviation = features.std(axis=0)
    floor = max(0.25 * float(np.median(deviation)), smallest)
    return Standardisation(features.mean(axis=0).astype(np.float32), np.maximum(deviation, floor).astype(np.float32))


FAR = 2.0  # root mean square distance, in the base's deviations, beyond which a machine is foreign to it


def adapt_standardisation(base: Standardisation, features: Array) -> Standardisation:
    """The base's standardisation, moved to a machine's own level where that lies far from the base.

    A machine among those that the trainer saw keeps the base's mean: between-machine differences are then
    differences that the model has learned to reconstruct, and slow drift along them stays harmless. A machine further
    than ``FAR`` away (another sensor gain, another kind of machine) would only saturate the int8 input; it gets
    its own mean. The deviation stays the base's in both cases. ``features``: (n, features), its first normal windows.
    """
    own = features.mean(axis=0)
    distance = float(np.sqrt(np.mean(np.square((own - base.mean) / base.deviation))))
    return base if distance <= FAR else Standardisation(own.astype(np.float32), base.deviation)
