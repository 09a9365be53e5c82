"""What is normal for one machine at one operating point, and how far a window is from it.

The **baseline** is the machine's first normal windows, in time order: the first ``FIT_SHARE`` of them to fit on, the
later rest kept out, to measure losses and to calibrate the threshold. It stays as it is, however long the machine runs:
what the machine was like when it was known to be good is never forgotten. The residual model that scores uses all of
it; the one that the threshold is calibrated under uses the first part only, so that calibration meets
windows that it does not know. **Recent** normal windows, a ring, feed the fine-tuning of heads beside it, and the
scores of the machine's normal **life** sharpen the threshold until it keeps the false-alarm budget.

A window has a **level**, its distance from the baseline, which tells how the machine has changed since; and a
**score**, its distance from where slow drift has moved the normal to, which the threshold is for.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedtiny.errors import DataError
from fedtiny.model.drift import Drift
from fedtiny.model.network import Network
from fedtiny.model.ring import Ring
from fedtiny.model.scoring import ResidualModel, fit_residuals
from fedtiny.model.threshold import CAUTIOUS, SAMPLE, Life, calibrate_threshold, windows_to_promise
from fedtiny.signal.features import Standardisation, adapt_standardisation

Array = NDArray[np.float32]
FIT_SHARE = 0.6
FEWEST = 4  # windows: two to fit, two to calibrate
GROWTH = 1.25  # the threshold is found anew when life has grown by this factor


@dataclass(frozen=True)
class Budget:
    """False alarms that may happen, ``rate`` of the windows; windows to learn from, and to keep for fine-tuning."""

    rate: float
    learn: int
    keep: int


class Detector:
    """One operating point. Features are (n, features) float32, not standardised."""

    def __init__(self, network: Network, budget: Budget) -> None:
        self.network, self.budget = network, budget
        size = network.features.size
        self.standardisation: Standardisation = network.release.standardisation
        self.baseline: Array = np.empty((0, size), np.float32)
        self.recent = Ring(max(budget.keep - budget.learn, FEWEST), size)
        self.residuals: ResidualModel | None = None
        self.threshold: float | None = None
        self.drift = Drift(size, 1.0)
        self.life = Life()
        self.calibrated = 0.0  # the threshold by the baseline alone
        self.sharpened = 0  # windows of life that the threshold knows of

    @property
    def learned(self) -> float:
        """Share of the windows before anything can be scored that have been seen."""
        return min(1.0, len(self.baseline) / self.budget.learn)

    @property
    def promised(self) -> float:
        """Share of the windows that the false-alarm budget needs that have been seen; at 1 it is a promise."""
        return min(1.0, self.life.count / windows_to_promise(self.budget.rate))

    def run(self, features: Array) -> tuple[Array, Array, Array]:
        """(standardised features, residuals, activations before the head) of ``features``."""
        z = self.standardisation(features)
        reconstruction, hidden = self.network(z)
        return z, z - reconstruction, hidden

    # --- learning ---

    def learn(self, normal: Array) -> bool:
        """Take the machine's first normal windows; True when they were the last that scoring waits for."""
        self.baseline = np.concatenate([self.baseline, normal])
        if self.residuals is not None or len(self.baseline) < self.budget.learn:
            return False
        self.adapt(self.baseline[: split_index(len(self.baseline))])
        self.calibrate()
        return True

    def adapt(self, normal: Array) -> None:
        """Fix the machine's standardisation from normal windows."""
        self.standardisation = adapt_standardisation(self.network.release.standardisation, normal)

    def calibrate(self) -> None:
        """Learn residuals and threshold anew from the baseline, under the network's head; the drift starts anew."""
        count = len(self.baseline)
        if count < FEWEST:
            raise DataError(f"{count} normal windows, at least {FEWEST} are needed")
        _, residuals, _ = self.run(self.baseline)
        split = split_index(count)
        kept_out = fit_residuals(residuals[:split]).score(residuals[split:])
        self.residuals = fit_residuals(residuals)
        self.calibrated = calibrate_threshold(kept_out, self.budget.rate, CAUTIOUS)
        self.drift = Drift(residuals.shape[1], self.calibrated)
        self.sharpen(self.life.count)

    def rehead(self) -> None:
        """Calibrate after the network's head has changed; the drift is found again from the recent windows."""
        self.calibrate()
        for whitened in self.whiten(self.recent.rows()[-100:]):
            self.drift.follow(self.drift.away(whitened))

    def sharpen(self, windows: int) -> None:
        """Find the threshold anew with the first ``windows`` of life."""
        self.threshold = self.calibrated * self.life.factor(self.budget.rate, windows)
        self.sharpened = windows

    # --- scoring ---

    def whiten(self, features: Array) -> Array:
        """Residuals of ``features`` in units of the normal ones, float32 (n, features): squares add up to the score."""
        if self.residuals is None:
            raise DataError("the detector has not been calibrated on normal windows yet")
        z = self.standardisation(features)
        z -= self.network.reconstruct(z)
        return self.residuals.whiten(z)

    def live(self, ratio: float) -> None:
        """Take a window of normal life into the calibration until that stands: its score over ``calibrated``."""
        first = windows_to_promise(self.budget.rate)
        done = max(first, SAMPLE)
        if self.life.count < done:
            self.life.add(ratio)
            if self.life.count >= min(max(first, int(GROWTH * self.sharpened) + 1), done):
                self.sharpen(self.life.count)


def split_index(count: int) -> int:
    """How many of ``count`` windows in time order, the earliest, are fitted on; the rest is kept out."""
    return min(max(int(count * FIT_SHARE), 2), count - 2)
