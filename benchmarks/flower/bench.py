"""The same fleet under fedtiny and under Flower, as real processes on this machine in one run.

Ten FEMTO devices (the simulator's where FEDTINY_DATA is not set) average the head of one release, 64 -> 128, by
FedAvg; both sides compute the same local step on the same activations. Ours: ``ours``; Flower from
PyPI: ``peer``. A client of Flower here is numpy and a head in float32, nothing else; one of ours is
the whole agent, with sensor, features, int8 model and alarm in it.

- A round's seconds, and its overhead: the same less the local step, timed alone (a few ms on either side).
- Bytes of a client, counted by a proxy between the clients and their server: all that its connections carry,
  heartbeats and polls too, without the headers of TCP and IP.
- Two clients, one a core, once more: seconds, bytes, memory and CPU of fewer rounds.
- The first round counts in neither: in it Flower's clients fetch the app.
- Memory of one client: its processes and all that they start, looked at four times a second. PSS shares among the ten
  clients what they share; on a machine of its own one takes more, up to RSS where no process maps what another does.
- Seconds from the beginning of the first round to the AUC that ours has after ``TARGET`` rounds, less ``TOLERANCE``.

Not measured: a network with delay, TLS, more than one machine. All clients share this machine's cores, so a client that
starts processes in each round pays more for it here than on a machine of its own; with two clients on two cores that is
nearly so. Our side stays up, idle, while Flower
runs; what CPU that takes is in the results. Needs ``make .venv-flower/.ready``. Results are written
with the FEMTO data only.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.common import Floor, write_results
from benchmarks.flower import peer as flower_peer
from benchmarks.flower.fleet import Fleet
from benchmarks.flower.ours import Ours
from benchmarks.flower.peer import Flower
from benchmarks.flower.side import Side, figures, of_rounds
from benchmarks.shared import program
from fedtiny.config import load_config
from fedtiny.model.artifact import Release

ROUNDS, FLOWER_ROUNDS = 30, 4  # as many as four minutes allow
FEW, FEW_ROUNDS, FEW_FLOWER_ROUNDS = 2, 15, 4  # clients, and their rounds
TARGET, TOLERANCE = 5, 0.001
SHARE = 0.1  # of Flower's round overhead that ours may have
ROWS = (
    ("round, s", "round_s", "median"),
    ("overhead of a round, s", "overhead_s", "median"),
    ("bytes up a client a round", "bytes_up_per_round", ""),
    ("bytes down a client a round", "bytes_down_per_round", ""),
    ("bytes up a client, idle minute", "bytes_up_per_idle_minute", ""),
    ("bytes down a client, idle minute", "bytes_down_per_idle_minute", ""),
    ("memory of a client, peak PSS, MB", "memory_peak", "pss_mb"),
    ("memory of a client, peak RSS, MB", "memory_peak", "rss_mb"),
    ("memory of a client, idle PSS, MB", "memory_idle", "pss_mb"),
    ("CPU of a client a round, s", "client_cpu_s_per_round", ""),
    ("seconds to the same AUC", "seconds_to_auc", ""),
    ("start to the first round, s", "start_s", ""),
)


def femto() -> Path | None:
    """The data that FEDTINY_DATA names; None where it is not set."""
    folder = os.environ.get("FEDTINY_DATA")
    return Path(folder).resolve() / "femto" / "femto.npz" if folder else None


def train(folder: Path, data: Path | None) -> Path:
    """The release, in a process of its own: TensorFlow stays out of what is measured."""
    path = folder / "release.tflite"
    where = ["--data", str(data)] if data else []
    command = [sys.executable, "-m", "fedtiny.cli", "train", "--out", str(path), *where]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr.strip().splitlines()[-1])
    return path


def measure(folder: Path, data: Path | None) -> dict[str, Any]:
    """Both sides, one after the other."""
    path = train(folder, data)
    fleet, proximal = Fleet(data, Release.open(path)), load_config(None).coordinator.proximal
    local_s = fleet.local_step_s(proximal)
    for name in ("ours", "flower", "few_ours", "few_flower"):
        (folder / name).mkdir()
    with (
        Ours(folder / "ours", path, data, fleet, ROUNDS) as ours,
        Flower(folder / "flower", fleet, proximal, FLOWER_ROUNDS) as flower,
    ):
        ours.run()
        flower.run()
        flower.stay_idle()
        ours.idled()
    sides = {"fedtiny": ours.side, "flower": flower.side}
    few: dict[str, Side] = {}
    with Ours(folder / "few_ours", path, data, fleet.first(FEW), FEW_ROUNDS) as ours:
        ours.run()
        few["fedtiny"] = ours.side
    with Flower(folder / "few_flower", fleet.first(FEW), proximal, FEW_FLOWER_ROUNDS) as flower:
        flower.run()
        few["flower"] = flower.side
    aucs = {name: [fleet.auc(head) for head in side.heads] for name, side in sides.items()}
    target = aucs["fedtiny"][TARGET - 1] - TOLERANCE
    return {
        "data": "FEMTO" if data else "simulator",
        "flower_version": flower_peer.version(),
        "local_step_s": local_s,
        "auc_before": fleet.auc(fleet.release.head),
        "auc_target": target,
        **{name: figures(side, aucs[name], local_s, target) for name, side in sides.items()},
        "few": {name: of_rounds(side, local_s) for name, side in few.items()},
    }


def cell(figures_of_side: dict[str, Any], key: str, part: str) -> float:
    """A figure of ``ROWS``; NaN where it was not reached."""
    value = figures_of_side[key][part] if part else figures_of_side[key]
    return float("nan") if value is None else float(value)


def floors(results: dict[str, Any]) -> list[Floor]:
    """What was asked for."""
    ours, peer = results["fedtiny"], results["flower"]

    def total(side: dict[str, Any]) -> float:
        return side["bytes_up_per_round"] + side["bytes_down_per_round"]

    return [
        Floor(
            "a round's overhead, a tenth of Flower's",
            ours["overhead_s"]["median"],
            SHARE * peer["overhead_s"]["median"],
            "s",
        ),
        Floor(
            f"the same with {FEW} clients",
            results["few"]["fedtiny"]["overhead_s"]["median"],
            SHARE * results["few"]["flower"]["overhead_s"]["median"],
            "s",
        ),
        Floor(
            "peak memory of one client (PSS), Flower's",
            ours["memory_peak"]["pss_mb"],
            peer["memory_peak"]["pss_mb"],
            "MB",
        ),
        Floor("bytes of a client a round, both ways, Flower's", total(ours), total(peer), "B"),
    ]


def show(results: dict[str, Any], found: list[Floor]) -> None:
    """A table on stdout."""
    ours, peer = results["fedtiny"], results["flower"]
    about = f"{results['data']}, {ours['clients']} clients"
    print(f"{about:38}{'fedtiny':>14}{'Flower ' + results['flower_version']:>14}{'ratio':>10}")
    for words, key, part in ROWS:
        a, b = cell(ours, key, part), cell(peer, key, part)
        print(f"{words:38}{a:14,.4g}{b:14,.4g}{b / a:10.1f}")
    few = [results["few"][side]["round_s"]["median"] for side in ("fedtiny", "flower")]
    print(f"{f'round, s, {FEW} clients':38}{few[0]:14,.4g}{few[1]:14,.4g}{few[1] / few[0]:10.1f}")
    print(*found, sep="\n")


def main() -> None:
    """Measure, print; write where the data are FEMTO's."""
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    flower_peer.version()
    data = femto()
    with tempfile.TemporaryDirectory() as folder:
        results = measure(Path(folder), data)
    found = floors(results)
    show(results, found)
    if data:
        print(write_results("flower", results, found))
    else:
        print("nothing is written: FEDTINY_DATA is not set")


if __name__ == "__main__":
    program.run(main, __doc__)
