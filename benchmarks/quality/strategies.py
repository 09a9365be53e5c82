"""All strategies against each other on FEMTO, in rounds and buffered; and whether SCAFFOLD would earn its place.

The fleet, its data and the AUCs are those of ``femto``; the loss is the mean squared error of the global
head on the devices' local windows that were kept out of all fitting. Buffered: a head of every 5 updates of 10 devices
that answer in random order, each from the head that was newest when it had answered last; compared after as many
updates as the rounds have. Medians of three seeds. Writes ``benchmarks/results/strategies.json``.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np

from benchmarks.common import FEMTO, Array, buffered, data_folder, median, rounds_of, side_by_side, write_results
from benchmarks.quality.femto import Fleet
from fedtiny.config import load_config
from fedtiny.federation.strategies import BUILT_IN, strategy
from fedtiny.model.detector import split_index
from fedtiny.model.head import Head, loss, output_range, statistics
from fedtiny.signal.fleet import open_fleet

SEEDS = (0, 1, 2)
ROUNDS = (1, 3, 5, 10)
BUFFER = 5
FIGURES = ("loss", "auc_mean", "auc_min", "auc_one_threshold")
SCAFFOLD = {  # local steps, and the step as a share of the largest that is stable on every device
    f"scaffold, {steps} steps of {share:g}": (steps, share) for steps in (10, 100) for share in (0.3, 1.0)
}
Data = list[tuple[Array, Array]]


def scaffold(head: Head, devices: Data, *, steps: int, share: float) -> Iterator[Head]:
    """SCAFFOLD (Karimireddy et al., ICML 2020, algorithm 1 with option II, all devices, global step 1).

    Full-batch gradient steps on |H1 W' - X|^2 / n; a device keeps its control variate, and sends that and its delta,
    twice the bytes of the other strategies. Nothing is quantised on the way here, to its advantage.
    """
    data = [statistics(h[: split_index(len(h))], x[: split_index(len(x))]) for h, x in devices]
    rate = share / max(float(np.linalg.eigvalsh(d.gram / d.count)[-1]) for d in data) / 2
    weights = head.weights.T.astype(np.float64)
    own, common = [np.zeros_like(weights) for _ in data], np.zeros_like(weights)
    while True:
        moves, changes = [], []
        for i, d in enumerate(data):
            local = weights.copy()
            for _ in range(steps):
                local -= rate * (2 * (d.gram @ local - d.cross) / d.count - own[i] + common)
            control = own[i] - common + (weights - local) / (steps * rate)
            moves.append(local - weights)
            changes.append(control - own[i])
            own[i] = control
        weights = weights + np.mean(moves, axis=0)
        common = common + np.mean(changes, axis=0)
        found = weights.T.astype(np.float32)
        ranges = [output_range(Head(found, -1, 1).forward(hidden)) for hidden, _ in devices]
        yield Head(found, min(low for low, _ in ranges), max(high for _, high in ranges))


def one_seed(path: Any, seed: int) -> dict[str, dict[str, dict[str, float]]]:
    """Every method under one seed: method -> rounds -> figures."""
    config = load_config(None, train__seed=seed)
    fleet = Fleet(open_fleet(path), config)
    start, devices = fleet.release.head, fleet.training_data(int8=True)
    proximal = config.coordinator.proximal

    def figures(head: Head) -> dict[str, float]:
        losses = [loss(head.weights, h[split_index(len(h)) :], x[split_index(len(x)) :]) for h, x in devices]
        return {"loss": float(np.mean(losses))} | fleet.evaluate(head)

    def at(heads: Iterator[Head], each: int = 1) -> dict[str, dict[str, float]]:
        made = list(islice(heads, each * ROUNDS[-1]))
        return {str(rounds): figures(made[each * rounds - 1]) for rounds in ROUNDS}

    found = {"the release's head": {str(rounds): figures(start) for rounds in ROUNDS}}
    for name in BUILT_IN:
        how = strategy(name, {})
        found[name] = at(done.head for done, _ in rounds_of(how, start, devices, proximal=proximal))
        arriving = buffered(how, start, devices, BUFFER, proximal=proximal, seed=seed)
        found[f"{name}, buffered"] = at((done.head for done in arriving), len(devices) // BUFFER)
    for name, (steps, share) in SCAFFOLD.items():
        found[name] = at(scaffold(start, devices, steps=steps, share=share))
    return found


def main() -> None:
    """Measure, print, write."""
    path = data_folder(FEMTO) / FEMTO
    seeds = side_by_side(one_seed, [(path, seed) for seed in SEEDS])
    rows = {
        method: {str(rounds): median([seed[method][str(rounds)] for seed in seeds]) for rounds in ROUNDS}
        for method in seeds[0]
    }
    written = write_results("strategies", {"rows": rows, "seeds": list(SEEDS)})
    for figure in FIGURES:
        print(f"\n{figure}, after rounds")
        print(f"{'':32}" + "".join(f"{rounds:>10}" for rounds in ROUNDS))
        for method, row in rows.items():
            print(f"{method:32}" + "".join(f"{row[str(rounds)][figure]:10.4f}" for rounds in ROUNDS))
    print(f"\nwritten: {written}")


if __name__ == "__main__":
    main()
