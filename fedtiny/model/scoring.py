"""Reconstruction error -> anomaly score.

The score is the Mahalanobis distance of a window's residual from the machine's own normal residuals, under a
covariance with few parameters, so that some dozens of windows are enough: residuals are standardised feature by
feature, their covariance is shrunk (Ledoit and Wolf, A well-conditioned estimator for large-dimensional covariance
matrices, 2004), and all but its ``RANK`` largest directions are taken as one noise level (Tipping and Bishop,
Probabilistic principal component analysis, 1999). It costs a device two vectors and ``RANK`` directions.
Higher is more anomalous; normal windows average about 1. Louder is not assumed to be worse.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedtiny.errors import DataError
from fedtiny.signal.features import fit_standardisation

Array = NDArray[np.float32]
RANK = 4


@dataclass(frozen=True)
class ResidualModel:
    """Normal residuals of one machine: mean, gain (features,); directions (features, rank), shrink (rank,), float32.

    A residual, centred and times ``gain``, is made as wide as normal noise; along each of the orthonormal
    ``directions``, in which normal residuals vary more, it is then shortened by the share ``shrink``.
    """

    mean: Array
    gain: Array
    directions: Array
    shrink: Array

    def whiten(self, residuals: Array) -> Array:
        """Residuals (n, features) as (n, features) of equal and independent normal variation, float32."""
        z = residuals - self.mean[None]  # as a row: for a single window both have one shape, numpy's straight way
        z *= self.gain[None]
        z -= (z.dot(self.directions) * self.shrink[None]).dot(self.directions.T)
        return z

    def score(self, residuals: Array) -> Array:
        """Anomaly scores (n,) float32 of residuals (n, features): the mean square of what ``whiten`` gives."""
        return np.square(self.whiten(residuals)).mean(axis=1)


def fit_residuals(residuals: Array) -> ResidualModel:
    """Learn a machine's normal residuals from (n, features), n at least 2."""
    n, size = residuals.shape
    if n < 2:
        raise DataError(f"{n} windows are too few to learn a machine's normal residuals: at least 2 are needed")
    scale = fit_standardisation(residuals)
    z = scale(residuals).astype(np.float64)
    covariance = z.T @ z / n
    values, axes = np.linalg.eigh(covariance)  # ascending
    level = float(np.trace(covariance)) / size
    spread = np.square(covariance).sum()  # of the squared eigenvalues, too
    dispersion = spread / size - level**2
    noise = (np.square(np.einsum("ij,ij->i", z, z)).sum() / n**2 - spread / n) / size
    shrinkage = float(np.clip(noise / dispersion, 0, 1)) if dispersion > 0 else 1.0
    rank = min(RANK, size - 1, n - 1)
    top = shrinkage * level + (1 - shrinkage) * values[size - rank :]
    rest = shrinkage * level + (1 - shrinkage) * max(values[: size - rank].sum(), 0.0) / (size - rank)
    variance = max(float(rest), 1e-6)
    shorter = np.sqrt(variance / np.maximum(top, 1e-6))
    return ResidualModel(
        scale.mean,
        (1 / (scale.deviation * np.sqrt(variance))).astype(np.float32),
        axes[:, size - rank :].astype(np.float32),
        (1 - shorter).astype(np.float32),
    )
