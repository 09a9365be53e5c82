"""Updates -> a step of the head: aggregators that a minority of arbitrary updates does not move far.

The contract is that of ``fedtiny.federation.aggregators``. Every device counts once here, whatever num_examples it
claims, and all deltas are held at a time. ``share``: of the updates, rounded up, that may be hostile; at most what
leaves the others a majority.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedtiny.federation.aggregators import Array, State, Updates, check_range, weighted_mean


def _stack(updates: Updates) -> Array:
    """The deltas: (n, outputs, inputs + 1)."""
    deltas = [delta for delta, _ in updates]
    if not deltas:
        raise ValueError("no updates to aggregate")
    return np.stack(deltas)


def _hostile(count: int, share: float) -> int:
    """How many of ``count`` updates to defend against, always a minority."""
    check_range("share", share, 0, 0.5)
    return min(math.ceil(share * count - 1e-9), (count - 1) // 2)


def median(updates: Updates, state: State) -> tuple[Array, State]:
    """Coordinate-wise median (Yin et al., Byzantine-Robust Distributed Learning, ICML 2018)."""
    return np.median(_stack(updates), axis=0).astype(np.float32), state


def trimmed_mean(updates: Updates, state: State, *, share: float = 0.2) -> tuple[Array, State]:
    """Coordinate-wise mean without the ``share`` largest and the ``share`` smallest values (Yin et al., ICML 2018)."""
    deltas = np.sort(_stack(updates), axis=0)
    cut = _hostile(len(deltas), share)
    return deltas[cut : len(deltas) - cut].mean(axis=0, dtype=np.float64).astype(np.float32), state


def krum(updates: Updates, state: State, *, share: float = 0.2) -> tuple[Array, State]:
    """The one update that is closest to its neighbours (Blanchard et al., Machine Learning with Adversaries, 2017).

    Several that are equally close are averaged: with fewer than four updates there is no telling them apart.
    """
    deltas = _stack(updates)
    scores = krum_scores(deltas, _hostile(len(deltas), share))
    return _mean(deltas[scores <= scores.min()]), state


def multi_krum(updates: Updates, state: State, *, share: float = 0.2) -> tuple[Array, State]:
    """The mean of the n - f updates that are closest to their neighbours (Blanchard et al., 2017)."""
    deltas = _stack(updates)
    hostile = _hostile(len(deltas), share)
    scores = krum_scores(deltas, hostile)
    return _mean(deltas[scores <= np.sort(scores)[len(deltas) - hostile - 1]]), state


def krum_scores(deltas: Array, hostile: int) -> NDArray[np.float64]:
    """Of each of n deltas, the sum of squared distances to its n - hostile - 2 nearest others; lower is better."""
    flat = deltas.reshape(len(deltas), -1)
    distances = np.full((len(flat), len(flat)), np.inf)  # of an update to itself: it is not among its neighbours
    for i, one in enumerate(flat):
        away = flat[i + 1 :] - one
        distances[i, i + 1 :] = distances[i + 1 :, i] = np.einsum("ij,ij->i", away, away)
    distances.sort(axis=1)
    return distances[:, : max(len(flat) - hostile - 2, 1)].sum(axis=1)


def clipping(updates: Updates, state: State, *, quantile: float = 0.5) -> tuple[Array, State]:
    """The mean of deltas cut down to one norm (Sun et al., Can You Really Backdoor Federated Learning?, 2019).

    The bound is a quantile of the cohort's norms, as in Andrew et al., Differentially Private Learning with Adaptive
    Clipping, NeurIPS 2021; ``quantile`` 0.5: their median.
    """
    check_range("quantile", quantile, 0.01, 1)
    deltas = _stack(updates).astype(np.float64)
    norms = np.sqrt(np.square(deltas).sum(axis=(1, 2)))
    bound = np.quantile(norms, quantile)
    factors = np.minimum(1.0, bound / np.maximum(norms, 1e-30))
    return _mean(deltas * factors[:, None, None]), state


def _mean(deltas: NDArray[np.floating[Any]]) -> Array:
    return weighted_mean((delta, 1) for delta in deltas).astype(np.float32)
