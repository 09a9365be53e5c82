"""Base data -> release: features, autoencoder, int8, gate."""

import importlib.metadata
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedtiny import __version__
from fedtiny.config import Config
from fedtiny.errors import DataError
from fedtiny.model.artifact import Gate, Manifest
from fedtiny.model.head import output_range
from fedtiny.signal.dataset import MachineFeatures, machine_features
from fedtiny.signal.features import BandEnergies, Standardisation
from fedtiny.signal.fleet import FleetData
from fedtiny.trainer import autoencoder, gate
from fedtiny.trainer.dataset import Fit, extractor_for, scaling_of, split_in_time
from fedtiny.trainer.quantise import embed, to_int8

Array = NDArray[np.float32]
REPRESENTATIVE = 500  # windows that set the int8 ranges
MARGIN = 1.5  # by which these go beyond them


@dataclass(frozen=True)
class Training:
    """A release's bytes, its manifest, and the training that led to it."""

    release: bytes
    manifest: Manifest
    trained: autoencoder.Trained


def train_release(
    fleet: FleetData, config: Config, progress: Callable[[int, float, float], None] | None = None
) -> Training:
    """Train on the base machines' normal windows, quantise, pass the gate.

    Raises DataError for base data that cannot be used and ReleaseError, with the figures, when the gate refuses.
    """
    extract = extractor_for(fleet, config)
    machines = {name: machine_features(fleet, name, extract) for name in fleet.base}
    for name, data in machines.items():
        if len(data.normal) < 5:
            raise DataError(f"base machine {name}: {len(data.normal)} normal windows, at least 5 are needed")
    normal = [m.normal for m in machines.values()]
    scale, train, validation = prepare(normal, config.train.validation_share, scaling_of(extract))
    trained = autoencoder.fit("dense", train, validation, config.train, progress)
    tflite = to_int8(trained.model, with_margin(evenly(train, REPRESENTATIVE)))
    low, high = output_range(trained.reconstruct(np.concatenate([train, validation])))
    layers = [layer for layer in trained.model.layers if layer.get_weights()]
    units = tuple(int(layer.units) for layer in layers)
    weights, bias = layers[-1].get_weights()
    head = np.column_stack([weights.T, bias]).astype(np.float32)
    draft = Manifest(
        name=f"dense-{fleet.sample_rate_hz:g}hz-{extract.size}",
        sample_rate_hz=fleet.sample_rate_hz,
        channels=fleet.channels,
        window=extract.plan.window,
        hop=extract.plan.hop,
        feature=config.signal.feature,
        bands=extract.plan.bands,
        floor=float(extract.floor) if isinstance(extract, BandEnergies) else 0.0,
        mean=tuple(map(float, scale.mean)),
        deviation=tuple(map(float, scale.deviation)),
        layers=units,
        trainable=(len(units) - 1,),
        output_min=low,
        output_max=high,
        training={
            "machines": list(fleet.base),
            "windows": len(train),
            "validation_windows": len(validation),
            "epochs": len(trained.losses),
            "loss": min(trained.losses),
            "validation_loss": min(trained.validation_losses),
            "seed": config.train.seed,
        },
        gate=Gate(rank_correlation=1.0, windows=0),
        made_with=_versions(),
    )

    def build(manifest: Manifest) -> bytes:
        return embed(tflite, manifest.model_dump_json(), head)

    figures = gate.measure(build(draft), trained, scale, _gate_data(machines, config.train.validation_share))
    manifest = draft.model_copy(update={"gate": figures})
    gate.decide(figures)
    return Training(build(manifest), manifest, trained)


def prepare(machines: list[Array], validation_share: float, fit: Fit) -> tuple[Standardisation, Array, Array]:
    """(standardisation, training windows, validation windows) of several machines, the later ones to validate."""
    halves = [split_in_time(normal, validation_share) for normal in machines]
    train = np.concatenate([earlier for earlier, _ in halves])
    scale = fit(train)
    return scale, scale(train), scale(np.concatenate([later for _, later in halves]))


def with_margin(rows: Array) -> Array:
    """``rows`` and the same again further out, so that the int8 ranges do not end where normal windows do.

    Anomalies lie beyond them, and a range that clips them bends their scores; see docs/adr/005-int8-ranges.md.
    """
    return np.concatenate([rows, np.float32(MARGIN) * rows])


def evenly(rows: Array, count: int) -> Array:
    """At most ``count`` rows, evenly spread."""
    return rows[np.unique(np.linspace(0, len(rows) - 1, min(count, len(rows))).astype(int))]


def _gate_data(machines: dict[str, MachineFeatures], share: float) -> list[gate.GateMachine]:
    return [gate.GateMachine(*split_in_time(m.normal, share), m.anomalous) for m in machines.values()]


def _versions() -> dict[str, str]:
    packages: dict[str, Any] = {"tensorflow": None, "keras": None, "numpy": None}
    return {"fedtiny": __version__} | {name: importlib.metadata.version(name) for name in packages}
