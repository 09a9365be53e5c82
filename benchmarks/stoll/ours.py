"""Our side of the comparison with Stoll 2022: detection and transfer of the federated int8 model."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from pathlib import Path
from typing import Any

from benchmarks.common import federate, median
from benchmarks.quality.femto import Fleet
from benchmarks.stoll.inputs import read_life
from benchmarks.stoll.judge import Scored, by_our_score, judge
from fedtiny.config import Config, load_config
from fedtiny.federation.strategies import strategy
from fedtiny.model.head import Head
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
        "by_seed": [side["detection"] for side in sides],
    }


def one_seed(fleet: FleetData, config: Config, machine: str) -> dict[str, Any]:
    """Train, federate, score: all devices, then every device with the head that the others have made."""
    ours, settings = Fleet(fleet, config), config.coordinator
    local = dict(zip(ours.data, ours.training_data(int8=True), strict=True))
    lives = {name: read_life(fleet, name) for name in local}
    how, first = strategy(settings.strategy, settings.options), ours.release.head

    def head_of(names: list[str]) -> Head:
        found = federate(
            how, first, [local[name] for name in names], rounds=settings.rounds, proximal=settings.proximal
        )
        return found[0]

    def score(name: str, head: Head) -> Scored:
        detector = ours.detectors[name]
        detector.network.set_head(head)
        return by_our_score(detector.run(ours.release.features(lives[name].samples))[1], lives[name], ours.rate)

    def without(name: str) -> dict[str, float]:
        return judge(lives, {name: score(name, head_of([other for other in local if other != name]))})

    head = head_of(list(local))
    scored = {name: score(name, head) for name in local}
    return {
        "detection": judge(lives, scored),
        "per_device": {name: judge(lives, {name: found})["auc_mean"] for name, found in scored.items()},
        "transfer": {name: without(name) for name in local},
        "life": scored[machine].in_thresholds,
    }
