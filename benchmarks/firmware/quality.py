"""Detection on FEMTO by the exported C, from samples to score, beside the Python agent on the same windows.

The protocol of ``fedtiny.evaluation`` on the bearings that the trainer never saw, one release and one federated head
for all. Each agent learns its machine from the local windows; the C gets what that agent has learned, or learns the
machine itself from the same windows. Scores are distances from what was learned: without drift, as the protocol has
them. The C is built for this machine, samples are the int16 counts of the recordings. All that goes into its int8
network also goes through the interpreter. Writes ``quality`` of ``benchmarks/results/firmware.json``.
"""

import ctypes
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.common import FEMTO, Array, data_folder, federate, versions
from benchmarks.firmware.bench import record
from benchmarks.firmware.watch import SEED, train
from fedtiny.config import load_config
from fedtiny.evaluation import DeviceScores, figures, local_windows
from fedtiny.federation.strategies import strategy
from fedtiny.model.artifact import Release
from fedtiny.model.head import Head
from fedtiny.model.network import Network
from fedtiny.model.watch import Rules, Watch
from fedtiny.signal.fleet import Machine, open_fleet
from fedtiny.signal.windows import cut
from firmware_export.check import interpreter_outputs
from firmware_export.features import front_of, front_source
from firmware_export.generate import RUNTIME, config_header
from firmware_export.learning import Plan, plan_of, plan_source
from firmware_export.machine import machine_bytes, machine_of
from firmware_export.network import read_network
from firmware_export.packing import arena, network_source
from firmware_export.scoring import input_codes, output_codes

Counts = NDArray[np.int16]
Int8 = NDArray[np.int8]
MOST_LOSS = 0.2  # points of AUC, of the C under the agent
KINDS = ("float", "fixed")
COLUMNS = ("per_device_mean", "per_device_min", "one_threshold")
SOURCES = ("features_float", "features_fixed", "nn", "score", "alarm", "learn")
DRIVER = Path(__file__).with_suffix(".c")


@dataclass(frozen=True)
class Windows:
    """One machine's windows as counts (n, window, channels) in time order, and their labels; cut by the protocol."""

    every: Counts
    labels: Int8

    @property
    def local(self) -> Counts:
        """What the machine is learned from."""
        normal = self.every[self.labels == 0]
        return normal[: local_windows(len(normal))]

    @property
    def held_out(self) -> Counts:
        """The other normal ones."""
        normal = self.every[self.labels == 0]
        return normal[local_windows(len(normal)) :]

    @property
    def anomalous(self) -> Counts:
        """Those labelled 1."""
        return self.every[self.labels == 1]


class Firmware:
    """A release under one head, built for this machine; ``plan``: how it learns."""

    def __init__(
        self, folder: Path, release: Release, head: Head, plan: Plan, lsb: float, *, fixed_point: bool
    ) -> None:
        network = read_network(release.patched(head), "release")
        first, last = network.layers[0], network.layers[-1]
        manifest = release.manifest
        sizes = {
            "WINDOW": manifest.window,
            "SAMPLES": manifest.window * len(manifest.channels),
            "FEATURES": release.features.size,
            "LARGEST": plan.largest,
            "ARENA": arena(network).total,
        }
        ends = {
            "input": input_codes(float(first.in_scale), first.in_zero, fixed_point=fixed_point),
            "output": output_codes(float(last.out_scale), last.out_zero, fixed_point=fixed_point),
        }
        source = [
            f"enum {{ {', '.join(f'{name} = {size}' for name, size in sizes.items())} }};",
            network_source(network, "tflite", "it"),
            front_source(front_of(release, lsb=lsb, fixed_point=fixed_point), "it"),
            plan_source(plan, "it", fixed_point=fixed_point),
            *(f"static const fedtiny_{name}_codes {name} = {value};" for name, value in ends.items()),
        ]
        folder.mkdir()
        (folder / "release.h").write_text("\n".join(source))
        config = config_header("tflite", fixed_point=fixed_point, sample_int16=True)
        (folder / "fedtiny_config.h").write_text(config)
        files = [DRIVER, *(RUNTIME / f"fedtiny_{name}.c" for name in SOURCES)]
        flags = ["-std=c99", "-O2", "-fPIC", "-shared", f"-I{folder}", f"-I{RUNTIME}"]
        subprocess.run(["gcc", *flags, *files, "-lm", "-o", folder / "it.so"], check=True)
        self._c = ctypes.CDLL(str(folder / "it.so"))
        self._c.score.restype = ctypes.c_int32 if fixed_point else ctypes.c_float
        self._features = release.features.size
        self._type: type[np.int32 | np.float32] = np.int32 if fixed_point else np.float32
        self._unit = 2.0**-16 if fixed_point else 1.0

    def learn(self, frames: Counts) -> None:
        """Learn the machine from windows."""
        if self._c.learn(_at(frames), ctypes.c_size_t(len(frames))) != 0:
            raise RuntimeError("the plan wants other windows than it was given")

    def reconstruct(self, section: bytes, frames: Counts) -> tuple[Int8, Int8]:
        """(inputs, outputs) of the network, both (n, features), for windows by a machine section."""
        inputs, outputs = np.empty((2, len(frames), self._features), np.int8)
        words = np.frombuffer(section, np.uint32).copy()
        sizes = ctypes.c_size_t(len(section)), ctypes.c_size_t(len(frames))
        if self._c.reconstruct(_at(words), sizes[0], _at(frames), sizes[1], _at(inputs), _at(outputs)) != 0:
            raise RuntimeError("the machine section was refused")
        return inputs, outputs

    def score(self, section: bytes | None, frames: Counts) -> tuple[Array, float]:
        """(levels of windows, the threshold) by a machine section; None: by what was learned."""
        levels = np.empty(len(frames), self._type)
        words = np.frombuffer(section or b"", np.uint32).copy()
        threshold = self._c.score(
            _at(words) if section else None,
            ctypes.c_size_t(len(section or b"")),
            _at(frames),
            ctypes.c_size_t(len(frames)),
            _at(levels),
        )
        if threshold <= 0:
            raise RuntimeError("the machine section was refused")
        return (levels * self._unit).astype(np.float32), threshold * self._unit


