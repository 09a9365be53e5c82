import subprocess
import sys

import numpy as np
import pytest

from fedtiny.errors import DataError, ReleaseError
from fedtiny.federation.combine import Entry, combine
from fedtiny.federation.local import compute_update
from fedtiny.federation.strategies import strategy
from fedtiny.metrics import auc
from fedtiny.model.detector import Budget, Detector, split_index
from fedtiny.model.head import Head, loss
from fedtiny.model.network import Network

BUDGET = Budget(rate=0.05, learn=44, keep=200)


def learned(release, windows, budget=BUDGET) -> Detector:
    detector = Detector(Network(release), budget)
    assert detector.learn(windows)
    return detector


def scores(detector, features):
    return np.square(detector.whiten(features)).mean(axis=1)


def test_one_machine_from_learning_to_its_own_head(release, machine):
    """Calibrated on its first normal windows, the detector separates what comes later; under a head of its own it
    reconstructs better and is calibrated anew without new windows."""
    local, held_out = np.split(machine.normal, [BUDGET.learn])
    detector = learned(release, local)
    assert auc(scores(detector, held_out), scores(detector, machine.anomalous)) > 0.95
    assert np.mean(scores(detector, machine.anomalous) >= detector.threshold) > 0.8
    assert np.mean(scores(detector, held_out) >= detector.threshold) < 0.3

    targets, _, hidden = detector.run(local)
    update = compute_update("delta", release.head.weights, hidden, targets, split_index(len(local)), 0.3)
    assert update.loss_after < update.loss_before
    before = detector.threshold
    made = combine(strategy("fedavg", {}), lambda: [Entry("a", update)], release.head, release.head.weights, {})
    detector.network.set_head(made.head)
    detector.rehead()
    assert detector.threshold != before
    targets, residuals, hidden = detector.run(held_out)
    assert np.mean(np.square(residuals)) < loss(release.head.weights, hidden, targets)
    assert auc(scores(detector, held_out), scores(detector, machine.anomalous)) > 0.95
    assert np.mean(scores(detector, held_out) >= detector.threshold) < 0.3


def test_learning_ends_with_the_last_window_however_they_come(release, machine):
    whole, one_by_one = learned(release, machine.normal[:44]), Detector(Network(release), BUDGET)
    with pytest.raises(DataError, match="not been calibrated"):
        one_by_one.whiten(machine.normal)
    for number, window in enumerate(machine.normal[:44]):
        assert one_by_one.learned == pytest.approx(number / 44)
        assert one_by_one.learn(window[None]) == (number == 43)
    assert one_by_one.threshold == whole.threshold
    np.testing.assert_array_equal(one_by_one.whiten(machine.normal), whole.whiten(machine.normal))
    single = np.concatenate([whole.whiten(window[None]) for window in machine.normal])
    np.testing.assert_allclose(single, whole.whiten(machine.normal), rtol=1e-3, atol=1e-4)


def test_the_threshold_does_not_know_the_windows_it_is_calibrated_on(release, machine):
    """Windows kept out of the fit are further away than fitted ones, and the threshold knows by how much."""
    detector = learned(release, machine.normal[:44])
    fitted = Detector(Network(release), BUDGET)
    fitted.baseline = machine.normal[:44]
    fitted.calibrate()
    own = scores(fitted, machine.normal[:44])
    assert detector.threshold > np.quantile(own, 0.95)


def test_too_few_windows(release, machine):
    detector = Detector(Network(release), Budget(0.01, 4, 8))
    assert not detector.learn(machine.normal[:3])
    with pytest.raises(DataError, match="3 normal windows, at least 4"):
        detector.calibrate()
    assert detector.learn(machine.normal[3:4])
    assert np.isfinite(scores(detector, machine.normal)).all()


def test_a_foreign_head_changes_nothing(release, machine):
    detector = learned(release, machine.normal)
    before = detector.whiten(machine.normal)
    with pytest.raises(ReleaseError, match="head of shape"):
        detector.network.set_head(Head(np.zeros((2, 3), np.float32), -1, 1))
    np.testing.assert_array_equal(detector.whiten(machine.normal), before)


def test_life_sharpens_the_threshold_and_a_new_head_keeps_what_it_taught(release, machine, rng):
    """A machine whose later scores are wider spread than those of its baseline: the promise holds, ratios stay."""
    detector = learned(release, machine.normal[:44], Budget(0.01, 44, 200))
    assert detector.promised == 0
    calibrated = detector.calibrated
    life = 0.6 * rng.lognormal(0, 0.4, 3000)
    for ratio in life[:1000]:
        detector.live(ratio)
    assert detector.promised == 1
    factor = detector.threshold / calibrated
    assert 0.003 < np.mean(life[1000:] >= factor) < 0.02
    assert np.mean(life[1000:] >= 1) > 0.05
    for ratio in 9 * life[1000:]:
        detector.live(ratio)
    assert detector.threshold == calibrated * factor  # that stands

    head = Head(1.3 * release.head.weights, 1.3 * release.head.output_min, 1.3 * release.head.output_max)
    detector.network.set_head(head)
    detector.rehead()
    assert detector.calibrated != calibrated
    assert detector.threshold == pytest.approx(factor * detector.calibrated)
    assert detector.promised == 1


def test_the_drift_is_found_again_under_a_new_head(release, machine):
    """What was followed before a new head is followed after it: no score jumps."""
    detector = learned(release, machine.normal[:44])
    for window in machine.normal[44:] + 0.3 * release.standardisation.deviation:
        detector.drift.follow(detector.drift.away(detector.whiten(window[None])[0]))
        detector.recent.add(window[None])
    before = detector.drift.centre
    assert detector.drift.used > 0.05
    detector.network.set_head(release.head)  # the same, but for the rounding of a patched model
    detector.rehead()
    assert np.linalg.norm(detector.drift.centre - before) < 0.05 * np.linalg.norm(before)


@pytest.mark.parametrize("count", range(4, 40))
def test_both_shares_of_the_local_windows_have_two(count):
    assert 2 <= split_index(count) <= count - 2


def test_a_device_never_loads_tensorflow(release_path):
    script = """
import sys
from pathlib import Path
import numpy as np
from fedtiny.model.artifact import Release
from fedtiny.model.network import Network
from fedtiny.model.watch import Rules, Watch
release = Release.open(Path(sys.argv[1]))
windows = np.random.default_rng(0).normal(size=(30, release.manifest.window, len(release.manifest.channels)))
watch = Watch(Network(release), Rules(rate=0.01, learn=24, keep=48, votes=3, window=5, quiet=0.8, points=1))
findings = [watch.take(features[None]) for features in release.features(windows)]
assert np.isfinite(findings[-1].score)
print([name for name in sys.modules if name.partition(".")[0] in ("tensorflow", "keras", "paho", "click")])
"""
    done = subprocess.run([sys.executable, "-c", script, release_path], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr
