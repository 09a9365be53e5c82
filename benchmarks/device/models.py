"""The models that ``bench`` measures, of FEMTO's sizes; run as a process of its own for its TensorFlow.

``python -m benchmarks.device.models DATA FOLDER`` trains a release on a fleet folder and writes ``release.tflite``
(int8), ``float.tflite`` and ``weights.npz`` (the same network in float32), and ``wide.tflite``: one int8 layer
``WIDE`` -> ``WIDE``, which tells what this core can do.
"""

import contextlib
import io
import os
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np

WIDE, EPOCHS = 1024, 20


def write(data: Path, folder: Path) -> None:
    """All four files."""
    import tensorflow as tf

    from fedtiny.config import load_config
    from fedtiny.signal.fleet import open_fleet
    from fedtiny.trainer.quantise import to_int8
    from fedtiny.trainer.train import train_release

    training = train_release(open_fleet(data), load_config(None, train__epochs=EPOCHS))
    (folder / "release.tflite").write_bytes(training.release)
    model: Any = training.trained.model
    layers = [layer.get_weights() for layer in model.layers if layer.get_weights()]
    arrays = {f"w{i}": weights for i, (weights, _) in enumerate(layers)}
    np.savez(folder / "weights.npz", **arrays, **{f"b{i}": bias for i, (_, bias) in enumerate(layers)})
    fixed = tf.keras.Sequential([tf.keras.Input((len(layers[0][0]),), batch_size=1), *model.layers])
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):  # Keras prints its export
        warnings.simplefilter("ignore")
        (folder / "float.tflite").write_bytes(tf.lite.TFLiteConverter.from_keras_model(fixed).convert())
    wide = tf.keras.Sequential([tf.keras.Input((WIDE,)), tf.keras.layers.Dense(WIDE)])
    rows = np.random.default_rng(0).normal(size=(64, WIDE)).astype(np.float32)
    (folder / "wide.tflite").write_bytes(to_int8(wide, rows))


if __name__ == "__main__":
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    write(Path(sys.argv[1]), Path(sys.argv[2]))
