"""Our side of the comparison with Stoll 2022: detection and transfer of the federated int8 model, and what it costs."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import Array, federate, median
from benchmarks.femto import Fleet
from benchmarks.femto_live import FLEET, Processes
from fedtiny.broker import EmbeddedBroker
from fedtiny.config import Config, load_config
from fedtiny.evaluation import by_residuals
from fedtiny.federation.local import compute_update
from fedtiny.federation.strategies import strategy
from fedtiny.health import memory_mb
from fedtiny.model.detector import split_index
from fedtiny.model.head import Head
from fedtiny.model.scoring import fit_residuals
from fedtiny.protocol import topics
from fedtiny.signal.dataset import machine_features
from fedtiny.signal.fleet import FleetData, open_fleet
from fedtiny.transport import Connection, Received

TIMEOUT_S = 600


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
    began = time.process_time()
    for _ in range(settings.rounds):
        compute_update(how.kind, head.weights, hidden, z, split_index(len(hidden)), settings.proximal)
    trained = time.process_time()
    life = _life(ours, fleet, machine, head)
    return {
        "detection": ours.evaluate(head),
        "per_device": {name: ours.evaluate_each({name: head})["auc_mean"] for name in local},
        "transfer": {name: without(name) for name in local},
        "cpu_s": {"training": trained - began, "scoring": time.process_time() - trained},
        "life": life,
    }


def _life(ours: Fleet, fleet: FleetData, machine: str, head: Head) -> list[float]:
    """Scores of all stored windows over the machine's threshold."""
    detector, data = ours.detectors[machine], ours.data[machine]
    detector.network.set_head(head)

    def residuals(features: Array) -> Array:
        return detector.run(features)[1]

    every = machine_features(fleet, machine, ours.release.features).features
    scores = fit_residuals(residuals(data.local)).score(residuals(every))
    threshold = by_residuals(residuals, data, ours.rate).threshold
    return [float(score) for score in scores / np.float32(threshold)]


def real_processes(path: Path, machine: str) -> dict[str, Any]:
    """What `fedtiny train` and one `fedtiny edge run` cost, the latter in the rounds of a real coordinator.

    The agent learns on the machine's local windows, takes part in all rounds and scores the rest of the life.
    """
    config, fleet = load_config(None), open_fleet(path)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        release = folder / "release.tflite"
        train = [sys.executable, "-m", "fedtiny.cli", "train", "--data", str(path), "--out", str(release)]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        trainer = cost(subprocess.Popen(train, **quiet), lambda: time.sleep(0.02))  # type: ignore[call-overload]
        broker = EmbeddedBroker(folder / "broker")
        broker.start()
        processes = Processes(folder, broker.port)
        everything = [(topics.everything_filter(FLEET), 1)]
        watch = Connection(load_config(None, broker__port=broker.port).broker, "watch", subscriptions=everything)
        watch.start()
        counted = {"update": 0, "head": 0, "release": 0}

        def count() -> None:
            event = watch.next_event(0.02)
            if isinstance(event, Received) and (kind := topics.parse(event.topic).kind) in counted:
                counted[kind] += len(event.payload)

        try:
            state = folder / "coordinator"
            processes.start("coordinator", "coordinator", "--release", release, "--state", state, "--devices", 1)
            options = _replay(path, fleet, machine, config.coordinator.rounds)
            agent = cost(processes.start("edge", "edge", "run", *options, "--state", folder / "edge"), count)
        finally:
            watch.stop()
            processes.stop()
            broker.stop()
        return {
            "trainer": trainer,
            "agent": agent,
            "model_bytes": release.stat().st_size,
            "release_message_bytes": counted["release"],
            "up": counted["update"] / config.coordinator.rounds,
            "down": counted["head"] / config.coordinator.rounds,
        }


def _replay(path: Path, fleet: FleetData, machine: str, rounds: int) -> list[object]:
    """Options of an agent that learns on the machine's local windows, as the protocol has it."""
    labels = np.array([recording.label for recording in fleet.machines[machine].recordings()])
    normal = np.flatnonzero(labels == 0)
    return [
        *("--device", machine, "--data", path, "--speed", 0, "--skip", int(normal[0]), "--exit-at-end"),
        *("--learn-windows", int(len(normal) * 0.6), "--hold-for-revision", rounds),
    ]


def cost(process: "subprocess.Popen[bytes]", meanwhile: Callable[[], None]) -> dict[str, float]:
    """CPU seconds (user and system) and peak memory of a process, when it has ended; Linux."""
    proc, peak, deadline = Path(f"/proc/{process.pid}"), 0.0, time.monotonic() + TIMEOUT_S
    while os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        peak = memory_mb(proc / "status")[1] or peak
        meanwhile()
        if time.monotonic() > deadline:
            process.kill()
    ticks = (proc / "stat").read_text().rpartition(")")[2].split()[11:13]  # utime and stime, proc(5)
    if process.wait():
        raise SystemExit(f"{process.args!r}: exit status {process.returncode}")
    return {"cpu_s": sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK"), "peak_rss_mb": peak}
