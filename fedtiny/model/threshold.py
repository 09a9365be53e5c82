"""Scores of normal windows -> the threshold that keeps a false-alarm budget.

``calibrate_threshold`` needs some dozens of windows and serves budgets of a percent or so. A budget of one alarm a
month asks for a quantile that no buffer holds. ``Life`` goes on from there: it keeps scores of the machine's normal
life, relative to that threshold, and the largest of them, and extrapolates by peaks over threshold.
"""

from bisect import insort
from dataclasses import dataclass, field
from math import ceil, exp, expm1, log, log1p, sqrt
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from fedtiny.errors import DataError

Array = NDArray[np.float32]
CONFIDENCE = 0.5  # that a threshold keeps its false-alarm rate: as often below as above
CAUTIOUS = 0.9  # the same for a threshold from the first few windows alone
BLOCKS = 3
HIGHEST = {1: 0.0, 2: 0.564, 3: 0.846}  # expected largest of so many standard normal numbers
GROUP = 5  # neighbouring windows, of which the tail keeps the largest score
SAMPLE = 1000  # windows
MOST = 2.0
MOST_PEAKS = 256
FEWEST_PEAKS = 20
BEYOND = 4  # the tail may speak of what was expected a quarter of a time in what it has seen


@dataclass(frozen=True)
class Tolerance:
    """What of a threshold's calibration depends on the number of scores alone.

    The scores come in ``blocks``. ``by_chance``: what the highest of the blocks' means lies above the true one by
    chance; ``factor``: from the level to the limit; both in deviations of the log scores. ``allowed``: the limit is the
    so many-th largest score at least; 0: too few scores to say.
    """

    blocks: int
    by_chance: float
    factor: float
    allowed: int