def _at(array: NDArray[Any]) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


def counts_of(machine: Machine, release: Release, lsb: float) -> Windows:
    """All windows of a machine, as the converter gave them."""
    m = release.manifest
    found: list[Counts] = []
    labels: list[Int8] = []
    for recording in machine.recordings():
        samples = np.rint(recording.samples / lsb).astype(np.int16)
        found.append(np.array(cut(samples, m.window, m.hop)))
        labels.append(np.full(len(found[-1]), recording.label, np.int8))
    return Windows(np.concatenate(found), np.concatenate(labels))


def watch_of(network: Network, features: Array, rate: float) -> Watch:
    """An agent's watch that has learned a machine from all of ``features``."""
    rules = Rules(rate=rate, learn=len(features), keep=2 * len(features), votes=3, window=5, quiet=0.8, points=1)
    watch = Watch(network, rules)
    for one in features:
        watch.take(one[None])
    return watch


def quality(trained: Path | None = None) -> dict[str, Any]:
    """Figures of the agent and of the C in both number types; ``trained``: a release of FEMTO that is there already."""
    path = data_folder(FEMTO) / FEMTO
    with np.load(path) as archive:
        lsb = float(archive["lsb"])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        release = Release.open(trained) if trained else train(folder / "release.tflite", path)
        return _measure(folder, release, path, lsb)


def _measure(folder: Path, release: Release, path: Path, lsb: float) -> dict[str, Any]:
    config = load_config(None)
    rate, fleet, extract = config.edge.window_rate, open_fleet(path), release.features

    def features(counts: Counts) -> Array:
        return extract(counts * np.float32(lsb))

    clients = {name: machine for name, machine in fleet.machines.items() if name not in fleet.base}
    windows = {name: counts_of(machine, release, lsb) for name, machine in clients.items()}
    watches = {name: watch_of(Network(release), features(found.local), rate) for name, found in windows.items()}
    head = federated_head(release, watches.values(), config.coordinator.proximal)
    scores: dict[str, dict[str, DeviceScores]] = {}
    equal: dict[str, Any] = {}
    for name, found in windows.items():
        watches[name].set_head(head)
        methods = {"agent": by_agent(watches[name], features, found)}
        for kind in KINDS:
            firmware = firmware_of(folder / f"{name}-{kind}", watches[name], lsb, fixed_point=kind == "fixed")
            section = machine_bytes(machine_of(watches[name]), fixed_point=kind == "fixed")
            methods |= by_firmware(firmware, kind, section, found)
            same = beside_interpreter(firmware, section, release.patched(head), found)
            so_far = equal.setdefault(kind, {"interpreter": same.pop("interpreter")})
            equal[kind] = so_far | {part: so_far.get(part, 0) + number for part, number in same.items()}
        for method, given in methods.items():
            scores.setdefault(method, {})[name] = given
    return {"methods": summarise(scores), "network": equal}


