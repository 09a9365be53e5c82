"""The agent's numbers on arm64 beside x86-64's: a Debian user land under qemu, made by rootfs.sh on the first run."""

import importlib.metadata
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fedtiny.signal.fleet import open_fleet
from fedtiny.signal.windows import cut

HERE = Path(__file__).parent
PROJECT = HERE.parents[1]
ROOT = PROJECT / ".aarch64"
WHEELS = ROOT / "wheels"
# Versions as they are here, but for LiteRT: from 2.2 on it crashes under qemu 7.2.
SAME = ("numpy", "tflite-runtime", "pydantic", "pydantic-core", "cbor2", "paho-mqtt", "click")
REQUIREMENTS = (*(f"{name}=={importlib.metadata.version(name)}" for name in SAME), "ai-edge-litert==2.1.6")

pytestmark = pytest.mark.aarch64


def run(python: list[str], *arguments: str | Path, packages: tuple[Path, ...] = ()) -> str:
    """What ``python`` prints; it sees this project and ``packages`` only."""
    path = os.pathsep.join(map(str, [*packages, PROJECT]))
    done = subprocess.run(
        [*python, *arguments],
        env={"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1", "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def arm_python() -> list[str]:
    """The command that runs arm64 Python."""
    done = subprocess.run(
        [HERE / "rootfs.sh", ROOT, *REQUIREMENTS],
        env=os.environ | {"PYTHON": sys.executable},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return [shutil.which("qemu-aarch64-static"), "-L", str(ROOT), str(ROOT / "usr/bin/python3.11")]


@pytest.fixture(scope="module")
def given(release, tmp_path_factory) -> Path:
    """A simulated machine's windows, normal then faulty, and inputs that reach beyond the int8 model's range."""
    plan, fleet = release.manifest, open_fleet(None)
    recordings = next(m for name, m in fleet.machines.items() if name.endswith("-06")).recordings()
    known = sorted((r for r in recordings if r.label >= 0), key=lambda recording: recording.label)
    windows = np.concatenate([cut(r.samples, plan.window, plan.hop) for r in known])
    noise = np.random.default_rng(7).normal(scale=3, size=(200, release.features.size))
    inputs = np.concatenate([release.standardisation(release.features(windows)), noise]).astype(np.float32)
    path = tmp_path_factory.mktemp("aarch64") / "given.npz"
    np.savez(path, windows=windows, inputs=inputs)
    return path


@pytest.fixture(scope="module", params=["tflite", "litert"])
def found(request, arm_python, given, release_path) -> list[dict]:
    """What both architectures compute from the same windows on the same runtime: [x86-64, arm64]."""
    answers = []
    for python, packages in (([sys.executable], ()), (arm_python, (WHEELS,))):
        answer = given.with_name(f"{request.param}-{len(answers)}.npz")
        run(python, HERE / "device.py", release_path, request.param, given, answer, packages=packages)
        with np.load(answer) as stored:
            answers.append(dict(stored))
    assert [str(answer["machine"]) for answer in answers] == ["x86_64", "aarch64"]
    return answers


def test_the_int8_model_is_equal_to_the_bit(found):
    x86, arm = found
    np.testing.assert_array_equal(arm["outputs"], x86["outputs"])
    np.testing.assert_array_equal(arm["activations"], x86["activations"])


def test_features_scores_and_verdicts_are_equal_but_for_float_rounding(found):
    """Measured: features to the bit, scores and thresholds to 1.4e-7 of their value."""
    x86, arm = found
    np.testing.assert_allclose(arm["features"], x86["features"], rtol=0, atol=1e-5)
    for kind in ("scores", "tuned_scores"):
        score, threshold, anomalous = arm[kind].T
        np.testing.assert_allclose(arm[kind], x86[kind], rtol=1e-4)
        assert np.isfinite(score[-20:]).all()
        assert np.isfinite(threshold[-20:]).all()
        assert anomalous.any()
        assert not anomalous.all()


def test_fine_tuning_sends_the_same_update(found):
    """Measured: 0 steps of int8. A delta that lies between two steps may go either way."""
    x86, arm = found
    step = np.abs(x86["delta"]).max(axis=1, keepdims=True) / 127
    assert np.all(step > 0)
    assert np.max(np.abs(arm["delta"] - x86["delta"]) / step) < 1.01
    np.testing.assert_allclose(arm["losses"], x86["losses"], rtol=1e-5)
    assert arm["losses"][1] < arm["losses"][0]


def test_the_agent_imports_with_all_its_dependencies(arm_python):
    code = "import fedtiny.cli, fedtiny.edge, platform; print(platform.machine())"
    assert run(arm_python, "-c", code, packages=(WHEELS,)) == "aarch64\n"
