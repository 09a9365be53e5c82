"""The head: the last dense layer, the only part that is trained on devices.

It maps activations H (n, inputs), as the frozen int8 layers give them, to reconstructions (n, outputs) of the
standardised features X. Weights are float32 (outputs, inputs + 1), the bias in the last column. With H1 = [H, 1] the
loss is the mean squared error |H1 W' - X|^2 / n, a least-squares problem: its optimum needs no iterations, only
the sufficient statistics H1'H1 and H1'X.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedtiny.errors import ReleaseError

Array = NDArray[np.float32]
Double = NDArray[np.float64]
LARGEST, NARROWEST = 1e6, 1e-6  # of a weight or an output; of the output range; standardised features are of order 1


@dataclass(frozen=True)
class Head:
    """Weights float32 (outputs, inputs + 1) and the range [output_min, output_max] of the int8 output."""

    weights: Array
    output_min: float
    output_max: float

    def __post_init__(self) -> None:
        if self.weights.ndim != 2 or self.weights.dtype != np.float32:
            raise ReleaseError(f"head: {self.weights.dtype} {self.weights.shape}, expected a float32 matrix")
        if not (np.abs(self.weights) <= LARGEST).all():
            raise ReleaseError(f"head: weights that are not finite or beyond {LARGEST:g}")
        low, high = self.output_min, self.output_max
        if not (-LARGEST <= low <= high - NARROWEST and high <= LARGEST):
            raise ReleaseError(f"head: output range [{low}, {high}] is empty or beyond {LARGEST:g}")

    def forward(self, hidden: Array) -> Array:
        """Reconstructions (n, outputs) in float of activations (n, inputs)."""
        return hidden @ self.weights[:, :-1].T + self.weights[:, -1]


@dataclass(frozen=True)
class Statistics:
    """Sufficient statistics of the least squares: gram (i+1, i+1) = H1'H1, cross (i+1, outputs) = H1'X, count n.

    Those of two data sets add up to those of their union.
    """

    gram: Double
    cross: Double
    count: int


def statistics(hidden: Array, targets: Array) -> Statistics:
    """Sufficient statistics of activations (n, inputs) and targets (n, outputs), in double precision."""
    h1 = np.column_stack([hidden, np.ones(len(hidden))]).astype(np.float64)
    return Statistics(h1.T @ h1, h1.T @ targets.astype(np.float64), len(hidden))


def solve(data: Statistics, anchor: Array, pull: float) -> Array:
    """Weights that minimise |H1 W' - X|^2 / n + pull |W - anchor|^2; float32, shape of ``anchor``.

    With the global head as ``anchor`` this is the exact solution of FedProx's local problem (Li et al., Federated
    Optimization in Heterogeneous Networks, MLSys 2020) for a linear layer; with the release's head and the summed
    statistics of a fleet it is ridge regression (Hoerl and Kennard 1970) towards that head.
    """
    n = data.count
    a = data.gram / n + pull * np.eye(len(data.gram))
    b = data.cross / n + pull * anchor.T.astype(np.float64)
    return np.linalg.solve(a, b).T.astype(np.float32)


def loss(weights: Array, hidden: Array, targets: Array) -> float:
    """Mean squared reconstruction error of ``weights`` over (n, inputs) -> (n, outputs)."""
    return float(np.mean(np.square(hidden @ weights[:, :-1].T + weights[:, -1] - targets)))


def output_range(outputs: Array) -> tuple[float, float]:
    """Range of reconstructions (n, outputs) with a tenth to spare on both sides; holds 0, as TFLite demands."""
    low, high = min(float(outputs.min()), 0.0), max(float(outputs.max()), 0.0)
    spare = 0.1 * max(high - low, 1e-3)
    return low - spare, high + spare
