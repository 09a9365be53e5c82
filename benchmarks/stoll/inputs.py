"""What the LSTM autoencoders of the peers look at: sequences made of a machine's snapshots. numpy only.

Stoll 2022 (thesis and code, github.com/OliverStoll/Anomaly-Detection-IIoT; Becker, Styp-Rekowski, Stoll, Kao,
'Federated Learning for Autoencoder-based Condition Monitoring in the Industrial Internet of Things', IEEE BigData 2022,
arXiv 2211.07619): raw vibration, thinned out by means of blocks, standardised for each channel of a machine, cut
into windows of 100 samples of one channel. Ahmad, Styp-Rekowski, Nedelkoski, Kao, 'Autoencoder-based Condition
Monitoring and Anomaly Detection Method for Rotating Machines', IEEE BigData 2020, arXiv 2101.11539, in the form that
Stoll measured: a step of the sequence is a whole snapshot, and a snapshot is seen with those before it.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from benchmarks.common import Array
from fedtiny.evaluation import local_windows
from fedtiny.model.detector import split_index
from fedtiny.signal.features import fit_standardisation
from fedtiny.signal.fleet import FleetData
from fedtiny.signal.given import Extractor

Rows = NDArray[np.intp]
Kind = Literal["samples", "bands", "snapshots"]
WINDOW, LOOK_BACK = 100, 10


@dataclass(frozen=True)
class Peer:
    """One of the peers' models with what it looks at and how it is trained.

    activation: of the LSTMs. block: samples that are averaged into one. epochs: of the central training, and rounds of
    the federated one.
    """

    network: Literal["stoll", "ahmad"]
    activation: Literal["tanh", "relu"]
    kind: Kind
    block: int
    learning_rate: float
    batch: int
    epochs: int

    @property
    def score(self) -> Literal["square", "last"]:
        """Mean squared error of all steps, or mean absolute error of the last one: as published."""
        return "last" if self.kind == "snapshots" else "square"


PEERS = {
    "stoll": Peer("stoll", "tanh", "samples", 25, 1e-3, 32, 20),
    "stoll_bands": Peer("stoll", "tanh", "bands", 1, 1e-3, 16, 20),
    "ahmad": Peer("ahmad", "relu", "snapshots", 1, 1e-3, 16, 6),
}


@dataclass(frozen=True)
class Life:
    """All stored snapshots of a machine in time order.

    samples: (snapshots, samples, channels), g. labels, and positions in the whole life from 0 to 1: (snapshots,).
    """

    samples: Array
    labels: NDArray[np.int8]
    positions: Array

    @property
    def normal(self) -> Rows:
        """Indexes of the normal snapshots."""
        return np.flatnonzero(self.labels == 0)

    @property
    def local(self) -> Rows:
        """Indexes of the snapshots that a method may learn from."""
        return self.normal[: local_windows(len(self.normal))]

    @property
    def fit(self) -> Rows:
        """Indexes of those that weights are fitted on; the later rest calibrates, as with our own heads."""
        return self.local[: split_index(len(self.local))]

    @property
    def kept(self) -> Rows:
        """Indexes of the local snapshots that nothing is fitted on."""
        return self.local[len(self.fit) :]

    @property
    def held_out(self) -> Rows:
        """Indexes of the normal snapshots that figures are made from."""
        return self.normal[len(self.local) :]

    @property
    def failing(self) -> Rows:
        """Indexes of the snapshots that ought to raise an alarm."""
        return np.flatnonzero(self.labels == 1)


def read_life(fleet: FleetData, machine: str) -> Life:
    """All of a machine's snapshots, in g."""
    recordings = list(fleet.machines[machine].recordings())
    return Life(
        np.stack([one.samples for one in recordings]),
        np.array([one.label for one in recordings], np.int8),
        np.array([one.position for one in recordings], np.float32),
    )


def sequences(peer: Peer, life: Life, extract: Extractor, rows: Rows) -> Array:
    """The sequences of the snapshots ``rows``, float32 (snapshots, sequences of each, steps, features).

    samples: each channel on its own, means of ``block`` samples, windows of ``WINDOW`` side by side. bands: the
    spectrum as a sequence, a step a band, a feature a channel. snapshots: whole ones, the last ``LOOK_BACK`` of
    them; what there is before the first is the first. Standardised by what the machine's ``fit`` snapshots are.
    """
    if peer.kind == "bands":
        scale = fit_standardisation(extract(life.samples[life.fit]))
        scaled = scale(extract(life.samples[rows]))
        return scaled.reshape(len(rows), 1, life.samples.shape[2], -1).swapaxes(2, 3)
    fitted = blocks(life.samples[life.fit], peer.block)
    mean, deviation = fitted.mean((0, 1)), fitted.std((0, 1))
    if peer.kind == "snapshots":
        before = np.maximum(rows[:, None] + np.arange(1 - LOOK_BACK, 1), 0)
        scaled = (blocks(life.samples, peer.block) - mean) / deviation
        return scaled.reshape(len(scaled), -1)[before][:, None]
    scaled = (blocks(life.samples[rows], peer.block) - mean) / deviation
    windows = scaled.shape[1] // WINDOW
    cut = scaled[:, : windows * WINDOW].reshape(len(rows), windows, WINDOW, -1)
    return cut.transpose(0, 3, 1, 2).reshape(len(rows), -1, WINDOW, 1)


def blocks(samples: Array, length: int) -> Array:
    """Means of ``length`` samples: (snapshots, samples, channels) to (snapshots, samples // length, channels)."""
    count, samples_each, channels = samples.shape
    whole = samples[:, : samples_each // length * length]
    return np.asarray(whole.reshape(count, -1, length, channels).mean(2), np.float32)


def rolled(scores: Array, width: int = 3) -> Array:
    """The lowest of each score and the ``width - 1`` before it, by which Stoll steadies an alarm."""
    padded = np.concatenate([np.repeat(scores[:1], width - 1), scores])
    return np.lib.stride_tricks.sliding_window_view(padded, width).min(axis=1)
