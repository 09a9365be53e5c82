"""The demo's fleet: coordinator and agents as processes, watched on their topics as any operator could."""

import math
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fedtiny.child import stop_child
from fedtiny.config import Config
from fedtiny.demo.processes import data_arguments, last_line, start, toml
from fedtiny.demo.screen import Screen
from fedtiny.errors import DataError, FedTinyError, ProtocolError, TransportError
from fedtiny.evaluation import local_windows
from fedtiny.model.detector import FEWEST
from fedtiny.protocol import codec, topics
from fedtiny.protocol.messages import Alarm, DeviceStatus, RoundMessage
from fedtiny.signal.dataset import MachineFeatures
from fedtiny.signal.fleet import FleetData
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


def run_fleet(
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
    atomic_write(config_file, toml(config).encode())
    watch = Connection(config.broker, "fedtiny-demo", subscriptions=[(topics.everything_filter(config.fleet), 1)])
    watch.start()
    stack.callback(watch.stop)
    processes = {
        "coordinator": start(
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
        arguments += data_arguments(data, "--skip", features.first_normal_recording, "--learn-windows", learn)
        arguments += ["--hold-for-revision", settings.rounds, "--state", folder / "devices" / name]
        arguments += ["--scores", folder / f"{name}.csv"]
        processes[name] = start(
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
                    raise FedTinyError(f"{name} ended: {last_line(folder / f'{name}.log')}")
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
