"""Two of the ten FEMTO machines poison the fleet: what is left of the detection on the other eight.

Every strategy, with and without the screening of the coordinator, against every poison; three releases (seeds), each
with two other hostile devices. Of each the AUC over the honest devices, with the global head as it is (the devices'
trial before trust switched off) and with the trial, which is what a device does. Medians and the worst of the three.
Writes ``benchmarks/results/poison.json``.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.common import FEMTO, Tamper, buffered, data_folder, rounds_of, write_results
from benchmarks.quality.femto import Fleet
from fedtiny.config import load_config
from fedtiny.errors import FedTinyError
from fedtiny.federation.local import LocalUpdate
from fedtiny.federation.strategies import strategy
from fedtiny.federation.trial import choose_head
from fedtiny.federation.updates import pack_delta, pack_statistics, unpack_delta, unpack_statistics
from fedtiny.model.detector import split_index
from fedtiny.model.head import Head, Statistics
from fedtiny.protocol.messages import Kind
from fedtiny.signal.fleet import FleetData, open_fleet

SEEDS = (0, 1, 2)
HOSTILE = 2
POISONS = ("none", "flip", "flip x3", "flip x10", "scale x100", "random", "failing data")
STRATEGIES = ("fedavg", "median", "trimmed-mean", "krum", "multi-krum", "clipping", "ridge")
FIGURES = ("auc_mean", "auc_min", "auc_one_threshold")
Numbers = NDArray[np.floating[Any]]


def tampered(poison: str, kind: Kind, shape: tuple[int, ...], seed: int) -> Tamper:
    """What a hostile device does to its update: to the delta, or to the cross-product of its statistics."""
    rng = np.random.default_rng(seed)

    def change(numbers: Numbers) -> Numbers:
        match poison:
            case "flip":
                return -numbers
            case "flip x3":
                return -3 * numbers
            case "flip x10":
                return -10 * numbers
            case "scale x100":
                return 100 * numbers
            case _:
                noise = rng.normal(size=numbers.shape)
                return noise * (30 * np.linalg.norm(numbers) / np.linalg.norm(noise))

    def tamper(update: LocalUpdate) -> LocalUpdate:
        if kind == "delta":
            return replace(update, payload=pack_delta(change(unpack_delta(update.payload, shape)).astype(np.float32)))
        data = unpack_statistics(update.payload, shape, update.num_examples)
        return replace(update, payload=pack_statistics(Statistics(data.gram, change(data.cross), data.count)))

    return tamper


class Poisoned:
    """One release, its devices, and which of them are hostile."""

    def __init__(self, fleet: FleetData, seed: int) -> None:
        self.config = load_config(None, train__seed=seed)
        self.fleet, self.seed = Fleet(fleet, self.config), seed
        self.names = list(self.fleet.data)
        self.hostile = sorted(np.random.default_rng(seed).choice(len(self.names), HOSTILE, replace=False).tolist())
        self.local = self.fleet.training_data(int8=True)
        self.release = self.fleet.release.head

    def run(self, name: str, poison: str, *, screening: bool) -> dict[str, Any]:
        """Federate under ``poison``; the honest devices' figures, and who was left out how often."""
        how = strategy(name, {})
        devices = list(self.local)
        tamper: dict[int, Tamper] = {}
        for i in self.hostile:
            if poison == "failing data":
                z, _, hidden = self.fleet.detectors[self.names[i]].run(self.fleet.data[self.names[i]].anomalous)
                devices[i] = hidden, z
            elif poison != "none":
                tamper[i] = tampered(poison, how.kind, self.release.weights.shape, self.seed + i)
        rounds = 1 if how.kind == "statistics" else self.config.coordinator.rounds
        proximal = self.config.coordinator.proximal
        heads, left_out = [], [0, 0]
        federation = rounds_of(how, self.release, devices, proximal=proximal, screening=screening, tamper=tamper)
        try:
            for done, _ in islice(federation, rounds):
                heads.append(done.head)
                for device in done.left_out:
                    left_out[int(device.split("-")[1]) in self.hostile] += 1
        except FedTinyError:  # a round that makes no head is abandoned
            pass
        honest = [name for i, name in enumerate(self.names) if i not in self.hostile]
        head = heads[-1] if heads else self.release
        return {
            "global": self.fleet.evaluate_each(dict.fromkeys(honest, head)),
            "trial": self.fleet.evaluate_each(
                {name: self._tried(heads, self.names.index(name), proximal) for name in honest}
            ),
            "honest_left_out": left_out[False] / (rounds * len(honest)),
            "hostile_left_out": left_out[True] / (rounds * HOSTILE),
        }

    def honest(self) -> dict[str, list[int]]:
        """Of small fleets without any hostile device, some with few windows: [updates left out, updates] by mode."""
        rng = np.random.default_rng(self.seed)
        proximal = self.config.coordinator.proximal
        found = {"fedavg": [0, 0], "ridge": [0, 0], "fedavg, buffered": [0, 0]}
        for size in (4, 5, 6, 8, 10):
            devices = []
            for i in rng.choice(len(self.local), size, replace=False):
                windows = int(rng.integers(8, len(self.local[i][0]) + 1))
                devices.append((self.local[i][0][:windows], self.local[i][1][:windows]))
            for mode, counts in found.items():
                how, many = strategy(mode.split(",")[0], {}), size
                if "buffered" in mode:
                    many = max(4, size // 2)
                    heads = buffered(how, self.release, devices, many, proximal=proximal, seed=self.seed)
                else:
                    heads = (done for done, _ in rounds_of(how, self.release, devices, proximal=proximal))
                for done in islice(heads, 10):
                    counts[0] += len(done.left_out)
                    counts[1] += many
        return found

    def _tried(self, heads: Iterable[Head], device: int, proximal: float) -> Head:
        """The head that a device ends up with when it tries each before it trusts it."""
        hidden, targets = self.local[device]
        in_use = trusted = self.release
        for new in (self.release, *heads):
            known = (self.release, trusted)
            choice = choose_head(new, known, hidden, targets, split_index(len(hidden)), proximal)
            if choice.use != "kept":
                trusted = new
            in_use = choice.head or in_use
        return in_use


def one_seed(path: Path, seed: int) -> dict[str, Any]:
    """Every strategy against every poison under one seed."""
    fleet = Poisoned(open_fleet(path), seed)
    rows = {
        f"{name}, screened" if screening else name: {
            poison: fleet.run(name, poison, screening=screening) for poison in POISONS
        }
        for name in STRATEGIES
        for screening in (False, True)
    }
    return {"rows": rows, "hostile": [fleet.names[i] for i in fleet.hostile], "honest": fleet.honest()}


def summarise(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Median and worst over the seeds of every figure."""
    found: dict[str, Any] = {
        key: max(run[key] for run in runs) if key == "honest_left_out" else median(run[key] for run in runs)
        for key in ("honest_left_out", "hostile_left_out")
    }
    for column in ("global", "trial"):
        found[column] = {key: median(run[column][key] for run in runs) for key in FIGURES}
        found[column]["worst"] = {key: min(run[column][key] for run in runs) for key in FIGURES}
    return found


def main() -> None:
    """Measure, print, write."""
    path = data_folder(FEMTO) / FEMTO
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        seeds = list(pool.map(one_seed, [path] * len(SEEDS), SEEDS))
    rows = {
        name: {poison: summarise([seed["rows"][name][poison] for seed in seeds]) for poison in POISONS}
        for name in seeds[0]["rows"]
    }
    honest = {mode: [sum(seed["honest"][mode][k] for seed in seeds) for k in (0, 1)] for mode in seeds[0]["honest"]}
    results = {
        "rows": rows,
        "honest_fleets_left_out_of": honest,
        "hostile": [seed["hostile"] for seed in seeds],
        "rounds": load_config(None).coordinator.rounds,
    }
    written = write_results("poison", results)
    show(rows)
    for mode, (left_out, updates) in honest.items():
        print(f"honest fleets, {mode}: {left_out} of {updates} updates left out")
    print(f"\nwritten: {written}")


def show(rows: dict[str, dict[str, Any]]) -> None:
    """Medians of the seeds for each poison, and the share of updates that were refused or left out."""
    titles = {"auc_mean": "mean", "auc_min": "of the worst device", "auc_one_threshold": "with one threshold for all"}
    for column, what in (("global", "global head, as it is"), ("trial", "the head that each device chooses")):
        for figure, title in titles.items():
            print(f"\nAUC of the honest devices, {title}; {what}")
            print(f"{'':24}" + "".join(f"{poison:>14}" for poison in POISONS))
            for name, row in rows.items():
                print(f"{name:24}" + "".join(f"{row[poison][column][figure]:14.3f}" for poison in POISONS))
    print("\nrefused or left out: share of the hostile updates (largest share of the honest ones)")
    for name, row in rows.items():
        shares = ((row[poison]["hostile_left_out"], row[poison]["honest_left_out"]) for poison in POISONS)
        print(f"{name:24}" + "".join(f"{f'{bad:.0%} ({good:.0%})':>14}" for bad, good in shares))


if __name__ == "__main__":
    main()
