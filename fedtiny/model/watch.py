"""One machine over its life: which operating point a window belongs to, its score, the alarm, what is learned from it.

Pure: no clock, no files, no network. Windows come in as features and in time order; out comes a finding for each.
Nothing is learned from trouble: windows that reach the threshold, that come under a standing alarm or at
an unknown operating point enter neither the baseline, nor the drift, nor the fine-tuning; what counts as normal life is
decided when the vote has passed over it.
"""

from collections import deque
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fedtiny.model.alarm import AlarmLife
from fedtiny.model.detector import Budget, Detector, split_index
from fedtiny.model.head import Head
from fedtiny.model.network import Network
from fedtiny.model.operating import MOST, STILL, Clusters, find_clusters, name_of

Array = NDArray[np.float32]
Verdict = Literal["learning", "unknown", "sensor", "normal", "anomalous"]
HIGHEST = 1e12  # score that is told: what overflows is no less anomalous


@dataclass(frozen=True)
class Rules:
    """How a machine is watched; see ``fedtiny.config.Edge``. ``quiet``: share of the threshold to clear below."""

    rate: float
    learn: int
    keep: int
    votes: int
    window: int
    quiet: float
    points: int


@dataclass(frozen=True)
class Finding:
    """What became of one window. ``changed``: the alarm was raised or cleared by it. NaN: no score.

    score: distance from where drift has moved the normal to, to compare with ``threshold``; level: distance from the
    baseline. away: whitened residual (features,); its squares are what each feature contributes to the score.
    """

    verdict: Verdict
    point: str
    score: float = np.nan
    level: float = np.nan
    threshold: float | None = None
    changed: bool = False
    away: Array | None = None


