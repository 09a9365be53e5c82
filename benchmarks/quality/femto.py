"""Detection on machines that the trainer never saw: FEMTO bearings, with gearbox as a second opinion.

The protocol of ``fedtiny.evaluation``, full int8 path on the devices, three seeds, medians. Writes
``benchmarks/results/femto.json`` and prints a table with the figures asked for beside it.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import (
    COLUMNS,
    FEMTO,
    METHODS,
    SMALLER,
    Array,
    Floor,
    data_folder,
    federate,
    gearbox_fleet,
    median,
    side_by_side,
    write_results,
)
from fedtiny.config import Config, load_config
from fedtiny.evaluation import DeviceScores, by_plain_error, by_residuals, by_z_score, figures, split
from fedtiny.federation.strategies import strategy
from fedtiny.federation.updates import unpack_statistics
from fedtiny.model.artifact import Release
from fedtiny.model.detector import Budget, Detector, split_index
from fedtiny.model.head import Head, solve
from fedtiny.model.head import statistics as sufficient
from fedtiny.model.network import Network
from fedtiny.signal.dataset import machine_features
from fedtiny.signal.fleet import FleetData, open_fleet
from fedtiny.trainer.central import central
from fedtiny.trainer.train import train_release

SEEDS = (0, 1, 2)
CHOSEN = {
    "score": "rank and kind compared on faults injected into the devices' local 60 %; docs/adr/001-score.md",
    "standardisation": "the one choice whose comparison included held-out windows; docs/adr/002-standardisation.md",
    "threshold": "blocks and confidence compared on condition 1 and within the local 60 %; docs/adr/003-threshold.md",
    "proximal, ridge": "loss on kept-out local windows, here and on the simulator; docs/adr/004-head.md",
    "rounds": "5: the loss on kept-out local windows moves by less than 1 % after the fourth",
    "network sizes, training": "defaults of the trainer; early stopping on later windows of the base machines",
}
FLOORS = {
    ("fedavg", "auc_mean"): 0.99,
    ("fedavg", "auc_min"): 0.95,
    ("fedavg", "auc_one_threshold"): 0.97,
    ("ridge", "auc_mean"): 0.995,
    ("ridge", "auc_min"): 0.96,
    ("ridge", "auc_one_threshold"): 0.985,
    ("fedavg", "false_alarm_rate"): 0.05,
    ("fedavg", "detection_rate"): 0.85,
}


def flat(result: dict[str, Any]) -> dict[str, float]:
    """The columns of the results file."""
    return {ours: float(result[theirs]) for ours, (_, theirs) in COLUMNS.items()}


class Fleet:
    """One trained release and its devices' data; evaluates heads on them, in int8 and in float."""

    def __init__(self, fleet: FleetData, config: Config) -> None:
        self.config, self.rate = config, config.edge.window_rate
        training = train_release(fleet, config)
        self.release = Release(training.release)
        dense = [layer.get_weights() for layer in training.trained.model.layers if layer.get_weights()]
        self._float_layers: list[tuple[Array, Array]] = [(w, b) for w, b in dense[:-1]]
        extract = self.release.features
        self.base = [machine_features(fleet, name, extract).normal for name in fleet.base]
        clients = [name for name in fleet.machines if name not in fleet.base]
        self.data = {name: split(machine_features(fleet, name, extract)) for name in clients}
        self.detectors = {}
        for name, data in self.data.items():
            budget = Budget(self.rate, len(data.local), len(data.local))
            self.detectors[name] = Detector(Network(self.release), budget)
            self.detectors[name].adapt(data.local)

    def training_data(self, *, int8: bool) -> list[tuple[Array, Array]]:
        """(activations before the head, standardised features) of every device's local windows."""
        found = []
        for name, data in self.data.items():
            z, _, hidden = self.detectors[name].run(data.local)
            found.append((hidden if int8 else self._float_hidden(z), z))
        return found

    def _float_hidden(self, z: Array) -> Array:
        for weights, bias in self._float_layers:
            z = np.maximum(z @ weights + bias, 0)
        return z

    def evaluate(self, head: Head) -> dict[str, float]:
        """int8, the score of the devices, all with one head."""
        return self.evaluate_each(dict.fromkeys(self.data, head))

    def evaluate_each(self, heads: Mapping[str, Head]) -> dict[str, float]:
        """The same for some of the devices, each with a head of its own."""
        scores = {}
        for name, head in heads.items():
            detector = self.detectors[name]
            detector.network.set_head(head)
            run = detector.run
            scores[name] = by_residuals(lambda x, run=run: run(x)[1], self.data[name], self.rate)  # type: ignore[misc]
        return flat(figures(scores))

    def evaluate_float(self, head: Head) -> dict[str, float]:
        """The same in float throughout."""
        scores = {}
        for name, data in self.data.items():
            scale = self.detectors[name].standardisation

            def residuals(x: Array, scale: Any = scale) -> Array:
                z = scale(x)
                return z - head.forward(self._float_hidden(z))

            scores[name] = by_residuals(residuals, data, self.rate)
        return flat(figures(scores))

    def evaluate_frozen(self) -> dict[str, float]:
        """The release as shipped: mean squared residual in int8, nothing learned locally but a threshold."""
        scores: dict[str, DeviceScores] = {}
        for name, data in self.data.items():
            detector = self.detectors[name]
            detector.network.set_head(self.release.head)
            scores[name] = by_plain_error(lambda x, d=detector: d.run(x)[1], data, self.rate)  # type: ignore[misc]
        return flat(figures(scores))

    def evaluate_z_score(self) -> dict[str, float]:
        """No model."""
        return flat(figures({name: by_z_score(data, self.rate) for name, data in self.data.items()}))

    def evaluate_central(self) -> dict[str, float]:
        """The whole autoencoder in float on everybody's data."""
        return flat(central(self.base, self.data, self.config))


