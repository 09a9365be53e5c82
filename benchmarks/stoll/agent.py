"""What a real agent of ours costs on one machine of FEMTO, and the trainer before it: watched until they end."""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from fedtiny.broker import EmbeddedBroker
from fedtiny.child import start_child, stop_child
from fedtiny.config import load_config
from fedtiny.evaluation import local_windows
from fedtiny.health import memory_mb
from fedtiny.protocol import topics
from fedtiny.signal.fleet import FleetData, open_fleet
from fedtiny.transport import Connection, Received

FLEET, TIMEOUT_S = "stoll", 600


def real_processes(path: Path, machine: str) -> dict[str, Any]:
    """What `fedtiny train` and one `fedtiny edge run` cost, the latter in the rounds of a real coordinator.

    The agent learns on the machine's local windows, takes part in all rounds and scores the rest of the life.
    """
    config, fleet = load_config(None), open_fleet(path)
    sizes: dict[str, list[int]] = {"update": [], "head": [], "release": []}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))

        def start(*arguments: object) -> "subprocess.Popen[bytes]":
            command = [sys.executable, "-m", "fedtiny.cli", *map(str, arguments)]
            process = start_child(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            stack.callback(stop_child, process)
            return process

        def count() -> None:
            event = watch.next_event(0.02)
            if isinstance(event, Received) and (kind := topics.parse(event.topic).kind) in sizes:
                sizes[kind].append(len(event.payload))

        release = folder / "release.tflite"
        trainer = cost(start("train", "--data", path, "--out", release), lambda: time.sleep(0.02))
        broker = stack.enter_context(EmbeddedBroker(folder / "broker"))
        everything = [(topics.everything_filter(FLEET), 1)]
        watch = Connection(load_config(None, broker__port=broker.port).broker, "watch", subscriptions=everything)
        stack.callback(watch.stop)
        watch.start()
        where = ["--port", broker.port, "--fleet", FLEET]
        start("coordinator", "--release", release, "--state", folder / "coordinator", "--devices", 1, *where)
        options = _replay(path, fleet, machine, config.coordinator.rounds)
        agent = cost(start("edge", "run", *options, "--state", folder / "edge", *where), count)
        model_bytes = release.stat().st_size
    return {
        "trainer": trainer,
        "agent": agent,
        "model_bytes": model_bytes,
        "release_message_bytes": max(sizes["release"]),
        "up": statistics.mean(sizes["update"]),
        "down": statistics.mean(sizes["head"]),
    }


def _replay(path: Path, fleet: FleetData, machine: str, rounds: int) -> list[object]:
    """Options of an agent that learns on the machine's local windows, as the protocol has it."""
    labels = np.array([recording.label for recording in fleet.machines[machine].recordings()])
    normal = np.flatnonzero(labels == 0)
    return [
        *("--device", machine, "--data", path, "--speed", 0, "--skip", int(normal[0]), "--exit-at-end"),
        *("--learn-windows", local_windows(len(normal)), "--hold-for-revision", rounds),
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
