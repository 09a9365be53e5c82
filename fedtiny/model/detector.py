"""One machine's detector: a release, the head it is at, and what was learned from the machine's normal windows.

Local windows are used in time order: the first ``FIT_SHARE`` of them for the head, the later rest, which no head has
seen, to measure losses and to calibrate the threshold. The residual model that scores uses them all; the one that
the threshold is calibrated under uses the first part only, so that calibration meets windows it does not know.
"""

import numpy as np
from numpy.typing import NDArray

from fedtiny.errors import DataError
from fedtiny.model.artifact import Release
from fedtiny.model.head import Head
from fedtiny.model.interpreter import Interpreter, Runtime
from fedtiny.model.scoring import ResidualModel, fit_residuals
from fedtiny.model.threshold import calibrate_threshold
from fedtiny.signal.features import Standardisation, adapt_standardisation

Array = NDArray[np.float32]
FIT_SHARE = 0.6
FEWEST = 4  # windows: two to fit, two to calibrate


class Detector:
    """Scores features under the current head. Features are (n, features) float32, not standardised."""

    def __init__(self, release: Release, runtime: Runtime = "auto") -> None:
        self.release, self._runtime = release, runtime
        self.head = release.head
        self.standardisation: Standardisation = release.standardisation
        self.residuals: ResidualModel | None = None
        self.threshold: float | None = None
        self._interpreter = Interpreter(release.data, runtime, release.hidden_tensor)

    @property
    def interpreter(self) -> str:
        """Name and version of the runtime."""
        return self._interpreter.name

    def set_head(self, head: Head) -> None:
        """Patch ``head`` into the model; what was calibrated under the old one is void until ``calibrate``."""
        model = Interpreter(self.release.patched(head), self._runtime, self.release.hidden_tensor)
        self.head, self._interpreter = head, model
        self.residuals = self.threshold = None

    def adapt(self, normal: Array) -> None:
        """Fix the machine's standardisation from its first normal windows."""
        self.standardisation = adapt_standardisation(self.release.standardisation, normal)

    def run(self, features: Array) -> tuple[Array, Array, Array]:
        """(standardised features, residuals, activations before the head) of ``features``."""
        z = self.standardisation(features)
        reconstruction, hidden = self._interpreter(z)
        return z, z - reconstruction, hidden

    def calibrate(self, normal: Array, false_alarm_rate: float) -> None:
        """Learn residuals and threshold under the current head from normal windows in time order."""
        if len(normal) < FEWEST:
            raise DataError(f"{len(normal)} normal windows, at least {FEWEST} are needed")
        _, residuals, _ = self.run(normal)
        split = split_index(len(normal))
        kept_out = fit_residuals(residuals[:split]).score(residuals[split:])
        self.residuals = fit_residuals(residuals)
        self.threshold = calibrate_threshold(kept_out, false_alarm_rate)

    def score(self, features: Array) -> Array:
        """Anomaly scores (n,) float32."""
        if self.residuals is None:
            raise DataError("the detector has not been calibrated on normal windows yet")
        _, residuals, _ = self.run(features)
        return self.residuals.score(residuals)


def split_index(count: int) -> int:
    """How many of ``count`` local windows, the earliest, the head is fitted on; the rest is kept out."""
    return min(max(int(count * FIT_SHARE), 2), count - 2)
