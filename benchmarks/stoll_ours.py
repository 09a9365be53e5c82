"""Our side of the comparison with Stoll 2022: detection and transfer of the federated int8 model."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import Array, federate, median
from benchmarks.femto import Fleet
from benchmarks.lstm_inputs import read_life
from fedtiny.config import Config, load_config
from fedtiny.evaluation import by_residuals
from fedtiny.federation.local import compute_update
from fedtiny.federation.strategies import strategy
from fedtiny.model.detector import split_index
from fedtiny.model.head import Head
from fedtiny.model.scoring import fit_residuals
from fedtiny.signal.fleet import FleetData, open_fleet


def detect(path: Path, seeds: tuple[int, ...], machine: str) -> dict[str, Any]:
    """Medians over the seeds; of the first, the score over the life of ``machine`` in units of its threshold."""
    fleet = open_fleet(path)
    sides = [one_seed(fleet, load_config(None, train__seed=seed), machine) for seed in seeds]
    return {
        "detection": median([side["detection"] for side in sides]),
        "per_device": median([side["per_device"] for side in sides]),
        "transfer": {name: median([side["transfer"][name] for side in sides]) for name in sides[0]["transfer"]},
        "life": sides[0]["life"],
        "cpu_s": {key: statistics.median(side["cpu_s"][key] for side in sides) for key in sides[0]["cpu_s"]},
        "by_seed": [side["detection"] for side in sides],
    }


def one_seed(fleet: FleetData, config: Config, machine: str) -> dict[str, Any]:
    """Train, federate, score: all devices, then every device with the head that the others have made."""
    ours, settings = Fleet(fleet, config), config.coordinator
    local = dict(zip(ours.data, ours.training_data(int8=True), strict=True))
    how, first = strategy(settings.strategy, settings.options), ours.release.head

    def head_of(names: list[str]) -> Head:
        found = federate(
            how, first, [local[name] for name in names], rounds=settings.rounds, proximal=settings.proximal
        )
        return found[0]

    def without(name: str) -> dict[str, float]:
        return ours.evaluate_each({name: head_of([other for other in local if other != name])})

    head = head_of(list(local))
    hidden, z = local[machine]
    samples = read_life(fleet, machine).samples
    began = time.process_time()
    for _ in range(settings.rounds):
        compute_update(how.kind, head.weights, hidden, z, split_index(len(hidden)), settings.proximal)
    trained = time.process_time()
    scores = _scores(ours, machine, head, samples)
    scored = time.process_time()
    threshold = by_residuals(lambda x: ours.detectors[machine].run(x)[1], ours.data[machine], ours.rate).threshold
    return {
        "detection": ours.evaluate(head),
        "per_device": {name: ours.evaluate_each({name: head})["auc_mean"] for name in local},
        "transfer": {name: without(name) for name in local},
        "cpu_s": {"training": trained - began, "scoring": scored - trained},
        "life": (scores / np.float32(threshold)).tolist(),
    }


def _scores(ours: Fleet, machine: str, head: Head, samples: Array) -> Array:
    """Scores of all stored snapshots (snapshots, samples, channels), from samples on, as the device has them."""
    detector = ours.detectors[machine]
    detector.network.set_head(head)
    normal = fit_residuals(detector.run(ours.data[machine].local)[1])
    return normal.score(detector.run(ours.release.features(samples))[1])