class Watch:
    """The detectors of one machine's operating points under one network, and its alarm."""

    def __init__(self, network: Network, rules: Rules, alarm: AlarmLife | None = None) -> None:
        self.network, self.rules = network, rules
        self.alarm = alarm or AlarmLife(rules.votes, rules.window)
        self.detectors: dict[str, Detector] = {}
        self.clusters: Clusters | None = None
        self.first: list[Array] = []  # windows without a tag, before clusters are found
        self.lately: deque[tuple[str, float]] = deque()  # windows that the vote has not passed over: see ``live``
        self.quietest = np.inf  # of the windows that were learned: log power of the loudest band

    @property
    def watching(self) -> bool:
        """Whether windows of at least one operating point are scored."""
        return any(d.threshold is not None for d in self.detectors.values())

    @property
    def learned(self) -> float:
        """Share of the windows that scoring waits for, of the operating point that is furthest."""
        waiting = len(self.first) / (self.rules.learn * self.rules.points)
        return min(1.0, max([waiting, *(d.learned for d in self.detectors.values())]))

    @property
    def promised(self) -> float:
        """Share of the windows that the false-alarm budget needs, of the operating point that is least far."""
        return min([d.promised for d in self.detectors.values() if d.threshold is not None], default=0.0)

    # --- windows ---

    def whiten_ahead(self, features: Array, point: str = "", speed_hz: float | None = None) -> Array | None:
        """What ``take`` needs of windows (n, features), worked out for all at once; None where it depends on each."""
        name = name_of(point, speed_hz, list(self.detectors)) or ("0" if self.rules.points == 1 else "")
        detector = self.detectors.get(name)
        return None if detector is None or detector.threshold is None else detector.whiten(features)

    def take(
        self,
        one: Array,
        point: str = "",
        speed_hz: float | None = None,
        *,
        trusted: bool = True,
        whitened: Array | None = None,
    ) -> Finding:
        """Find out about one window (1, features) and learn from it where it is normal and ``trusted``.

        point, speed_hz: the operating point, where the source knows it. Not trusted: the sensor has a fault.
        whitened: (features,), its row of what ``whiten_ahead`` gave.
        """
        name = name_of(point, speed_hz, list(self.detectors))
        loudest = float(one.max())
        if self._still(loudest):
            return Finding("unknown", name)
        if not name:
            if self.clusters is None:
                return self._begin(one) if trusted else Finding("learning", "")
            label = int(self.clusters(self.network.release.standardisation(one))[0]) if self.rules.points > 1 else 0
            if label < 0:
                return Finding("unknown", "")
            name = str(label)
        detector = self.detectors.get(name)
        if detector is None:
            if len(self.detectors) >= MOST:
                return Finding("unknown", name)
            detector = self.detectors[name] = self.new_detector()
        if detector.threshold is None:
            if trusted and not self.alarm.standing:
                self.quietest = min(self.quietest, loudest)
                detector.learn(one)
            return Finding("learning", name)
        return self._score(one, name, detector, trusted, detector.whiten(one)[0] if whitened is None else whitened)

    def _still(self, loudest: float) -> bool:
        """Whether the machine stands still; given features have no power to tell it by."""
        known = bool(np.isfinite(self.quietest)) and self.network.release.manifest.feature != "given"
        return known and loudest < self.quietest - STILL

    def _score(self, one: Array, name: str, detector: Detector, trusted: bool, whitened: Array) -> Finding:
        threshold = detector.threshold
        assert threshold is not None
        away = detector.drift.away(whitened)
        score, level = (_finite(float(x.dot(x)) / len(x)) for x in (away, whitened))
        over = score >= threshold
        changed = self.alarm.add(over=over, quiet=score < self.rules.quiet * threshold)
        if self.alarm.standing:
            self.lately.clear()
        elif trusted:
            self._lived(name, score / detector.calibrated)
            if not over:
                detector.drift.follow(away)
                detector.recent.add(one)
        return Finding("anomalous" if over else "normal", name, score, level, threshold, changed, away)

    def _lived(self, name: str, ratio: float) -> None:
        """A window becomes part of normal life once the vote has passed over it: an alarm takes back what led to it."""
        self.lately.append((name, ratio))
        if len(self.lately) > self.rules.window:
            before, passed = self.lately.popleft()
            self.detectors[before].live(passed)

    def _begin(self, one: Array) -> Finding:
        """Collect windows without a tag; once there are enough, find their operating points."""
        self.quietest = min(self.quietest, float(one.max()))
        self.first.append(one[0])
        if len(self.first) >= self.rules.learn * self.rules.points:
            z = self.network.release.standardisation(np.array(self.first))
            self.clusters = find_clusters(z, self.rules.points)
            labels = self.clusters(z)
            for label in range(len(self.clusters.centres)):
                self.detectors[str(label)] = detector = self.new_detector()
                detector.learn(np.array(self.first)[labels == label])
            self.first = []
        return Finding("learning", "")

    def new_detector(self) -> Detector:
        """For one more operating point."""
        keep = self.rules.keep // (self.rules.points if not self.detectors else max(self.rules.points, MOST // 2))
        return Detector(self.network, Budget(self.rules.rate, self.rules.learn, max(keep, 2 * self.rules.learn)))

    # --- heads ---

    def local_data(self) -> tuple[Array, Array, int]:
        """(activations (n, inputs), standardised features (n, features), how many to fit on; the rest is kept out)."""
        fit, kept = [], []
        for detector in self.detectors.values():
            if detector.threshold is None:
                continue
            for rows in (detector.baseline, detector.recent.rows()):
                if len(rows) >= 4:
                    z, _, hidden = detector.run(rows)
                    at = split_index(len(rows))
                    fit.append((hidden[:at], z[:at]))
                    kept.append((hidden[at:], z[at:]))
        hidden, z = (np.concatenate([part[i] for part in fit + kept]) for i in (0, 1))
        return hidden, z, sum(len(part[0]) for part in fit)

    def set_head(self, head: Head) -> None:
        """Score with ``head`` from now on: everything is calibrated anew from the windows that are kept."""
        self.network.set_head(head)
        for detector in self.detectors.values():
            if detector.threshold is not None:
                detector.rehead()


def _finite(score: float) -> float:
    return score if score < HIGHEST else HIGHEST
