"""What all tests share: an environment of their own, and one small release trained on the simulator."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

from fedtiny.model.artifact import Release
from fedtiny.signal.dataset import MachineFeatures, machine_features
from fedtiny.signal.fleet import open_fleet

settings.register_profile("fedtiny", derandomize=True, deadline=None, database=None)
settings.load_profile("fedtiny")


@pytest.fixture(autouse=True)
def isolated(monkeypatch, tmp_path):
    """Nothing of the developer's environment reaches a test, and no test leaves files in the repository."""
    monkeypatch.delenv("FEDTINY_DATA", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session")
def training(tmp_path_factory) -> Path:
    """A folder with all that `trainer/training.py` leaves behind; TensorFlow stays in its process."""
    folder = tmp_path_factory.mktemp("training")
    script = Path(__file__).parent / "trainer" / "training.py"
    done = subprocess.run([sys.executable, script, folder], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="session")
def release_path(training) -> Path:
    return training / "release.tflite"


@pytest.fixture(scope="session")
def release(release_path) -> Release:
    return Release.open(release_path)


@pytest.fixture(scope="session")
def machine(release) -> MachineFeatures:
    """A simulated machine that the release was not trained on; its fault is on the bearing."""
    fleet = open_fleet(None)
    name = next(name for name in fleet.machines if name.endswith("-06"))
    assert name not in fleet.base
    return machine_features(fleet, name, release.features)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)
