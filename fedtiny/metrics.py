"""Figures of merit of a detector, from its scores alone. numpy only."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.floating[Any]]


def ranks(values: Scores) -> NDArray[np.float64]:
    """Ranks from 1; ties share their mean rank."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[inverse.ravel()]


def auc(normal: Scores, anomalous: Scores) -> float | None:
    """Area under the ROC curve: the share of (normal, anomalous) pairs in the right order; None without pairs."""
    if not len(normal) or not len(anomalous):
        return None
    n, p = len(normal), len(anomalous)
    total = ranks(np.concatenate([normal, anomalous]))[n:].sum()
    return float((total - p * (p + 1) / 2) / (n * p))


def rank_correlation(a: Scores, b: Scores) -> float:
    """Spearman's rank correlation of two score vectors of equal length; 1 where both are constant."""
    ra, rb = ranks(a), ranks(b)
    if np.ptp(ra) == 0 or np.ptp(rb) == 0:
        return 1.0 if np.array_equal(ra, rb) else 0.0
    return float(np.corrcoef(ra, rb)[0, 1])


def rate(scores: Scores, threshold: float) -> float | None:
    """Share of ``scores`` at or above ``threshold``; None without scores."""
    return float(np.mean(scores >= threshold)) if len(scores) else None


def fleet_auc(machines: list[tuple[Scores, Scores]]) -> dict[str, float | None]:
    """AUC of (normal, anomalous) scores per machine: mean and minimum, and with one threshold for all machines."""
    each = [value for normal, anomalous in machines if (value := auc(normal, anomalous)) is not None]
    empty = np.empty(0)
    return {
        "per_device_mean": float(np.mean(each)) if each else None,
        "per_device_min": min(each, default=None),
        "one_threshold": auc(
            np.concatenate([normal for normal, _ in machines] or [empty]),
            np.concatenate([anomalous for _, anomalous in machines] or [empty]),
        ),
    }
