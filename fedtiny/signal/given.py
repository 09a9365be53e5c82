"""Ready-made features: a source that yields feature rows instead of a signal.

A row is one window of one sample; its channels are the features, in whatever units they come. They are taken as they
are, and everything behind the extractor is the same as for bands. A feature that spreads over decades (an energy, a
power) is best given as its logarithm: the score expects normal life to be about normally distributed.
"""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fedtiny.errors import DataError
from fedtiny.signal.features import BandEnergies, Standardisation
from fedtiny.signal.sensor import SensorFault
from fedtiny.signal.windows import WindowPlan

Array = NDArray[np.float32]
FeatureKind = Literal["log-band-energies", "given"]
BEYOND = 1e6  # deviations of the base
ROW = WindowPlan(window=1, hop=1, bands=0)


class GivenFeatures:
    """Rows of features called ``names``: windows (n, 1, features) to float32 (n, features), unchanged."""

    plan = ROW

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)

    @property
    def size(self) -> int:
        """Number of features of a row."""
        return len(self.names)

    def __call__(self, windows: NDArray[Any]) -> Array:
        """Features of ``windows`` (n, 1, features), float32; raises DataError for a value that is not finite."""
        rows = windows[:, 0].astype(np.float32)
        if not np.isfinite(rows).all():
            row, column = np.argwhere(~np.isfinite(rows))[0]
            raise DataError(f"feature {self.names[column]!r} is {rows[row, column]}, expected a finite number")
        return rows


Extractor = BandEnergies | GivenFeatures


def make_extractor(kind: FeatureKind, plan: WindowPlan, channels: Sequence[str], floor: float) -> Extractor:
    """The extractor of ``kind``; ``plan`` and ``floor`` (a power above 0) are for bands only."""
    return GivenFeatures(channels) if kind == "given" else BandEnergies(plan, len(channels), floor)


def check_rows(windows: NDArray[Any], scale: Standardisation) -> list[SensorFault | None]:
    """What is wrong with each of ``windows`` (n, 1, features): a value that is none, or that nobody would measure.

    ``scale`` is the base's: a million of its deviations away is a code for "missing", not a measurement.
    """
    rows = windows[:, 0]
    with np.errstate(invalid="ignore", over="ignore"):
        sound = np.abs((rows.astype(np.float64) - scale.mean) / scale.deviation).max(axis=1) <= BEYOND
    fault = SensorFault("dropped", "dropped: a feature is no number, or beyond all that was ever measured")
    return [None if fine else fault for fine in sound.tolist()]


def fit_columns(features: Array, names: Sequence[str]) -> Standardisation:
    """Mean and deviation of each feature over (n, features), each in its own unit.

    Bands share a unit, so that the stillest can borrow a floor from the others; given features do not. One that never
    moves in the base cannot be scaled: DataError with its name.
    """
    wide = features.astype(np.float64)
    mean, deviation = wide.mean(axis=0), wide.std(axis=0)
    for name, level, spread in zip(names, mean, deviation, strict=True):
        if not spread > 1e-6 * abs(level):  # no more than float32 rounds
            raise DataError(f"feature {name!r} is {level:g} in every normal row of the base: leave it out")
    return Standardisation(mean.astype(np.float32), deviation.astype(np.float32))
