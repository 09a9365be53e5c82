"""The LSTM autoencoders of the peers and how they are trained. Imports TensorFlow: for processes of its own."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import tensorflow as tf

from benchmarks.common import Array
from benchmarks.stoll.inputs import Peer

Weights = list[Array]
DECAY = 0.99  # of the learning rate, an epoch


def stoll(steps: int, features: int, activation: str) -> Any:
    """LSTM 128-16, then 128; 150,209 weights for windows of one channel.

    By the code that was measured, the code of 16 is repeated for every step and goes straight into the decoder's 128:
    with one more LSTM of 16 between, as '128-16-16-128' may be read, it would be 152,321.
    """
    layers = tf.keras.layers
    small = tf.keras.regularizers.l2(1e-7)
    common = {"activation": activation, "kernel_regularizer": small, "activity_regularizer": small}
    return tf.keras.Sequential(
        [
            tf.keras.Input((steps, features)),
            layers.LSTM(128, return_sequences=True, **common),
            layers.LSTM(16, **common),
            layers.RepeatVector(steps),
            layers.LSTM(128, return_sequences=True, **common),
            layers.TimeDistributed(layers.Dense(features)),
        ]
    )


def ahmad(steps: int, features: int, activation: str) -> Any:
    """LSTM 600-250, then 250-600; a step is a whole snapshot, so that the weights grow with its samples."""
    layers = tf.keras.layers
    return tf.keras.Sequential(
        [
            tf.keras.Input((steps, features)),
            layers.LSTM(600, activation=activation, return_sequences=True),
            layers.LSTM(250, activation=activation),
            layers.RepeatVector(steps),
            layers.LSTM(250, activation=activation, return_sequences=True),
            layers.LSTM(600, return_sequences=True),
            layers.TimeDistributed(layers.Dense(features)),
        ]
    )


@dataclass
class Training:
    """A model in training, as the peers do it: Adam, clipped gradients, mean squared error, a rate that decays.

    Thesis and code clip the gradient's norm and its values; Keras 3 takes one of them: the norm.
    """

    model: Any
    learning_rate: float
    batch: int
    losses: list[float] = field(default_factory=list)
    _optimizers: dict[int, list[Array]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.model.compile(tf.keras.optimizers.Adam(self.learning_rate, clipnorm=1.0), "mse")
        self.model.optimizer.build(self.model.trainable_variables)

    def epoch(self, sequences: Array) -> float:
        """One epoch over ``sequences`` (n, steps, features); its mean loss."""
        done = self.model.fit(sequences, sequences, batch_size=self.batch, verbose=0)
        return float(done.history["loss"][0])

    def central(self, clients: Sequence[Array], epochs: int) -> None:
        """All clients' sequences in one place."""
        pooled = np.concatenate(clients)
        for number in range(epochs):
            self.model.optimizer.learning_rate = self.learning_rate * DECAY**number
            self.losses.append(self.epoch(pooled))

    def federated(self, clients: Sequence[Array], rounds: int) -> None:
        """Rounds of one local epoch each, then the mean of the whole models by numbers of examples.

        A client keeps its optimizer's state from round to round, as a worker of the thesis does.
        """
        fresh = [v.numpy() for v in self.model.optimizer.variables]
        for number in range(rounds):
            whole, models, losses = self.model.get_weights(), [], []
            for i, sequences in enumerate(clients):
                self.model.set_weights(whole)
                for variable, value in zip(self.model.optimizer.variables, self._optimizers.get(i, fresh), strict=True):
                    variable.assign(value)
                self.model.optimizer.learning_rate = self.learning_rate * DECAY**number
                losses.append(self.epoch(sequences))
                self._optimizers[i] = [v.numpy() for v in self.model.optimizer.variables]
                models.append(self.model.get_weights())
            examples = [len(sequences) for sequences in clients]
            self.model.set_weights(average(models, examples))
            self.losses.append(float(np.average(losses, weights=examples)))


def average(models: Sequence[Weights], examples: Sequence[int]) -> Weights:
    """FedAvg over whole models (McMahan et al. 2017): layer by layer, weighted by the numbers of examples."""
    return [np.average(layer, axis=0, weights=examples).astype(np.float32) for layer in zip(*models, strict=True)]


def build(peer: Peer, steps: int, features: int) -> Any:
    """A peer's network, with fresh weights, for sequences (steps, features)."""
    return {"stoll": stoll, "ahmad": ahmad}[peer.network](steps, features, peer.activation)


def residuals(model: Any, sequences: Array) -> Array:
    """Reconstruction minus input of ``sequences`` (snapshots, sequences of each, steps, features), in their shape."""
    flat = sequences.reshape(-1, *sequences.shape[2:])
    return np.asarray(model.predict(flat, batch_size=512, verbose=0) - flat).reshape(sequences.shape)


def errors(off: Array, how: Literal["square", "last"]) -> Array:
    """A score for each snapshot from its residuals (snapshots, sequences of each, steps, features).

    square: mean squared error over all of them. last: mean absolute error of the last step, the snapshot itself.
    """
    off = np.abs(off[:, :, -1]) if how == "last" else np.square(off)
    return off.reshape(len(off), -1).mean(axis=1)
