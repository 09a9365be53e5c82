"""What a machine's scores from the first snapshot to the last are worth, by one protocol for ours and the peers."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from benchmarks.common import COLUMNS, Array
from benchmarks.stoll.inputs import Life, rolled
from fedtiny.evaluation import DeviceScores, LocalSplit, by_residuals, figures
from fedtiny.model.scoring import fit_residuals
from fedtiny.model.threshold import calibrate_threshold


@dataclass(frozen=True)
class Scored:
    """A life under one method: a score for each stored snapshot (snapshots,), and the machine's own threshold."""

    scores: Array
    threshold: float

    @property
    def in_thresholds(self) -> list[float]:
        """The scores in units of the threshold."""
        return [float(one) for one in self.scores / np.float32(self.threshold)]


def by_errors(errors: Array, life: Life, false_alarm_rate: float) -> Scored:
    """A peer's own score, an error for each snapshot (snapshots,), with a threshold from the kept ones."""
    return Scored(errors, calibrate_threshold(errors[life.kept], false_alarm_rate))


def by_our_score(residuals: Array, life: Life, false_alarm_rate: float) -> Scored:
    """Our score of any model's residuals (snapshots, features): whitened by what is normal for the machine."""
    data = LocalSplit(residuals[life.local], residuals[life.held_out], residuals[life.failing])
    threshold = by_residuals(np.asarray, data, false_alarm_rate).threshold
    return Scored(fit_residuals(data.local).score(residuals), threshold)


def judge(lives: Mapping[str, Life], scored: Mapping[str, Scored]) -> dict[str, float]:
    """The columns of the other tables at the machines' own thresholds, and the two rates under the published rule."""
    ours, theirs = {}, []
    for name, found in scored.items():
        life, scores = lives[name], found.scores
        ours[name] = DeviceScores(scores[life.held_out], scores[life.failing], found.threshold)
        limit, lowest = scores[life.local].mean() + 4 * scores[life.local].std(), rolled(scores)
        theirs.append((np.mean(lowest[life.held_out] > limit), np.mean(lowest[life.failing] > limit)))
    each = figures(ours)
    false, detected = np.mean(theirs, axis=0)
    return {column: float(each[key]) for column, (_, key) in COLUMNS.items()} | {
        "published_false_alarm_rate": float(false),
        "published_detection_rate": float(detected),
    }
