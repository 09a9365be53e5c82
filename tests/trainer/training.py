"""All that tests need TensorFlow for, in a process of its own: FOLDER gets a release and what it came from.

release.tflite, plain.tflite (the int8 model before our manifest), keras.npz (the last layer, windows and their
reconstructions in float), lstm.json and gate.json (what the gate said of a bad quantisation and of `FIGURES`); rows/,
a fleet of feature rows, with given.tflite trained on it and given.json (hidden layers, what was said of asked bands).
"""

import json
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import numpy as np
import tensorflow as tf

from fedtiny.config import Train, load_config
from fedtiny.errors import FedTinyError
from fedtiny.model.artifact import Gate, Release
from fedtiny.signal.dataset import machine_features
from fedtiny.signal.fleet import open_fleet
from fedtiny.signal.simulator import simulate_fleet
from fedtiny.trainer import autoencoder, gate, quantise, train

FIGURES = {
    "rank": {"rank_correlation": 0.9799, "windows": 77},
    "nan": {"rank_correlation": float("nan"), "windows": 77},
    "auc": {"rank_correlation": 1, "windows": 77, "auc_float": 0.99, "auc_int8": 0.9849},
    "just enough": {"rank_correlation": 0.98, "windows": 5},
    "small loss": {"rank_correlation": 1, "windows": 5, "auc_float": 0.99, "auc_int8": 0.9851},
    "gain": {"rank_correlation": 1, "windows": 5, "auc_float": 0.9, "auc_int8": 0.95},
}


def refusal(attempt: Callable[[], object]) -> str | None:
    try:
        attempt()
    except FedTinyError as error:
        return str(error)
    return None


def feature_rows(folder: Path) -> None:
    """Three machines with a cause for every two features, in units from 1e-7 to 1e5; one machine then breaks that."""
    rng = np.random.default_rng(3)
    names, units = [f"f{number}" for number in range(12)], 10.0 ** np.arange(-7, 5)
    mixing = rng.normal(size=(4, 12))
    toml = f"sample_rate_hz = 0.01\nchannels = {names}\nbase = ['a', 'b']\n"
    for machine in "abc":
        for kind, noise in (("normal", 0.4), ("anomalous", 1.2)):
            rows = (rng.normal(size=(150, 4)) @ mixing + noise * rng.normal(size=(150, 12)) + 5) * units
            (folder / machine / kind).mkdir(parents=True)
            header = ",".join(["time", *names])
            table = np.column_stack([np.arange(150), rows])
            np.savetxt(folder / machine / kind / "rows.csv", table, delimiter=",", header=header, comments="")
    (folder / "fleet.toml").write_text(toml)


def given(folder: Path) -> None:
    """Train on rows, and try what cannot be."""
    feature_rows(folder / "rows")
    fleet = open_fleet(folder / "rows")
    kind = {"signal__feature": "given", "train__epochs": 30, "train__hidden": [12, 4, 12]}
    (folder / "given.tflite").write_bytes(train.train_release(fleet, load_config(None, **kind)).release)
    said = {"bands": refusal(lambda: train.train_release(fleet, load_config(None, signal__bands=4, **kind)))}
    said["hidden"] = {features: autoencoder.default_hidden(features) for features in (3, 4, 15, 128)}
    (folder / "given.json").write_text(json.dumps(said))


def main(folder: Path) -> None:
    fleet = open_fleet(None)
    training = train.train_release(fleet, load_config(None, train__epochs=30))
    (folder / "release.tflite").write_bytes(training.release)

    release = Release(training.release)
    windows = release.standardisation(machine_features(fleet, fleet.base[0], release.features).normal)
    (folder / "plain.tflite").write_bytes(quantise.to_int8(training.trained.model, windows))
    kernel, bias = training.trained.model.layers[-1].get_weights()
    reconstructed = training.trained.reconstruct(windows)
    np.savez(folder / "keras.npz", kernel=kernel, bias=bias, windows=windows, reconstructed=reconstructed)

    tf.config.run_functions_eagerly(True)  # compiling an LSTM takes longer than this one epoch
    series = np.random.default_rng(0).normal(size=(6, 10, 2)).astype(np.float32)
    lstm = autoencoder.fit("lstm", series[:4], series[4:], Train(epochs=1))
    tf.config.run_functions_eagerly(False)
    figures = {"shape": lstm.reconstruct(series).shape, "losses": lstm.losses, "weights": lstm.model.count_params()}
    (folder / "lstm.json").write_text(json.dumps(figures))

    given(folder)

    train.evenly = lambda rows, count: 200 * rows[:20]  # ranges that leave a step or two for real windows
    small = simulate_fleet(machines=3, base=2, snapshots=40)
    said = {"bad ranges": refusal(lambda: train.train_release(small, load_config(None, train__epochs=3)))}
    said |= {name: refusal(partial(gate.decide, Gate(**figures))) for name, figures in FIGURES.items()}
    (folder / "gate.json").write_text(json.dumps(said))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
