"""Scores of normal windows -> the threshold that keeps a false-alarm budget."""

from math import exp, log, log1p
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from fedtiny.errors import DataError

Array = NDArray[np.float32]
CONFIDENCE = 0.5  # that a threshold keeps its false-alarm rate: as often below as above
BLOCKS = 3
HIGHEST = {1: 0.0, 2: 0.564, 3: 0.846}  # expected largest of so many standard normal numbers


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