def tolerance(n: int, false_alarm_rate: float, confidence: float = CONFIDENCE) -> Tolerance:
    """For ``n`` scores, at least 2; see ``calibrate_threshold``."""
    blocks = max(1, min(BLOCKS, n // 4))
    content = NormalDist().inv_cdf(1 - false_alarm_rate)
    sure = NormalDist().inv_cdf(confidence)
    a = max(1 - sure**2 / (2 * (n - blocks)), 0.2)
    b = content**2 - sure**2 / n
    return Tolerance(
        blocks=blocks,
        by_chance=HIGHEST[blocks] / sqrt(n / blocks),
        factor=(content + sqrt(max(content**2 - a * b, 0.0))) / a,
        allowed=_wilks(n, false_alarm_rate, confidence),
    )


def calibrate_threshold(scores: Array, false_alarm_rate: float, confidence: float = CONFIDENCE) -> float:
    """Score that about ``false_alarm_rate`` of a machine's later normal windows will reach.

    ``scores``: (n,) of normal windows that nothing was fitted on, in time order, n at least 2. Neighbours are not
    independent and machines shift between levels, so the scores are taken in ``BLOCKS`` blocks: the log score is
    normal within a block, around the highest of the blocks' means, less what is highest by chance alone. The limit is
    the one-sided tolerance limit at ``confidence`` (Natrella, Experimental Statistics, NBS Handbook 91, 1963, section
    2-2): the fewer the windows, the wider its margin. Beside it stands the order statistic that says the same without
    a distribution (Wilks 1941); once there are windows enough for one, the larger of the two holds.
    """
    logs = np.log(np.maximum(scores.astype(np.float64), 1e-9))
    n = len(logs)
    if n < 2:
        raise DataError(f"{n} windows are too few to calibrate a threshold: at least 2 are needed")
    known = tolerance(n, false_alarm_rate, confidence)
    blocks = np.array_split(logs, known.blocks)
    spread = np.sqrt(sum(float(np.square(block - block.mean()).sum()) for block in blocks) / (n - known.blocks))
    level = max(logs.mean(), max(block.mean() for block in blocks) - known.by_chance * spread)
    limit = float(np.exp(level + known.factor * spread))
    return max(limit, float(np.sort(scores)[n - known.allowed])) if known.allowed else limit


def _wilks(n: int, rate: float, confidence: float) -> int:
    """Largest k such that the k-th largest of n scores bounds their quantile at ``confidence``; 0: n too small."""
    # P(k-th largest < true quantile) = P(Binomial(n, rate) < k) must be at most 1 - confidence
    log_term, total, k = n * log1p(-rate), 0.0, 0  # (1 - rate)^n is below the smallest float for large n
    while k < n and (total := total + exp(log_term)) <= 1 - confidence:
        log_term += log((n - k) / (k + 1) * rate / (1 - rate))
        k += 1
    return k


def windows_to_promise(rate: float) -> int:
    """Normal windows, nothing fitted on them, after which ``Life`` can keep a budget of ``rate`` of the windows.

    As many as it takes for the largest of them to bound the quantile (Wilks 1941); for rare alarms, as
    many as the extrapolation asks for.
    """
    return min(ceil(log(1 - CONFIDENCE) / log1p(-rate)), max(FEWEST_PEAKS * 10 * GROUP, ceil(1 / (BEYOND * rate))))


@dataclass
class Life:
    """Scores of a machine's normal life behind its calibration, as ratios to the threshold that was found there.

    They were not there when anything was fitted, and they come later: the best there is to calibrate on. Ratios stay
    good when a new head changes all scores. The first ``SAMPLE`` are kept as they are; of all, neighbours not being
    independent, the largest of each ``GROUP``, and of these the ``MOST_PEAKS`` largest.
    """

    count: int = 0
    sample: list[float] = field(default_factory=list)
    peaks: list[float] = field(default_factory=list)  # descending
    largest: float = 0.0  # of the group at hand

    def add(self, ratio: float) -> None:
        """Take the next normal window's score over the calibrated threshold."""
        self.count += 1
        if len(self.sample) < SAMPLE:
            self.sample.append(ratio)
        self.largest = max(self.largest, ratio)
        if self.count % GROUP == 0:
            if len(self.peaks) < MOST_PEAKS or self.largest > self.peaks[-1]:
                insort(self.peaks, self.largest, key=lambda peak: -peak)
                del self.peaks[MOST_PEAKS:]
            self.largest = 0.0

    def factor(self, rate: float, windows: int) -> float:
        """What the first ``windows`` multiply the threshold by for a budget of ``rate``; 1 until they are enough.

        At most ``MOST``: what lies further out than that is not called normal without a new baseline. Beyond
        ``SAMPLE`` windows it is all of them that speak.
        """
        if windows < windows_to_promise(rate):
            return 1.0
        sample = self.sample[:windows]
        if rate * len(sample) >= 1 - CONFIDENCE or windows <= SAMPLE:
            return min(MOST, calibrate_threshold(np.array(sample), rate))
        return min(MOST, self._beyond(rate))

    def _beyond(self, rate: float) -> float:
        """Ratio that groups reach so rarely that at most ``rate`` of the windows do: peaks over threshold.

        The logarithms of the peaks above the 90 % quantile follow a generalised Pareto distribution (Pickands 1975),
        fitted by probability-weighted moments (Hosking and Wallis, Technometrics 29, 1987).
        """
        groups = self.count // GROUP
        used = min(len(self.peaks) - 1, groups // 10)
        logs = np.log(np.maximum(np.array(self.peaks[: used + 1]), 1e-9))
        start, excess = logs[-1], np.sort(logs[:-1] - logs[-1])
        share = rate * GROUP * groups / used  # of the peaks over the start that lie beyond
        mean = excess.mean()
        if share >= 1 or not mean > 0:
            return float(np.exp(start))
        weighted = float(((used - 0.65 - np.arange(used)) / used * excess).mean())  # 1 - (i - 0.35) / n, i from 1
        shape = float(np.clip(2 - mean / (mean - 2 * weighted), -0.5, 0.5)) if mean > 2 * weighted else 0.0
        scale = mean * (1 - shape)
        beyond = -log(share) if abs(shape) < 1e-6 else expm1(-shape * log(share)) / shape
        return float(np.exp(start + scale * beyond))
