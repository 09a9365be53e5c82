"""The trainings of the peers, each in a process of its own that ends with the benchmark."""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.stoll.inputs import PEERS
from benchmarks.stoll.worker import Job
from fedtiny.child import start_child, stop_child

TRAININGS = {  # (peer, federated)
    "stoll_federated": ("stoll", True),
    "stoll_central": ("stoll", False),
    "bands_federated": ("stoll_bands", True),
    "bands_central": ("stoll_bands", False),
    "ahmad_central": ("ahmad", False),
}
TRANSFERRED = ("stoll_federated", "bands_federated", "ahmad_central")


def jobs(path: Path, machines: list[str], left_out: list[str], alone: str, most: int | None) -> dict[str, Job]:
    """All trainings by name, the longest first.

    alone: the machine that is one client of its own, for what a client costs. most: epochs that none goes beyond.
    """
    found = {}
    for name, (peer, federated) in TRAININGS.items():
        epochs = min(PEERS[peer].epochs, most or PEERS[peer].epochs)
        whole = Job(str(path), peer, federated, tuple(machines), tuple(machines), epochs)
        found[name] = whole
        if federated:
            found[f"{name} client"] = replace(whole, train=(alone,), score=(alone,))
        for out in left_out if name in TRANSFERRED else ():
            others = tuple(machine for machine in machines if machine != out)
            found[f"{name} without {out}"] = replace(whole, train=others, score=(out,))
    return dict(sorted(found.items(), key=lambda item: -len(item[1].train) * (1 + (item[1].peer == "ahmad"))))


def run_all(commands: Mapping[str, list[str]], at_once: int) -> dict[str, Any]:
    """What each command prints, one JSON each, ``at_once`` of them at a time; none is left running, whatever comes."""
    waiting, found = dict(commands), {}
    running: dict[str, subprocess.Popen[bytes]] = {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        while waiting or running:
            while waiting and len(running) < at_once:
                name = next(iter(waiting))
                with (folder / f"{name}.json").open("wb") as out, (folder / f"{name}.log").open("wb") as log:
                    running[name] = start_child(waiting.pop(name), stdout=out, stderr=log)
                stack.callback(stop_child, running[name])
            time.sleep(0.05)
            for name in [name for name, process in running.items() if process.poll() is not None]:
                if code := running.pop(name).returncode:
                    said = (folder / f"{name}.log").read_text(errors="replace")[-2000:]
                    sys.exit(f"{name}: the process ended with {code}:\n{said}")
                found[name] = json.loads((folder / f"{name}.json").read_bytes())
    return found