def one_seed(fleet: FleetData, seed: int, **overrides: Any) -> dict[str, Any]:
    """All methods under one seed."""
    config = load_config(None, train__seed=seed, **overrides)
    settings = config.coordinator
    ours = Fleet(fleet, config)
    local = ours.training_data(int8=True)
    averaging, exact = strategy("fedavg", {}), strategy("ridge", {})
    many: dict[str, Any] = {"rounds": settings.rounds, "proximal": settings.proximal}
    fedavg, updates = federate(averaging, ours.release.head, local, **many)
    ridge, sent = federate(exact, ours.release.head, local, rounds=1, proximal=settings.proximal)
    in_float, _ = federate(averaging, ours.release.head, ours.training_data(int8=False), **many)
    fitted = [(hidden[: split_index(len(hidden))], z[: split_index(len(z))]) for hidden, z in local]
    pooled = solve(
        sufficient(np.concatenate([h for h, _ in fitted]), np.concatenate([z for _, z in fitted])),
        ours.release.head.weights,
        exact.options["pull"],
    )
    shape = ridge.weights.shape
    assert sum(unpack_statistics(u.payload, shape, u.num_examples).count for u in sent) == sum(
        len(h) for h, _ in fitted
    )
    result = {
        "frozen": ours.evaluate_frozen(),
        "calibrated": ours.evaluate(ours.release.head),
        "fedavg": ours.evaluate(fedavg),
        "ridge": ours.evaluate(ridge),
        "fedavg_float": ours.evaluate_float(in_float),
        "central": ours.evaluate_central(),
        "zscore": ours.evaluate_z_score(),
    }
    loss = result["fedavg_float"]["auc_one_threshold"] - result["fedavg"]["auc_one_threshold"]
    return result | {
        "int8_loss_points": 100 * loss,
        "ridge_max_weight_difference": float(np.abs(ridge.weights - pooled).max()),
        "payload_bytes": {"fedavg": max(len(u.payload) for u in updates), "ridge": max(len(u.payload) for u in sent)},
        "gate": ours.release.manifest.gate.model_dump(),
    }


def of_data(folder: Path, data: str, seed: int) -> dict[str, Any]:
    """``one_seed`` of one of the sets in ``folder``."""
    if data == "femto":
        return one_seed(open_fleet(folder / FEMTO), seed)
    gearbox = gearbox_fleet(folder / "gearbox" / "gearbox.npz", channel=1)
    return one_seed(gearbox, seed, signal__window=128, signal__hop=128)


