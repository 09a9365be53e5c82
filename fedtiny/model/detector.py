"""What is normal for one machine at one operating point, and how far a window is from it.

The **baseline** is the machine's first normal windows, in time order: the first ``FIT_SHARE`` of them to fit on, the
later rest kept out, to measure losses and to calibrate the threshold. It grows until there are windows enough for the
promised false-alarm budget and then stays as it is, however long the machine runs: what the machine was like when it
was known to be good is never forgotten. **Recent** normal windows, a ring, feed the fine-tuning of heads
beside it. The residual model that scores uses the whole baseline; the one that the threshold is calibrated under
uses the first part only, so that calibration meets windows that it does not know.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import NDArray

from fedtiny.errors import DataError
from fedtiny.model.drift import Drift
from fedtiny.model.network import Network
from fedtiny.model.ring import Ring
from fedtiny.model.scoring import ResidualModel, fit_residuals
from fedtiny.model.threshold import Tail, calibrate_threshold, windows_for_tail, windows_to_promise
from fedtiny.signal.features import Standardisation, adapt_standardisation

Array = NDArray[np.float32]
FIT_SHARE = 0.6
FEWEST = 4  # windows: two to fit, two to calibrate
GROWTH = 1.25  # the baseline is calibrated anew when it has grown by this factor
BASE_RATE = 0.01  # rarer windows than one in a hundred are left to the tail


@dataclass(frozen=True)
class Budget:
    """False alarms that may happen, ``rate`` of the windows, and windows to find the threshold with.

    ``learn``: before anything is scored. ``keep``: at most, half of them in the baseline.
    """

    rate: float
    learn: int
    keep: int

    @property
    def wanted(self) -> int:
        """Windows that the baseline grows to."""
        return max(self.learn, min(ceil(windows_to_promise(self.rate) / (1 - FIT_SHARE)), self.keep // 2))


class Detector:
    """One operating point. Features are (n, features) float32, not standardised."""

    def __init__(self, network: Network, budget: Budget) -> None:
        self.network, self.budget = network, budget
        size = network.release.features.size
        self.standardisation: Standardisation = network.release.standardisation
        self.baseline: Array = np.empty((0, size), np.float32)
        self.recent = Ring(max(budget.keep - budget.wanted, FEWEST), size)
        self.residuals: ResidualModel | None = None
        self.threshold: float | None = None
        self.drift = Drift(size, 1.0)
        self.tail = Tail()
        self._base_threshold = 0.0
        self._calibrated_at = 0

    @property
    def learned(self) -> float:
        """Share of the windows before anything can be scored that have been seen."""
        return min(1.0, len(self.baseline) / self.budget.learn)

    @property
    def promised(self) -> float:
        """Share of the windows that the false-alarm budget needs that have been seen; at 1 it is a promise."""
        kept_out = len(self.baseline) - split_index(len(self.baseline)) if len(self.baseline) >= FEWEST else 0
        by_baseline = kept_out / windows_to_promise(self.budget.rate)
        return min(1.0, max(by_baseline, self.tail.count / windows_for_tail(self.budget.rate)))

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
        fitted = self.baseline[: split_index(len(self.baseline))]
        self.standardisation = adapt_standardisation(self.network.release.standardisation, fitted)
        self.calibrate()
        return True

    def calibrate(self) -> None:
        """Learn residuals and threshold anew from the baseline, under the network's head; the drift starts anew."""
        count = len(self.baseline)
        if count < FEWEST:
            raise DataError(f"{count} normal windows, at least {FEWEST} are needed")
        _, residuals, _ = self.run(self.baseline)
        split = split_index(count)
        kept_out = fit_residuals(residuals[:split]).score(residuals[split:])
        self.residuals = fit_residuals(residuals)
        self._base_threshold = calibrate_threshold(kept_out, max(self.budget.rate, BASE_RATE))
        self.threshold = calibrate_threshold(kept_out, self.budget.rate)
        self._calibrated_at = count
        self._promise()
        self.drift = Drift(residuals.shape[1], self.threshold)

    def rehead(self) -> None:
        """Calibrate after the network's head has changed; the drift is found again from the recent windows."""
        self.calibrate()
        for whitened in self.whiten(self.recent.rows()[-100:]):
            self.drift.follow(self.drift.away(whitened))

    def _promise(self) -> None:
        ratio = self.tail.ratio(self.budget.rate) if self.budget.rate < BASE_RATE else None
        if ratio is not None:
            self.threshold = self._base_threshold * ratio

    # --- scoring ---

    def whiten(self, features: Array) -> Array:
        """Residuals of ``features`` in units of the normal ones, float32 (n, features): squares add up to the score."""
        if self.residuals is None:
            raise DataError("the detector has not been calibrated on normal windows yet")
        _, residuals, _ = self.run(features)
        return self.residuals.whiten(residuals)

    def score(self, features: Array) -> Array:
        """Anomaly scores (n,) float32, as seen from the centre where the drift is; nothing is learned."""
        away = self.whiten(features) - self.drift.centre
        return np.square(away).mean(axis=1)

    def follow(self, away: Array, score: float) -> None:
        """Take one normal window, as seen from the drift's centre, into the drift and the tail."""
        assert self.threshold is not None
        self.drift.follow(away)
        if len(self.baseline) >= self.budget.wanted and self.budget.rate < BASE_RATE:
            promised = self.promised
            self.tail.add(score / self._base_threshold)
            if promised < 1 <= self.promised:
                self._promise()
                self.drift.limit = self.threshold

    def remember(self, normal: Array) -> None:
        """Keep normal windows: in the baseline while it grows, then among the recent ones."""
        room = max(0, self.budget.wanted - len(self.baseline))
        if room:
            self.baseline = np.concatenate([self.baseline, normal[:room]])
            if len(self.baseline) >= min(GROWTH * self._calibrated_at, self.budget.wanted):
                self.calibrate()
        self.recent.add(normal[room:])


def split_index(count: int) -> int:
    """How many of ``count`` windows in time order, the earliest, are fitted on; the rest is kept out."""
    return min(max(int(count * FIT_SHARE), 2), count - 2)
