import json
import re

import numpy as np
import pytest

from fedtiny.metrics import auc
from fedtiny.model.artifact import Release
from fedtiny.model.interpreter import Interpreter
from fedtiny.model.network import Network
from fedtiny.model.scoring import fit_residuals
from fedtiny.signal.dataset import machine_features
from fedtiny.signal.fleet import open_fleet


@pytest.fixture(scope="module")
def keras(training):
    with np.load(training / "keras.npz") as stored:
        return dict(stored)


@pytest.fixture(scope="module")
def gate(training):
    return json.loads((training / "gate.json").read_text())


def test_the_release_carries_keras_last_layer(release, keras):
    np.testing.assert_array_equal(release.head.weights[:, :-1], keras["kernel"].T)
    np.testing.assert_array_equal(release.head.weights[:, -1], keras["bias"])


def test_int8_reconstructs_almost_what_float_does(release, keras):
    reconstructed, _ = Interpreter(release.data, "auto", release.hidden_tensor)(keras["windows"])
    error = np.mean(np.square(reconstructed - keras["reconstructed"]))
    assert error < 0.05 * np.mean(np.square(keras["windows"]))


def test_the_manifest_tells_what_was_trained(release):
    manifest = release.manifest
    assert len(manifest.training["machines"]) == 4
    assert manifest.training["windows"] > manifest.training["validation_windows"] > 0
    assert manifest.layers[-1] == len(manifest.mean) == release.features.size
    assert manifest.gate.rank_correlation >= 0.98
    assert manifest.gate.auc_float - manifest.gate.auc_int8 <= 0.005
    assert manifest.made_with["tensorflow"]


def test_rows_of_features_become_a_release_like_any_other(training):
    """Whatever units the features come in, what is unusual together stands out from what is usual together."""
    release = Release.open(training / "given.tflite")
    assert release.manifest.feature == "given"
    assert release.manifest.channels == tuple(f"f{number}" for number in range(12))
    assert release.manifest.gate.rank_correlation >= 0.98
    machine = machine_features(open_fleet(training / "rows"), "c", release.features)
    network = Network(release)

    def residuals(features):
        z = release.standardisation(features)
        return z - network(z)[0]

    score = fit_residuals(residuals(machine.normal[:75])).score
    assert auc(score(residuals(machine.normal[75:])), score(residuals(machine.anomalous))) > 0.97


def test_windows_and_bands_do_not_go_with_given_features(training):
    said = json.loads((training / "given.json").read_text())
    assert said["bands"] == "signal.bands: given features have no windows and no bands; leave it out"


def test_few_features_are_still_squeezed(training):
    hidden = json.loads((training / "given.json").read_text())["hidden"]
    assert hidden == {"3": [8, 1, 8], "4": [8, 1, 8], "15": [8, 2, 8], "128": [64, 16, 64]}


@pytest.mark.parametrize(
    ("figures", "words"),
    [
        ("bad ranges", r"gate: .* no release"),
        ("rank", r"rank correlation .* is 0\.9799 on 77 windows, at least 0\.98 expected"),
        ("nan", "rank correlation .* is nan"),
        ("auc", r"AUC falls from 0\.9900 \(float\) to 0\.9849 \(int8\), at most 0\.005 may be lost"),
    ],
)
def test_the_gate_refuses_with_the_figures(gate, figures, words):
    assert re.search(words, gate[figures])


@pytest.mark.parametrize("figures", ["just enough", "small loss", "gain"])
def test_the_gate_lets_small_losses_pass(gate, figures):
    assert gate[figures] is None


def test_the_lstm_yardstick_trains_and_reconstructs(training):
    figures = json.loads((training / "lstm.json").read_text())
    assert figures["shape"] == [6, 10, 2]
    assert np.isfinite(figures["losses"]).all()
    # units 128-16-16-128 by the book: 4 u (inputs + u + 1) a layer, and a dense layer on top
    assert figures["weights"] == sum(4 * u * (n + u + 1) for n, u in ((2, 128), (128, 16), (16, 16), (16, 128))) + 258
