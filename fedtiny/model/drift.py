"""Slow change of normal life, followed within a bound.

A machine that runs in, warms up or wears in shifts its features by little at a time; a detector that stands still
calls that a fault in the end. The centre of the normal residuals therefore follows them, as an exponentially weighted
moving average (Roberts, Control chart tests based on geometric moving averages, Technometrics 1, 1959; recursive mean
updates in process monitoring: Li, Yue, Valle-Cervantes and Qin, J. Process Control 10, 2000). What bounds it keeps a
developing fault from hiding in it: windows over the threshold or under an alarm move nothing, and the centre
never moves further than what alone would score the threshold, as a multivariate EWMA chart would have it
(Lowry et al., Technometrics 34, 1992). A fault that grows slower than that uses the bound up, and then shows.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
WEIGHT = np.float32(1 / 20)  # of the newest window


@dataclass
class Drift:
    """Where the centre of the whitened residuals has moved to. ``limit``: the threshold, a score."""

    size: int
    limit: float
    centre: Array = field(default_factory=lambda: np.empty(0, np.float32))

    def __post_init__(self) -> None:
        if not self.centre.size:
            self.centre = np.zeros(self.size, np.float32)

    @property
    def used(self) -> float:
        """Share of the bound that is used up, 0 to 1: scores grow with the square of the distance."""
        return float(self.centre @ self.centre) / self.size / self.limit

    def away(self, whitened: Array) -> Array:
        """A window's whitened residual (features,), as seen from the centre."""
        return whitened - self.centre

    def follow(self, away: Array) -> None:
        """Move towards a normal window, given as seen from the centre."""
        self.centre += WEIGHT * away
        used = self.used
        if used > 1:
            self.centre *= np.float32(used**-0.5)
