"""Autoencoders in Keras: the dense one that becomes a release, and an LSTM as a yardstick for benchmarks.

The LSTM is that of Stoll, 'Federated Learning for Autoencoder-based Anomaly Detection in the Industrial IoT' (Becker
et al., IEEE BigData 2022): windows of 100 samples, units 128-16-16-128. It stays in float.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from fedtiny.config import Train

Array = NDArray[np.float32]
Progress = Callable[[int, float, float], None]  # epoch from 1, loss, validation loss
MOST_STEPS = 32  # of an epoch: with more windows than batches of batch_size make, the batches grow
LSTM_WINDOW, LSTM_UNITS = 100, (128, 16, 16, 128)


@dataclass(frozen=True)
class Trained:
    """A Keras model and how it got there: mean squared errors per epoch."""

    model: Any
    losses: tuple[float, ...]
    validation_losses: tuple[float, ...]

    def reconstruct(self, inputs: Array) -> Array:
        """Float reconstructions, the shape of ``inputs``."""
        return np.asarray(self.model.predict(inputs, batch_size=512, verbose=0), np.float32)


def default_hidden(features: int) -> tuple[int, int, int]:
    """Hidden layers for a number of features: half, an eighth, half; 64-16-64 for 2 channels x 64 bands.

    The code is never wider than a quarter of few features: residuals that are nearly nothing drown in int8 rounding.
    """
    wide = int(np.clip(features // 2, 8, 128))
    code = min(max(features // 8, 2), max(features // 4, 1), 32)
    return wide, code, wide


def fit(
    kind: Literal["dense", "lstm"],
    train: Array,
    validation: Array,
    config: Train,
    progress: Progress | None = None,
) -> Trained:
    """Train with early stopping on ``validation``.

    dense: arrays (n, features). lstm: arrays (n, 100, channels). The best epoch's weights are kept.
    """
    tf.keras.utils.set_random_seed(config.seed)
    model = _dense(train.shape[1], config) if kind == "dense" else _lstm(train.shape[1], train.shape[2])
    model.compile(tf.keras.optimizers.Adam(config.learning_rate), "mse")
    callbacks: list[Any] = [tf.keras.callbacks.EarlyStopping(patience=config.patience, restore_best_weights=True)]
    if progress is not None:
        callbacks.append(
            tf.keras.callbacks.LambdaCallback(
                on_epoch_end=lambda epoch, logs: progress(epoch + 1, logs["loss"], logs["val_loss"])
            )
        )
    batches = tf.data.Dataset.from_tensor_slices((train, train))
    batches = batches.shuffle(len(train), seed=config.seed).batch(max(config.batch_size, len(train) // MOST_STEPS))
    history = model.fit(
        batches,
        epochs=config.epochs,
        validation_data=(validation, validation),
        callbacks=callbacks,
        verbose=0,
        shuffle=False,
    )
    return Trained(model, tuple(history.history["loss"]), tuple(history.history["val_loss"]))


def _dense(features: int, config: Train) -> Any:
    layers = tf.keras.layers
    hidden = config.hidden or default_hidden(features)
    return tf.keras.Sequential(
        [tf.keras.Input((features,))]
        + [layers.Dense(units, activation="relu") for units in hidden]
        + [layers.Dense(features)]
    )


def _lstm(steps: int, channels: int) -> Any:
    layers = tf.keras.layers
    wide_in, code_in, code_out, wide_out = LSTM_UNITS
    return tf.keras.Sequential(
        [
            tf.keras.Input((steps, channels)),
            layers.LSTM(wide_in, return_sequences=True),
            layers.LSTM(code_in),
            layers.RepeatVector(steps),
            layers.LSTM(code_out, return_sequences=True),
            layers.LSTM(wide_out, return_sequences=True),
            layers.TimeDistributed(layers.Dense(channels)),
        ]
    )
