"""Rules that raise alarms on feature rows in time order: a live device's, the literature's, and both without a model.

features: float32 (rows, features). An alarm is (row where it is raised, row where it clears or None: it stands on).
"""

import numpy as np
from numpy.typing import NDArray

from benchmarks.common import Array
from fedtiny.config import Edge
from fedtiny.device import rules_of
from fedtiny.model.alarm import AlarmLife
from fedtiny.model.artifact import Release
from fedtiny.model.detector import Budget, Detector, split_index
from fedtiny.model.network import Network
from fedtiny.model.threshold import calibrate_threshold
from fedtiny.model.watch import Watch
from fedtiny.signal.given import fit_columns

Alarms = list[tuple[int, int | None]]


def replay(release: Release, edge: Edge, features: Array) -> tuple[Array, Array, NDArray[np.bool_]]:
    """(scores, thresholds, whether the alarm stands) of every row, as a live device finds them; NaN while it learns."""
    watch, extract = Watch(Network(release, edge.runtime), rules_of(edge)), release.features
    scores, thresholds = np.full((2, len(features)), np.nan, np.float32)
    standing = np.zeros(len(features), bool)
    for i, row in enumerate(features):
        finding = watch.take(extract(row[None, None]))
        scores[i], standing[i] = finding.score, watch.alarm.standing
        thresholds[i] = np.nan if finding.threshold is None else finding.threshold
    return scores, thresholds, standing


def standing_scores(release: Release, features: Array, learn: int) -> Array:
    """Scores of every row by a detector that learned the first ``learn`` and then stands still."""
    detector = Detector(Network(release), Budget(Edge().window_rate, learn, 2 * learn))
    detector.learn(features[:learn])
    scores: Array = np.square(detector.whiten(features)).mean(axis=1)
    return scores


def z_scores(fitted: Array, features: Array) -> Array:
    """No model: mean squared distance from the ``fitted`` rows' mean in their deviations."""
    names = [f"column {number}" for number in range(features.shape[1])]
    scores: Array = np.square(fit_columns(fitted, names)(features)).mean(axis=1)
    return scores


def z_score_vote(features: Array, learn: int, edge: Edge) -> NDArray[np.bool_]:
    """Whether the alarm stands, by a device's threshold and vote on z-scores, learned from the first ``learn`` rows."""
    split = split_index(learn)
    threshold = calibrate_threshold(z_scores(features[:split], features[split:learn]), edge.window_rate)
    alarm = AlarmLife(edge.alarm_votes, edge.alarm_window)
    standing = np.zeros(len(features), bool)
    for i, score in enumerate(z_scores(features[:learn], features)[learn:], learn):
        alarm.add(over=bool(score >= threshold), quiet=bool(score < edge.alarm_clear * threshold))
        standing[i] = alarm.standing
    return standing


def four_deviations(scores: Array, learn: int) -> int | None:
    """First row at which the lowest of the last three scores is over mean + 4 deviations of the first ``learn``."""
    threshold = scores[:learn].mean() + 4 * scores[:learn].std()
    lowest = np.minimum(np.minimum(scores[2:], scores[1:-1]), scores[:-2])
    over = np.flatnonzero(lowest[learn - 2 :] > threshold)
    return int(over[0]) + learn if len(over) else None


def alarms(standing: NDArray[np.bool_]) -> Alarms:
    """Every alarm of a run."""
    steps = np.diff(standing.astype(np.int8), prepend=0, append=0)
    raised, cleared = np.flatnonzero(steps == 1).tolist(), np.flatnonzero(steps == -1).tolist()
    return [(r, c if c < len(standing) else None) for r, c in zip(raised, cleared, strict=True)]


def lasting(found: Alarms) -> int | None:
    """Row from which an alarm stands to the end."""
    return found[-1][0] if found and found[-1][1] is None else None


def rows_under(found: Alarms, end: int) -> int:
    """Rows before ``end`` under an alarm."""
    return sum(max(0, min(end, end if cleared is None else cleared) - raised) for raised, cleared in found)
