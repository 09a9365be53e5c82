"""Our side of ``bench``: embedded broker, coordinator and an agent a device, as a person would start them.

A round lasts from its opening to the opening of the next one, which follows without a pause; the last one to its head
in use on all devices. No window is scored meanwhile: the agents have learned their machines and stand still, so that
what passes is federation and heartbeats.
"""

import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from subprocess import Popen
from types import TracebackType

from benchmarks.flower.fleet import Fleet
from benchmarks.flower.side import WARM_UP, Instant, Side
from benchmarks.hardship.overhead import NEVER, Stopwatch
from benchmarks.shared.proxy import Proxy
from benchmarks.shared.site import free_port
from benchmarks.shared.tree import Tree
from fedtiny import config
from fedtiny.broker import EmbeddedBroker
from fedtiny.child import start_child, stop_child
from fedtiny.config import load_config
from fedtiny.model.head import Head
from fedtiny.protocol.messages import HeadMessage
from fedtiny.provisioning.folder import staff_config
from fedtiny.revision import from_message
from fedtiny.transport import Received

NAME, START_S, ROUND_S = "bench", 60.0, 5.0


class Heads(Stopwatch):
    """Keeps every revision's head beside the times."""

    def __init__(self, broker: config.Broker, fleet: Fleet) -> None:
        self.found: dict[int, Head] = {}
        self._release = fleet.release
        super().__init__(broker, NAME, len(fleet.devices))

    def _take_head(self, message: HeadMessage, event: Received) -> None:
        super()._take_head(message, event)
        self.found[message.revision] = from_message(message, self._release)


class Ours:
    """A context manager: everything runs from ``run`` to the end of it."""

    def __init__(self, folder: Path, release: Path, data: Path | None, fleet: Fleet, rounds: int) -> None:
        self._folder, self._release, self._data, self._fleet, self._rounds = folder, release, data, fleet, rounds
        self.side = Side(len(fleet.devices))
        self._stack = ExitStack()

    def __enter__(self) -> "Ours":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def run(self) -> None:
        """Start everything and go through all rounds; the processes stay, idle."""
        side, began = self.side, time.monotonic()
        broker = self._stack.enter_context(EmbeddedBroker(self._folder / "broker"))
        self._proxy = self._stack.enter_context(Proxy(free := free_port(), broker.port))
        count = side.clients
        rounds = {"rounds": self._rounds, "quorum": count, "devices": count}
        staff, devices = self._folder / "staff.toml", self._folder / "devices.toml"
        staff.write_text(staff_config(NAME, broker={"port": broker.port}, coordinator=rounds))
        devices.write_text(staff_config(NAME, broker={"port": free}))
        watch = Heads(load_config(staff).broker, self._fleet)
        self._stack.callback(watch.close)
        self._start("coordinator", "coordinator", "--release", self._release, settings=staff)
        agents = [self._agent(one.name, one.skip, len(one.data.local), devices) for one in self._fleet.devices]
        self._client = Tree(agents[0].pid)
        self._wait(watch, 1, opened=True, within_s=START_S)
        side.start_s = watch.opened[1] - began
        side.memory_idle = self._client.memory()
        with self._client as client:
            for revision in (WARM_UP, self._rounds):
                self._wait(watch, revision, opened=False, within_s=ROUND_S * self._rounds)
                side.counted.append(self._now())
        side.memory_peak = client.peak
        side.idle.append(self._now())
        last = range(1, self._rounds + 1)
        side.bounds = [*(watch.opened[revision] for revision in last), watch.done[self._rounds]]
        side.heads = [watch.found[revision] for revision in last]

    def idled(self) -> None:
        """The idle span ends here."""
        self.side.idle.append(self._now())

    def _agent(self, name: str, skip: int, learn: int, settings: Path) -> "Popen[bytes]":
        play: Sequence[object] = ("--speed", 0, "--skip", skip, "--learn-windows", learn, "--hold-for-revision", NEVER)
        data = () if self._data is None else ("--data", self._data)
        return self._start(name, "edge", "run", "--device", name, *play, *data, settings=settings)

    def _start(self, name: str, *arguments: object, settings: Path) -> "Popen[bytes]":
        where = ("--config", settings, "--state", self._folder / "states" / name)
        command = [sys.executable, "-m", "fedtiny.cli", *map(str, arguments + where)]
        with (self._folder / f"{name}.log").open("wb") as log:
            process = start_child(command, stdout=log, stderr=log)
        self._stack.callback(stop_child, process)
        return process

    def _now(self) -> Instant:
        return Instant(time.monotonic(), dict(self._proxy.carried), self._client.cpu_s())

    def _wait(self, watch: Heads, revision: int, *, opened: bool, within_s: float) -> None:
        times = watch.opened if opened else watch.done
        if not watch.wait(lambda: revision in times, within_s):
            what = "was not opened" if opened else "did not end"
            said = (self._folder / "coordinator.log").read_text(errors="replace").splitlines()[-1:]
            sys.exit(f"fedtiny: round {revision} {what} in {within_s:.0f} s; the coordinator's last words: {said}")
