"""The demo's processes: commands of ours, each with a log in the run's folder. They end with it, whatever ends it."""

import json
import subprocess
import sys
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from fedtiny.child import start_child, stop_child
from fedtiny.config import Config
from fedtiny.demo.screen import Screen
from fedtiny.errors import FedTinyError
from fedtiny.model.artifact import Release
from fedtiny.store import atomic_write


def toml(config: Config) -> str:
    """The part of the configuration that the children need, as TOML."""
    lines = [f"fleet = {json.dumps(config.fleet)}"]
    for section in ("broker", "signal", "train", "edge", "coordinator"):
        lines.append(f"\n[{section}]")
        for key, value in getattr(config, section).model_dump(exclude_none=True).items():
            lines.append(f"{key} = {json.dumps(value)}")
    return "\n".join(lines) + "\n"


def data_arguments(data: Path | None, *arguments: object) -> list[str]:
    """Arguments of a command, with the data where they are not simulated."""
    return [*(["--data", str(data)] if data else []), *map(str, arguments)]


def start(
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


def train(config: Config, data: Path | None, folder: Path, screen: Screen, stop: threading.Event) -> dict[str, Any]:
    """``fedtiny train`` in a process of its own; returns the loss curves."""
    atomic_write(folder / "demo.toml", toml(config).encode())
    command = [sys.executable, "-m", "fedtiny.cli", "train", "--json"]
    command += data_arguments(data, "--config", folder / "demo.toml", "--out", folder / "release.tflite")
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
            raise FedTinyError(last_line(folder / "train.log"))
    gate = Release.open(folder / "release.tflite").manifest.gate
    screen.say(f"trained {len(losses)} epochs, validation loss {min(validation):.4f}")
    aucs = "" if gate.auc_int8 is None else f", AUC {gate.auc_float:.4f} -> {gate.auc_int8:.4f}"
    screen.say(f"gate passed: int8 and float scores correlate {gate.rank_correlation:.4f}{aucs}")
    return {"loss": losses, "validation_loss": validation}


def wait_for(process: "subprocess.Popen[bytes]", what: str, log: Path, stop: threading.Event) -> None:
    """Until ``process`` has ended well; FedTinyError where it has not, or where ``stop`` is set first."""
    while True:
        try:
            if process.wait(0.25) != 0:
                raise FedTinyError(f"{what} failed: {last_line(log)}")
            return
        except subprocess.TimeoutExpired:
            if stop.is_set():
                raise FedTinyError("interrupted") from None


def last_line(log: Path) -> str:
    """The last line of a child's log: its error, by our own convention."""
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1].removeprefix("Error: ") if lines else f"no reason given, see {log}"