def federated_head(release: Release, watches: Iterable[Watch], proximal: float) -> Head:
    """One round of ridge over what the watches have learned."""
    runs = [watch.detectors["0"].run(watch.detectors["0"].baseline) for watch in watches]
    data = [(hidden, z) for z, _, hidden in runs]
    return federate(strategy("ridge", {}), release.head, data, rounds=1, proximal=proximal)[0]


def by_agent(watch: Watch, features: Callable[[Counts], Array], windows: Windows) -> DeviceScores:
    """Levels as the agent has them."""
    detector = watch.detectors["0"]
    assert detector.threshold is not None
    held_out, anomalous = (
        np.square(detector.whiten(features(part))).mean(axis=1) for part in (windows.held_out, windows.anomalous)
    )
    return DeviceScores(held_out, anomalous, detector.threshold)


def firmware_of(folder: Path, watch: Watch, lsb: float, *, fixed_point: bool) -> Firmware:
    """The release of an agent's watch under its head."""
    network = watch.network
    plan = plan_of(network.release, watch.rules)
    return Firmware(folder, network.release, network.head, plan, lsb, fixed_point=fixed_point)


def by_firmware(firmware: Firmware, kind: str, section: bytes, windows: Windows) -> dict[str, DeviceScores]:
    """Levels by the C, with what the agent has learned, and with what the C learns."""
    firmware.learn(windows.local)
    found = {}
    for name, known in ((f"c_{kind}", section), (f"c_{kind}_learned", None)):
        held_out, threshold = firmware.score(known, windows.held_out)
        anomalous, _ = firmware.score(known, windows.anomalous)
        found[name] = DeviceScores(held_out, anomalous, threshold)
    return found


def beside_interpreter(firmware: Firmware, section: bytes, tflite: bytes, windows: Windows) -> dict[str, Any]:
    """How many windows and outputs of the int8 network, and how many of these the interpreter has otherwise."""
    inputs, outputs = firmware.reconstruct(section, windows.every)
    name, expected = interpreter_outputs(tflite, "tflite", inputs)
    differing = int(np.count_nonzero(outputs != expected))
    return {"interpreter": name, "windows": len(inputs), "outputs": outputs.size, "differing": differing}


def summarise(scores: Mapping[str, Mapping[str, DeviceScores]]) -> dict[str, Any]:
    """Figures of each method; how far each is from the agent, in points of AUC, and in scores one by one."""
    result: dict[str, Any] = {method: figures(devices) for method, devices in scores.items()}
    agent = result["agent"]
    for method, devices in scores.items():
        found = result[method]
        found["points_below_agent"] = {column: 100 * (agent[column] - found[column]) for column in COLUMNS}
        off = np.concatenate(
            [
                np.abs(getattr(devices[name], part) / getattr(theirs, part) - 1)
                for name, theirs in scores["agent"].items()
                for part in ("held_out", "anomalous")
            ]
        )
        found["score_off"] = {"median": float(np.median(off)), "largest": float(off.max())}
    return result


def verdicts(result: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Each figure that has a bound, beside it."""
    points = {
        method: max(abs(points) for points in found["points_below_agent"].values())
        for method, found in result["methods"].items()
        if method != "agent"
    }
    rows = {f"{method}, points of AUC from the agent": (worst, MOST_LOSS) for method, worst in points.items()}
    for kind, same in result["network"].items():
        name = f"c_{kind}, outputs other than {same['interpreter']} has, of {same['windows']:,} windows"
        rows[name] = (same["differing"], 0)
    return {name: {"found": found, "at_most": most, "met": found <= most} for name, (found, most) in rows.items()}


def show(result: Mapping[str, Any]) -> None:
    """The table, and what is met."""
    heads = ("AUC mean", "AUC min", "one thr.", "false al.", "detected", "off, median", "off, most")
    print(f"\n{'':16}" + "".join(f"{head:>13}" for head in heads))
    for method, found in result["methods"].items():
        row = [found[column] for column in (*COLUMNS, "false_alarm_rate", "detection_rate")]
        off = "".join(f"{value:13.2g}" for value in found["score_off"].values())
        print(f"{method:16}" + "".join(f"{value:13.4f}" for value in row) + off)
    print("c_*: the machine is what its agent has learned; c_*_learned: learned on the microcontroller")
    for name, row in result["verdicts"].items():
        print(f"{'met  ' if row['met'] else 'SHORT'}  {name}: {row['found']:.3g}, at most {row['at_most']}")


def main() -> None:
    """Measure, print, write."""
    result = quality()
    result["verdicts"] = verdicts(result)
    show(result)
    print(record(quality=result | {"seed": SEED, "versions": versions()}))


if __name__ == "__main__":
    main()
