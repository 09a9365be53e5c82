"""Flower's side of ``bench``: a SuperLink, a SuperNode a client, and the app of ``benchmarks/flower/app``.

As its documentation starts a deployment (flower.ai, "Run Flower with the Deployment Runtime"), without TLS, in
subprocess isolation, its default; from a virtual environment of its own. It reports nothing and downloads nothing:
telemetry, the check for updates and the installation of dependencies at run time are off. A round lasts from the
aggregated head of the one before it to its own, in the ServerApp.
"""

import os
import shutil
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

import numpy as np

from benchmarks.common import RESULTS
from benchmarks.flower.fleet import Fleet
from benchmarks.flower.side import WARM_UP, Instant, Side
from benchmarks.shared.proxy import Proxy
from benchmarks.shared.site import free_port
from benchmarks.shared.tree import Tree, end
from fedtiny.child import start_child

ROOT = RESULTS.parents[1]
BIN = ROOT / ".venv-flower" / "bin"
APP = ROOT / "benchmarks" / "flower" / "app"
START_S, ROUND_S, IDLE_S = 120.0, 90.0, 32.0  # a heartbeat every 30 s
LINK = '[superlink]\ndefault = "bench"\n\n[superlink.bench]\naddress = "127.0.0.1:{port}"\ninsecure = true\n'
QUIET = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "NO_PROXY": "127.0.0.1",
    "OPENBLAS_NUM_THREADS": "1",
    "PATH": f"{BIN}:{os.environ.get('PATH', '')}",
}


def version() -> str:
    """Of the Flower in its environment; ends the program with one line where there is none."""
    found = sorted(BIN.parent.glob("lib/python*/site-packages/flwr-*.dist-info"))
    if not found or not (BIN / "flower-superlink").exists():
        sys.exit("Flower is not installed in .venv-flower: make .venv-flower/.ready")
    return found[-1].name.split("-")[1].removesuffix(".dist")


class Flower:
    """A context manager: its processes live from ``run`` to the end of it."""

    def __init__(self, folder: Path, fleet: Fleet, proximal: float, rounds: int) -> None:
        self._folder, self._fleet, self._rounds = folder, fleet, rounds
        self._data = fleet.write(folder, proximal)
        self._out = folder / "out"
        self._out.mkdir()
        self._environment = QUIET | {"FLWR_HOME": str(folder / "home")}
        self._pids: list[int] = []
        self._stack = ExitStack()
        self.side = Side(len(fleet.devices))

    def __enter__(self) -> "Flower":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        end(self._pids)
        self._stack.close()

    def run(self) -> None:
        """Start everything and go through all rounds; the processes stay, idle."""
        side, began = self.side, time.time()
        port, nodes = free_port(), len(self._data)
        self._start("superlink", "flower-superlink", "--port", port, "--disable-runtime-dependency-installation")
        self._await("superlink", "Uvicorn running", START_S)
        self._proxy = self._stack.enter_context(Proxy(behind := free_port(), port))
        clients = []
        for data in self._data:
            link = ("--superlink", f"127.0.0.1:{behind}", "--port", free_port(), "--node-config", f'data="{data}"')
            clients.append(self._start(data.stem, "flower-supernode", *link))
        for data in self._data:
            self._await(data.stem, "SuperNode ID", START_S)
        self._await(self._data[-1].stem, "Starting Flower SuperExec", START_S)
        self._client = Tree(clients[0])
        side.memory_idle = self._client.memory()
        np.save(self._out / "0.npy", self._fleet.release.head.weights)
        self._submit(port, f'rounds={self._rounds} clients={nodes} out="{self._out}"')
        self._heads(1, START_S)
        with self._client as client:
            for number in (WARM_UP, self._rounds):
                self._heads(number + 1, ROUND_S * self._rounds)
                side.counted.append(self._now())
        side.memory_peak = client.peak
        lines = (self._out / "times.csv").read_text().splitlines()
        side.bounds = [float(line.split(",")[1]) for line in lines]
        side.start_s = side.bounds[0] - began
        side.heads = [self._fleet.head(np.load(self._out / f"{n}.npy")) for n in range(1, self._rounds + 1)]

    def stay_idle(self) -> None:
        """The idle span."""
        self.side.idle.append(self._now())
        time.sleep(IDLE_S)
        self.side.idle.append(self._now())

    def _start(self, name: str, program: str, *arguments: object) -> int:
        settings = [f"{key}={value}" for key, value in self._environment.items()]
        command = ["/usr/bin/env", *settings, str(BIN / program), "--insecure", *map(str, arguments)]
        with (self._folder / f"{name}.log").open("wb") as log:
            process = start_child(command, stdout=log, stderr=log, cwd=self._folder)
        self._pids.append(process.pid)
        return process.pid

    def _submit(self, port: int, settings: str) -> None:
        """``flwr run``: builds the app's bundle here and hands it to the SuperLink."""
        home = Path(self._environment["FLWR_HOME"])
        home.mkdir(exist_ok=True)
        (home / "config.toml").write_text(LINK.format(port=port))
        app = shutil.copytree(APP, self._folder / "app", ignore=shutil.ignore_patterns("__pycache__"))
        command = [str(BIN / "flwr"), "run", str(app), "bench", "--run-config", settings]
        done = subprocess.run(
            command, env=os.environ | self._environment, cwd=self._folder, capture_output=True, text=True, check=False
        )
        if done.returncode:
            sys.exit(f"Flower: flwr run failed: {' '.join((done.stderr + done.stdout).split())[-300:]}")

    def _await(self, name: str, words: str, within_s: float) -> None:
        """Until a process has said ``words``."""
        log, until = self._folder / f"{name}.log", time.monotonic() + within_s
        while words not in (said := log.read_text(errors="replace")):
            if time.monotonic() > until:
                sys.exit(f"Flower: {name} did not start in {within_s:.0f} s: {said.strip().splitlines()[-1:]}")
            time.sleep(0.05)

    def _heads(self, count: int, within_s: float) -> None:
        """Until so many heads are there, the first one among them."""
        times, until = self._out / "times.csv", time.monotonic() + within_s
        while not times.exists() or times.read_text().count("\n") < count:
            if time.monotonic() > until:
                log = (self._folder / "superlink.log").read_text(errors="replace")
                sys.exit(f"Flower: round {count - 1} did not end in {within_s:.0f} s: {log.splitlines()[-1:]}")
            time.sleep(0.05)

    def _now(self) -> Instant:
        return Instant(time.time(), dict(self._proxy.carried), self._client.cpu_s())
