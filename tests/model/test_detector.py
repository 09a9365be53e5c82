import subprocess
import sys

import numpy as np
import pytest

from fedtiny.errors import DataError, ReleaseError
from fedtiny.federation.combine import aggregate
from fedtiny.federation.local import compute_update
from fedtiny.metrics import auc
from fedtiny.model.detector import Detector, split_index
from fedtiny.model.head import Head, loss


def test_one_machine_from_learning_to_its_own_head(release, machine):
    """Calibrated on the first 60 %, the detector separates what comes later; its own head reconstructs it better."""
    local, held_out = np.split(machine.normal, [int(0.6 * len(machine.normal))])
    detector = Detector(release)
    detector.adapt(local)
    detector.calibrate(local, 0.01)
    assert auc(detector.score(held_out), detector.score(machine.anomalous)) > 0.95
    assert np.mean(detector.score(machine.anomalous) >= detector.threshold) > 0.8
    assert np.mean(detector.score(held_out) >= detector.threshold) < 0.3

    targets, _, hidden = detector.run(local)
    update = compute_update("fedavg", detector.head.weights, hidden, targets, split_index(len(local)), 0.3)
    assert update.loss_after < update.loss_before
    detector.set_head(aggregate("fedavg", [update], detector.head, release.head.weights, 1e-3))
    assert detector.threshold is None
    with pytest.raises(DataError, match="not been calibrated"):
        detector.score(held_out)
    detector.calibrate(local, 0.01)
    targets, residuals, hidden = detector.run(held_out)
    assert np.mean(np.square(residuals)) < loss(release.head.weights, hidden, targets)
    assert auc(detector.score(held_out), detector.score(machine.anomalous)) > 0.95


def test_too_few_windows(release, machine):
    with pytest.raises(DataError, match="3 normal windows, at least 4"):
        Detector(release).calibrate(machine.normal[:3], 0.01)
    detector = Detector(release)
    detector.calibrate(machine.normal[:4], 0.01)
    assert np.isfinite(detector.score(machine.normal)).all()


def test_a_foreign_head_changes_nothing(release, machine):
    detector = Detector(release)
    detector.calibrate(machine.normal, 0.01)
    before = detector.score(machine.normal)
    with pytest.raises(ReleaseError, match="head of shape"):
        detector.set_head(Head(np.zeros((2, 3), np.float32), -1, 1))
    np.testing.assert_array_equal(detector.score(machine.normal), before)


@pytest.mark.parametrize("count", range(4, 40))
def test_both_shares_of_the_local_windows_have_two(count):
    assert 2 <= split_index(count) <= count - 2


def test_a_device_never_loads_tensorflow(release_path):
    script = """
import sys
from pathlib import Path
import numpy as np
from fedtiny.model.artifact import Release
from fedtiny.model.detector import Detector
release = Release.open(Path(sys.argv[1]))
windows = np.random.default_rng(0).normal(size=(30, release.manifest.window, len(release.manifest.channels)))
features = release.features(windows)
detector = Detector(release)
detector.calibrate(features, 0.01)
assert detector.score(features).shape == (30,)
print([name for name in sys.modules if name.partition(".")[0] in ("tensorflow", "keras", "paho", "click")])
"""
    done = subprocess.run([sys.executable, "-c", script, release_path], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr
