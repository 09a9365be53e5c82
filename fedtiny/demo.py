"""A whole fleet on this machine: train, gate, broker, coordinator, agents as processes, report.

This process only starts the others, watches the fleet's topics as any operator could, and evaluates what the
agents wrote. Its children end with it, whatever ends it.
"""

import csv
import json
import math
import platform
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from fedtiny import __version__
from fedtiny.broker import EmbeddedBroker
from fedtiny.child import start_child, stop_child
from fedtiny.config import Broker, Config
from fedtiny.errors import ConfigError, DataError, FedTinyError, ProtocolError, TransportError
from fedtiny.evaluation import (
    DeviceScores,
    by_plain_error,
    by_residuals,
    by_z_score,
    figures,
    local_windows,
    split,
)
from fedtiny.model.artifact import Release
from fedtiny.model.detector import FEWEST, Budget, Detector
from fedtiny.model.network import Network
from fedtiny.protocol import codec, topics
from fedtiny.protocol.messages import Alarm, DeviceStatus, RoundMessage
from fedtiny.report import render_report
from fedtiny.signal.dataset import MachineFeatures, machine_features
from fedtiny.signal.fleet import FleetData, open_fleet
from fedtiny.store import atomic_write
from fedtiny.transport import Connection, Disconnected, Received

TIMEOUT_S = 600.0  # for the fleet's part; a demo that hangs helps nobody


@dataclass
class Observed:
    """What was seen on the fleet's topics."""

    rounds: list[dict[str, Any]] = field(default_factory=list)
    status: dict[str, DeviceStatus] = field(default_factory=dict)
    alarms: dict[str, list[Alarm]] = field(default_factory=dict)
    up: dict[str, int] = field(default_factory=dict)  # bytes of updates by device
    head_bytes: int = 0
    updates: int = 0
    opened: float = 0.0


class Screen:
    """Progress on a terminal, plain lines in a pipe."""

    def __init__(self) -> None:
        try:
            from rich.console import Console
        except ImportError:
            raise ConfigError("the demo needs TensorFlow, a broker and rich: pip install 'fedtiny[demo]'") from None
        self.console = Console(highlight=False)
        self.started = time.monotonic()

    def say(self, words: str) -> None:
        """One line, with the seconds since the start."""
        from rich.markup import escape

        self.console.print(f"[dim]{time.monotonic() - self.started:5.1f} s[/]  {escape(words)}", soft_wrap=True)

    @contextmanager
    def busy(self, words: str) -> Iterator[Any]:
        """A spinner while something takes long; yields a function that changes its words."""
        if not self.console.is_terminal:
            yield lambda _: None
            return
        with self.console.status(words) as status:
            yield status.update


def run_demo(config: Config, data: Path | None, state: Path, json_file: Path | None, stop: threading.Event) -> None:
    """Run the demo in a new folder below ``state``; print what happens; write report.html and the figures."""
    screen = Screen()
    fleet = open_fleet(data, seed=config.train.seed)
    clients = [name for name in fleet.machines if name not in fleet.base]
    if not fleet.base:
        raise DataError(f"{data}: no base machines to train the release on")
    folder = state / datetime.now(UTC).strftime("run-%Y%m%d-%H%M%S-%f")[:-3]
    folder.mkdir(parents=True)
    source = f"simulator, seed {config.train.seed}" if data is None else str(data)
    screen.say(f"{source}: {len(fleet.base)} base machines, {len(clients)} devices; state in {folder}")
    with ExitStack() as stack:
        training = _train(config, data, folder, screen, stop)
        release = Release.open(folder / "release.tflite")
        machines = {name: machine_features(fleet, name, release.features) for name in clients}
        yardstick = _start(
            stack,
            "fedtiny.trainer.central",
            _data(data, "--release", folder / "release.tflite"),
            folder,
            "central",
            config_file=folder / "demo.toml",
            out=folder / "central.json",
        )
        broker = stack.enter_context(EmbeddedBroker(folder / "broker"))
        screen.say(f"broker on mqtt://127.0.0.1:{broker.port}")
        live = config.model_copy(update={"broker": Broker(port=broker.port)})
        observed = _run_fleet(live, fleet, machines, data, folder, screen, stack, stop)
        with screen.busy("central training, the yardstick"):
            _wait(yardstick, "central training", folder / "central.log", stop)
    central = json.loads((folder / "central.json").read_text())
    run = _evaluate(config, release, fleet, machines, observed, central, folder)
    run["training"] |= training
    run |= {"data": source, "title": "fedtiny demo", "strategy": config.coordinator.strategy}
    run["summary"]["wall_s"] = time.monotonic() - screen.started
    atomic_write(folder / "report.html", render_report(run).encode())
    atomic_write(folder / "report.json", json.dumps(run["summary"], indent=2).encode())
    if json_file is not None:
        atomic_write(json_file, json.dumps(run["summary"], indent=2).encode())
    _print_summary(screen, run["summary"])
    screen.say(f"report: {folder / 'report.html'}")


# --- the processes ---


def _toml(config: Config) -> str:
    """The part of the configuration that the children need, as TOML."""
    lines = [f"fleet = {json.dumps(config.fleet)}"]
    for section in ("broker", "signal", "train", "edge", "coordinator"):
        lines.append(f"\n[{section}]")
        for key, value in getattr(config, section).model_dump(exclude_none=True).items():
            lines.append(f"{key} = {json.dumps(value)}")
    return "\n".join(lines) + "\n"


def _data(data: Path | None, *arguments: object) -> list[str]:
    return [*(["--data", str(data)] if data else []), *map(str, arguments)]


def _start(
    stack: ExitStack,
    module: str,
    arguments: list[str],
    folder: Path,
    log: str,
    *,
    config_file: Path,
    out: Path | None = None,
) -> "subprocess.Popen[bytes]":
    """Start a module of ours as a process that logs into ``folder``."""
    output = stack.enter_context((folder / f"{log}.log").open("wb"))
    command = [sys.executable, "-m", module, *arguments, "--config", str(config_file)]
    process = start_child(command + (["--out", str(out)] if out else []), stdout=output, stderr=output)
    stack.callback(stop_child, process)
    return process


def _train(config: Config, data: Path | None, folder: Path, screen: Screen, stop: threading.Event) -> dict[str, Any]:
    """``fedtiny train`` in a process of its own; returns the loss curves."""
    atomic_write(folder / "demo.toml", _toml(config).encode())
    command = [sys.executable, "-m", "fedtiny.cli", "train", "--json"]
    command += _data(data, "--config", folder / "demo.toml", "--out", folder / "release.tflite")
    losses: list[float] = []
    validation: list[float] = []
    with ExitStack() as stack:
        errors = stack.enter_context((folder / "train.log").open("wb"))
        update = stack.enter_context(screen.busy("training: loading TensorFlow"))
        process = start_child(command, stdout=subprocess.PIPE, stderr=errors)
        stack.callback(stop_child, process)
        assert process.stdout is not None
        for line in process.stdout:
            if stop.is_set():
                raise FedTinyError("interrupted")
            event = json.loads(line)
            if "epoch" in event:
                losses.append(event["loss"])
                validation.append(event["validation_loss"])
                update(f"training: epoch {event['epoch']}, loss {losses[-1]:.4f}, validation {validation[-1]:.4f}")
        if process.wait() != 0:
            raise FedTinyError(_last_line(folder / "train.log"))
    gate = Release.open(folder / "release.tflite").manifest.gate
    screen.say(f"trained {len(losses)} epochs, validation loss {min(validation):.4f}")
    aucs = "" if gate.auc_int8 is None else f", AUC {gate.auc_float:.4f} -> {gate.auc_int8:.4f}"
    screen.say(f"gate passed: int8 and float scores correlate {gate.rank_correlation:.4f}{aucs}")
    return {"loss": losses, "validation_loss": validation}


def _run_fleet(
    config: Config,
    fleet: FleetData,
    machines: dict[str, MachineFeatures],
    data: Path | None,
    folder: Path,
    screen: Screen,
    stack: ExitStack,
    stop: threading.Event,
) -> Observed:
    """Coordinator and agents, until every agent has played its recording to the end."""
    settings = config.coordinator.model_copy(
        update={"devices": len(machines), "quorum": max(1, math.ceil(0.6 * len(machines)))}
    )
    config = config.model_copy(update={"coordinator": settings})
    config_file = folder / "fleet.toml"
    atomic_write(config_file, _toml(config).encode())
    watch = Connection(config.broker, "fedtiny-demo", subscriptions=[(topics.everything_filter(config.fleet), 1)])
    watch.start()
    stack.callback(watch.stop)
    processes = {
        "coordinator": _start(
            stack,
            "fedtiny.cli",
            [
                "coordinator",
                "--release",
                str(folder / "release.tflite"),
                "--state",
                str(folder / "coordinator"),
            ],
            folder,
            "coordinator",
            config_file=config_file,
        )
    }
    for name, features in machines.items():
        learn = local_windows(len(features.normal))
        if learn < FEWEST:
            raise DataError(
                f"{name}: {len(features.normal)} normal windows; {learn} of them would be its local data, "
                f"at least {FEWEST} are needed"
            )
        arguments = ["edge", "run", "--device", name, "--seed", config.train.seed, "--speed", "0"]
        arguments += _data(data, "--skip", features.first_normal_recording, "--learn-windows", learn)
        arguments += ["--hold-for-revision", settings.rounds, "--state", folder / "devices" / name]
        arguments += ["--scores", folder / f"{name}.csv"]
        processes[name] = _start(
            stack, "fedtiny.cli", [str(a) for a in arguments], folder, name, config_file=config_file
        )
    screen.say(f"coordinator and {len(machines)} agents started")
    observed = Observed()
    deadline = time.monotonic() + TIMEOUT_S
    with screen.busy("agents learn what is normal") as update:
        while not _all_done(observed, machines):
            if stop.is_set():
                raise FedTinyError("interrupted")
            event = watch.next_event(0.25)
            if isinstance(event, Disconnected):
                raise TransportError(event.reason)
            if isinstance(event, Received):
                _observe(observed, event, len(machines), screen, update)
            for name, process in processes.items():
                if process.poll() is not None:
                    raise FedTinyError(f"{name} ended: {_last_line(folder / f'{name}.log')}")
            if time.monotonic() > deadline:
                raise FedTinyError(f"the fleet did not finish in {TIMEOUT_S:.0f} s; logs are in {folder}")
    for process in processes.values():
        stop_child(process)
    return observed


def _all_done(observed: Observed, machines: dict[str, MachineFeatures]) -> bool:
    done = {name for name, status in observed.status.items() if status.source_done}
    return done >= set(machines)


def _observe(observed: Observed, event: Received, devices: int, screen: Screen, update: Any) -> None:
    """Note one message; say what an operator wants to know of it."""
    try:
        topic = topics.parse(event.topic)
        if topic.kind == "round":
            message = codec.decode(RoundMessage, event.payload)
            if message.state == "open":
                observed.opened = time.monotonic()
                update(f"round {message.round_number}: waiting for {devices} devices")
            else:
                _note_round(observed, message, devices, screen)
        elif topic.kind == "head":
            observed.head_bytes = len(event.payload) + len(event.topic)
        elif topic.kind == "update" and topic.device:
            observed.up[topic.device] = observed.up.get(topic.device, 0) + len(event.payload) + len(event.topic)
            observed.updates += 1
        elif topic.kind == "status" and topic.device:
            observed.status[topic.device] = codec.decode(DeviceStatus, event.payload)
        elif topic.kind == "alarm" and topic.device:
            alarm = codec.decode(Alarm, event.payload)
            observed.alarms.setdefault(topic.device, []).append(alarm)
            screen.say(f"{topic.device}: {alarm.kind} alarm {alarm.state}: {alarm.reason}")
    except ProtocolError as error:
        screen.say(f"ignored {event.topic}: {error}")


def _note_round(observed: Observed, message: RoundMessage, devices: int, screen: Screen) -> None:
    row = {
        "round": message.round_number,
        "revision": message.base.revision + 1,
        "participants": list(message.answered),
        "devices": devices,
        "loss_before": message.loss_before,
        "loss_after": message.loss_after,
        "bytes_up": message.bytes_up,
        "bytes_down": observed.head_bytes * devices,
        "seconds": time.monotonic() - observed.opened,
    }
    observed.rounds.append(row)
    losses = "" if message.loss_before is None else f"loss {message.loss_before:.4f} -> {message.loss_after:.4f}, "
    screen.say(
        f"round {message.round_number}: {message.updates} of {devices} answered, {losses}"
        f"{message.bytes_up:,} bytes up, {row['seconds']:.2f} s; {message.outcome}"
    )


def _wait(process: "subprocess.Popen[bytes]", what: str, log: Path, stop: threading.Event) -> None:
    while True:
        try:
            if process.wait(0.25) != 0:
                raise FedTinyError(f"{what} failed: {_last_line(log)}")
            return
        except subprocess.TimeoutExpired:
            if stop.is_set():
                raise FedTinyError("interrupted") from None


def _last_line(log: Path) -> str:
    """The last line of a child's log: its error, by our own convention."""
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1].removeprefix("Error: ") if lines else f"no reason given, see {log}"


# --- the figures ---


def _evaluate(
    config: Config,
    release: Release,
    fleet: FleetData,
    machines: dict[str, MachineFeatures],
    observed: Observed,
    central: dict[str, Any],
    folder: Path,
) -> dict[str, Any]:
    """The report's data: what the agents wrote, beside the frozen release and the yardsticks."""
    kinds = ("frozen", "calibrated", "federated", "judged", "zscore")
    methods: dict[str, dict[str, DeviceScores]] = {kind: {} for kind in kinds}
    devices = []
    rate = config.edge.window_rate
    for name, features in machines.items():
        data = split(features)
        detector = Detector(Network(release, config.edge.runtime), Budget(rate, len(data.local), len(data.local)))
        detector.adapt(data.local)

        def residuals(rows: Any, detector: Detector = detector) -> Any:
            return detector.run(rows)[1]

        methods["frozen"][name] = by_plain_error(residuals, data, rate)
        methods["calibrated"][name] = by_residuals(residuals, data, rate)
        methods["zscore"][name] = by_z_score(data, rate)
        rows = _read_scores(folder / f"{name}.csv")
        normal, failing = (rows["label"] == 0) & ~rows["learning"], rows["label"] == 1
        ratios, levels = rows["score"] / rows["threshold"], rows["level"]
        far = levels / rows["threshold"]
        methods["federated"][name] = DeviceScores(levels[normal], levels[failing], float(rows["threshold"][-1]))
        methods["judged"][name] = DeviceScores(far[normal], far[failing], 1.0)
        played = features.features[len(features.features) - len(rows["score"]) :]
        status = observed.status[name]
        devices.append(
            {
                "device": name,
                "position": rows["position"].tolist(),
                "label": rows["label"].tolist(),
                "frozen": np.square(residuals(played)).mean(axis=1).tolist(),
                "federated": [None if math.isnan(ratio) else ratio for ratio in ratios.tolist()],
                "threshold": {"frozen": methods["frozen"][name].threshold, "federated": 1.0},
                "alarm_position": _alarm_position(observed.alarms.get(name, []), rows),
                "bytes_up": observed.up.get(name, 0),
                "bytes_down": observed.head_bytes * len(observed.rounds),
                "peak_rss_mb": status.peak_rss_mb,
            }
        )
    results = {kind: figures(scores) for kind, scores in methods.items()} | {"central": central}
    judged = results.pop("judged")  # levels, as in all other rows, against the threshold of their time
    results["federated"] |= {rate: judged[rate] for rate in ("false_alarm_rate", "detection_rate")}
    for device in devices:
        device["auc"] = {kind: result["per_device"].get(device["device"]) for kind, result in results.items()}
    manifest = release.manifest
    versions = manifest.made_with | {
        "fedtiny": __version__,
        "python": platform.python_version(),
        "interpreter": observed.status[next(iter(machines))].interpreter,
    }
    keys = ("per_device_mean", "per_device_min", "one_threshold")
    return {
        "created_utc": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": versions,
        "summary": {
            "devices": len(machines),
            "alarms_standing": sum(device["alarm_position"] is not None for device in devices),
            "rounds": len(observed.rounds),
            "auc": {kind: {key: result[key] for key in keys} for kind, result in results.items()},
            "detection_rate": {kind: result["detection_rate"] for kind, result in results.items()},
            "false_alarm_rate": {kind: result["false_alarm_rate"] for kind, result in results.items()},
            "bytes_per_device_round": {
                "up": sum(observed.up.values()) / max(observed.updates, 1),
                "down": observed.head_bytes,
            },
            "edge_peak_rss_mb": max(device["peak_rss_mb"] or 0.0 for device in devices),
            "alarmed_at_the_end": sum(device["alarm_position"] is not None for device in devices),
        },
        "training": {
            "windows": manifest.training["windows"],
            "machines": list(fleet.base),
            "release_id": release.id,
            "size_bytes": len(release.data),
        },
        "gate": manifest.gate.model_dump() | {"passed": True},
        "rounds": observed.rounds,
        "devices": devices,
    }


def _read_scores(path: Path) -> dict[str, Any]:
    """What an agent wrote, as columns."""
    with open(path, newline="") as file:
        rows = list(csv.reader(file))
    scores = np.array([float(row[3]) for row in rows], np.float32)
    return {
        "position": np.array([float(row[1]) if row[1] else float(i) for i, row in enumerate(rows)]),
        "label": np.array([int(row[2]) for row in rows]),
        "score": scores,
        "learning": np.isnan(scores),
        "threshold": np.array([float(row[4]) if row[4] else math.nan for row in rows], np.float32),
        "level": np.array([float(row[6]) for row in rows], np.float32),
    }


def _alarm_position(alarms: list[Alarm], rows: dict[str, Any]) -> float | None:
    """Where the machine's alarm rose that still stands at the end, or None."""
    alarms = [alarm for alarm in alarms if alarm.kind == "machine" and alarm.state in ("raised", "cleared")]
    if not alarms or alarms[-1].state == "cleared":
        return None
    return float(rows["position"][min(alarms[-1].window - 1, len(rows["position"]) - 1)])


def _print_summary(screen: Screen, summary: dict[str, Any]) -> None:
    from rich.table import Table

    table = Table(title="Failing against normal, on machines that the trainer never saw")
    table.add_column("")
    for column in ("AUC mean", "worst", "one threshold", "detected", "false alarms"):
        table.add_column(column, justify="right")

    def cell(value: float | None, percent: bool = False) -> str:
        return "–" if value is None else f"{value:.1%}" if percent else f"{value:.3f}"

    for kind, words in (
        ("frozen", "before: frozen base"),
        ("calibrated", "frozen, local score"),
        ("federated", "after: federated"),
        ("central", "central, float"),
        ("zscore", "z-score, no model"),
    ):
        auc = summary["auc"][kind]
        table.add_row(
            words,
            *(cell(auc[key]) for key in ("per_device_mean", "per_device_min", "one_threshold")),
            cell(summary["detection_rate"][kind], True),
            cell(summary["false_alarm_rate"][kind], True),
            style="bold" if kind == "federated" else "",
        )
    screen.console.print(table)
    standing = summary["alarms_standing"]
    machines = summary["devices"]
    screen.say(f"alarms at the end: {standing} of {machines} machines (scores follow slow drift, the table does not)")
    traffic = summary["bytes_per_device_round"]
    screen.say(f"bytes a device a round: {traffic['up']:,.0f} up, {traffic['down']:,.0f} down")
    screen.say(f"peak memory of an edge agent: {summary['edge_peak_rss_mb']:.1f} MB")
