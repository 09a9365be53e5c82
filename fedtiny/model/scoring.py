"""Reconstruction error -> anomaly score -> threshold -> alarm.

The score is the Mahalanobis distance of a window's residual from the machine's own normal residuals, under a
covariance with few parameters, so that some dozens of windows are enough: residuals are standardised feature by
feature, their covariance is shrunk (Ledoit and Wolf, A well-conditioned estimator for large-dimensional covariance
matrices, 2004), and all but its ``RANK`` largest directions are taken as one noise level (Tipping and Bishop,
Probabilistic principal component analysis, 1999). It costs a device two vectors and ``RANK`` directions.
Higher is more anomalous; normal windows average about 1. Louder is not assumed to be worse.
"""

from collections import deque
from dataclasses import dataclass
from math import exp, log, log1p
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from fedtiny.errors import DataError
from fedtiny.signal.features import fit_standardisation

Array = NDArray[np.float32]
RANK = 4
CONFIDENCE = 0.5  # that a threshold keeps its false-alarm rate: as often below as above
BLOCKS = 3
HIGHEST = {1: 0.0, 2: 0.564, 3: 0.846}  # mean of the largest of so many standard normal numbers


@dataclass(frozen=True)
class ResidualModel:
    """Normal residuals of one machine: mean, 1/deviation (features,); directions (features, rank), float32.

    ``extra`` (rank,) is what each direction adds to the inverse noise variance ``precision`` (negative: the direction
    varies more than the rest).
    """

    mean: Array
    inverse_deviation: Array
    directions: Array
    extra: Array
    precision: float

    def score(self, residuals: Array) -> Array:
        """Anomaly scores (n,) float32 of residuals (n, features)."""
        z = (residuals - self.mean) * self.inverse_deviation
        along = z @ self.directions
        distance = self.precision * np.einsum("ij,ij->i", z, z) + np.square(along) @ self.extra
        return distance / np.float32(z.shape[1])


def fit_residuals(residuals: Array) -> ResidualModel:
    """Learn a machine's normal residuals from (n, features), n at least 2."""
    n, size = residuals.shape
    if n < 2:
        raise DataError(f"{n} windows are too few to learn a machine's normal residuals: at least 2 are needed")
    scale = fit_standardisation(residuals)
    z = scale(residuals).astype(np.float64)
    # the covariance z'z/n has these eigenvalues, and zeros where n is below the number of features
    _, singular, axes = np.linalg.svd(z, full_matrices=False)
    values = np.square(singular) / n
    level = values.sum() / size
    dispersion = np.square(values).sum() / size - level**2
    noise = (np.square(np.square(z).sum(axis=1)).sum() / n**2 - np.square(values).sum() / n) / size
    shrinkage = float(np.clip(noise / dispersion, 0, 1)) if dispersion > 0 else 1.0
    rank = min(RANK, size - 1, n - 1)
    top = shrinkage * level + (1 - shrinkage) * values[:rank]
    rest = shrinkage * level + (1 - shrinkage) * values[rank:].sum() / (size - rank)
    variance = max(float(rest), 1e-6)
    return ResidualModel(
        scale.mean,
        1 / scale.deviation,
        axes[:rank].T.astype(np.float32),
        (1 / np.maximum(top, 1e-6) - 1 / variance).astype(np.float32),
        1 / variance,
    )


def calibrate_threshold(scores: Array, false_alarm_rate: float) -> float:
    """Score that about ``false_alarm_rate`` of a machine's later normal windows will reach.

    ``scores``: (n,) of normal windows that nothing was fitted on, in time order, n at least 2. Neighbours are not
    independent and machines shift between levels, so the scores are taken in ``BLOCKS`` blocks: the log score is
    normal within a block, around the highest of the blocks' means, less what is highest by chance alone. The limit is
    the one-sided tolerance limit at ``CONFIDENCE`` (Natrella, Experimental Statistics, NBS Handbook 91, 1963, section
    2-2): the fewer the windows, the wider its margin. Beside it stands the order statistic that says the same without
    a distribution (Wilks 1941); once there are windows enough for one, the larger of the two holds.
    """
    logs = np.log(np.maximum(scores.astype(np.float64), 1e-9))
    n = len(logs)
    if n < 2:
        raise DataError(f"{n} windows are too few to calibrate a threshold: at least 2 are needed")
    blocks = np.array_split(logs, max(1, min(BLOCKS, n // 4)))
    free = n - len(blocks)
    spread = np.sqrt(sum(float(np.square(block - block.mean()).sum()) for block in blocks) / free)
    content = NormalDist().inv_cdf(1 - false_alarm_rate)
    sure = NormalDist().inv_cdf(CONFIDENCE)
    a = max(1 - sure**2 / (2 * free), 0.2)
    b = content**2 - sure**2 / n
    factor = (content + np.sqrt(max(content**2 - a * b, 0.0))) / a
    by_chance = HIGHEST[len(blocks)] * spread / np.sqrt(n / len(blocks))
    level = max(logs.mean(), max(block.mean() for block in blocks) - by_chance)
    limit = float(np.exp(level + factor * spread))
    allowed = _wilks(n, false_alarm_rate)
    return max(limit, float(np.sort(scores)[n - allowed])) if allowed else limit


def _wilks(n: int, rate: float) -> int:
    """Largest k such that the k-th largest of n scores bounds their quantile at ``CONFIDENCE``; 0: n too small."""
    # P(k-th largest < true quantile) = P(Binomial(n, rate) < k) must be at most 1 - CONFIDENCE
    log_term, total, k = n * log1p(-rate), 0.0, 0  # (1 - rate)^n is below the smallest float for large n
    while k < n and (total := total + exp(log_term)) <= 1 - CONFIDENCE:
        log_term += log((n - k) / (k + 1) * rate / (1 - rate))
        k += 1
    return k


class AlarmVote:
    """Raise when ``votes`` of the last ``window`` scores reach the threshold; clear when none of them does."""

    def __init__(self, votes: int, window: int, raised: bool = False) -> None:
        self.votes = min(votes, window)
        self.raised = raised
        self._recent: deque[bool] = deque(maxlen=window)

    def add(self, over: bool) -> bool:
        """Take the next window's verdict; True when the alarm's state changed."""
        self._recent.append(over)
        count = sum(self._recent)
        if not self.raised and count >= self.votes:
            self.raised = True
            return True
        if self.raised and count == 0 and len(self._recent) == self._recent.maxlen:
            self.raised = False
            return True
        return False