def whole_agents(data: Path) -> dict[str, Any]:
    """Figures that only real processes have: `fedtiny demo` on the same data."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = [sys.executable, "-m", "fedtiny.cli", "demo", "--data", str(data), "--state", folder]
        subprocess.run([*command, "--json", str(report)], check=True, stdout=subprocess.DEVNULL)
        return dict(json.loads(report.read_text()))


IMPORTS = ("click", "pydantic", "numpy", "cbor2", "paho.mqtt.client", "ai_edge_litert.interpreter", "fedtiny.edge")


def import_costs() -> dict[str, float]:
    """Resident memory in MB that each import adds, in the order in which they come in; fresh process."""
    code = (
        "import importlib, json, sys\n"
        "def rss(): return next(int(l.split()[1]) for l in open('/proc/self/status') if l.startswith('VmRSS'))\n"
        "found = {'python': rss() * 1024 / 1e6}\n"
        "for name in sys.argv[1:]:\n"
        "    before = rss(); importlib.import_module(name)\n"
        "    found[name] = (rss() - before) * 1024 / 1e6\n"
        "print(json.dumps(found))"
    )
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code, *IMPORTS], check=True, capture_output=True, text=True, env=environment
    )
    return dict(json.loads(done.stdout))


def summarise(seeds: list[dict[str, Any]]) -> dict[str, Any]:
    """Medians over the seeds, and every seed's figures."""
    methods = [key for key, value in seeds[0].items() if isinstance(value, dict) and "auc_mean" in value]
    return {method: median([seed[method] for seed in seeds]) for method in methods}


def main() -> None:
    """Measure, print, write."""
    folder = data_folder(FEMTO, "gearbox/gearbox.npz")
    path = folder / FEMTO
    found = side_by_side(of_data, [(folder, data, seed) for data in ("femto", "gearbox") for seed in SEEDS])
    seeds, gear = found[: len(SEEDS)], found[len(SEEDS) :]
    agents = whole_agents(path)
    results = summarise(seeds) | {
        "int8_loss_points": statistics.median(s["int8_loss_points"] for s in seeds),
        "ridge_max_weight_difference": max(s["ridge_max_weight_difference"] for s in seeds),
        "bytes_up_per_device_round": agents["bytes_per_device_round"]["up"],
        "bytes_down_per_device_round": agents["bytes_per_device_round"]["down"],
        "payload_bytes": seeds[0]["payload_bytes"],
        "edge_peak_rss_mb": agents["edge_peak_rss_mb"],
        "import_costs_mb": import_costs(),
        "seeds": list(SEEDS),
        "rounds": load_config(None).coordinator.rounds,
        "by_seed": seeds,
        "gearbox_a2": summarise(gear),
        "gearbox_by_seed": gear,
        "how_chosen": CHOSEN,
    }
    floors = promises(results)
    show(results, floors)
    print(f"\nwritten: {write_results('femto', results, floors).name}")


def promises(results: Mapping[str, Any]) -> list[Floor]:
    """What was asked for, beside what came out."""
    femto, gear = results["fedavg"], results["gearbox_a2"]
    floors = [
        Floor(f"FEMTO, {method}, {COLUMNS[column][0]}", results[method][column], bound, "", column in SMALLER)
        for (method, column), bound in FLOORS.items()
    ]
    floors += [
        Floor("one-threshold AUC lost by int8, points", results["int8_loss_points"], 0.5),
        Floor("ridge: federated from pooled, any weight", results["ridge_max_weight_difference"], 1e-5),
        Floor("fedavg, up a device a round", results["bytes_up_per_device_round"], 9000, "B"),
        Floor("peak memory of an agent", results["edge_peak_rss_mb"], 75, "MB"),
    ]
    for column, (words, _) in COLUMNS.items():
        what = f"FEMTO, fedavg beside the z-score, {words}"
        floors.append(Floor(what, femto[column], results["zscore"][column], "", column in SMALLER))
    for column in ("auc_mean", "auc_min", "auc_one_threshold"):
        bound = gear["zscore"][column] - 0.005
        floors.append(Floor(f"gearbox, fedavg, {COLUMNS[column][0]}", gear["fedavg"][column], bound, "", False))
    return floors


def show(results: Mapping[str, Any], floors: Sequence[Floor]) -> None:
    """The tables, and every floor with met or short."""
    for title, rows in (("FEMTO, 10 unseen machines", results), ("gearbox a2, unseen loads", results["gearbox_a2"])):
        print(f"\n{title}; medians of seeds {results['seeds']}")
        print(f"{'':14}{'AUC mean':>10}{'AUC min':>10}{'one thr.':>10}{'false al.':>10}{'detected':>10}")
        for name in METHODS:
            print(f"{name:14}" + "".join(f"{rows[name][key]:10.4f}" for key in COLUMNS))
    print("", *floors, sep="\n")


if __name__ == "__main__":
    main()
