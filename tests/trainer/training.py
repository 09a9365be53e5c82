"""All that tests need TensorFlow for, in a process of its own: FOLDER gets a release and what it came from.

release.tflite, plain.tflite (the int8 model before our manifest), keras.npz (the last layer, windows and their
reconstructions in float), lstm.json and gate.json (what the gate said of a bad quantisation and of `FIGURES`).
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
from fedtiny.errors import ReleaseError
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
    except ReleaseError as error:
        return str(error)
    return None


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

    train.evenly = lambda rows, count: 200 * rows[:20]  # ranges that leave a step or two for real windows
    small = simulate_fleet(machines=3, base=2, snapshots=40)
    said = {"bad ranges": refusal(lambda: train.train_release(small, load_config(None, train__epochs=3)))}
    said |= {name: refusal(partial(gate.decide, Gate(**figures))) for name, figures in FIGURES.items()}
    (folder / "gate.json").write_text(json.dumps(said))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
