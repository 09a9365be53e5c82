"""Thirty agents, a coordinator and a broker that are killed at random over a bad network: do the books balance?

Real processes with certificates and signatures, agents behind a TCP proxy of ours that cuts, swallows, half closes and
slows down their connections. After some minutes of that all is left alone, the head is pinned so that there is a
newest one, and everything is counted: see ``books``. Run it with ``python -m benchmarks.hardship.chaos``.
"""

import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Any

from benchmarks.common import write_results
from benchmarks.hardship.books import audit, missing, waits
from benchmarks.hardship.soak import resident_mb
from benchmarks.shared.observer import Observer
from benchmarks.shared.proxy import Proxy, Trouble
from benchmarks.shared.site import FLEET, Site, free_port, train_release
from fedtiny.child import stop_child

SEED, AGENTS, CHAOS_S = 17, 30, 210.0
STAGGER_S = 1.0  # between two starts: an agent's imports take a core for so long
READY_S, QUIET_S = 90.0, 150.0  # at most, for the beginning and the end; with the rest under ten minutes
EVERY_S = (0.5, 3.0)  # between two blows
AWAY_S = 4.0  # at most that a killed process stays away
TROUBLE_S = (3.0, 15.0)  # of a bad network
TROUBLED = 8  # connections at most, at a time
BLOWS = {"agent": 40, "coordinator": 8, "broker": 5, "cut": 14, "black hole": 9, "half open": 9, "slow": 15}
TROUBLES: tuple[Trouble, ...] = ("cut", "black hole", "half open", "slow")
COORDINATOR = {"rounds": 0, "quorum": 15, "devices": 15, "deadline_s": 15.0, "pause_s": 1.0}
DELIVERED = re.compile(r"round \d+: update ([0-9a-f]{12}) delivered")


class Chaos:
    """A site, its processes, and what was done to them.

    Attributes:
        blows: How many of each kind there were.
        troubled: How many connections suffered from each kind of bad network.
        falls: When the coordinator died or lost its broker, seconds since 1970.
    """

    def __init__(self, folder: Path, release: Path, stack: ExitStack, seed: int = SEED) -> None:
        self._chance, self._release = random.Random(seed), release
        self.agents = [f"pump-{number:02}" for number in range(1, AGENTS + 1)]
        port = free_port()
        source, edge = {"repeat": 0, "speed": 1.0}, {"learn_windows": 30}
        self.site = Site(
            folder, self.agents, secured=True, device_port=port, coordinator=COORDINATOR, edge=edge, source=source
        )
        stack.enter_context(self.site.broker)
        self._proxy = stack.enter_context(Proxy(port, self.site.broker.port))
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        stack.callback(self._stop)
        self.observer = Observer(self.site.observers_way, FLEET)
        stack.callback(self.observer.close)
        self.blows: Counter[str] = Counter()
        self.troubled: Counter[str] = Counter()
        self.falls: list[float] = []
        self._to_start: list[tuple[float, str]] = []

    def begin(self) -> bool:
        """Everything up, and every agent watching its machine."""
        self._start("coordinator")
        for agent in self.agents:
            self._start(agent)
            self.observer.read(STAGGER_S)
        watching = self._all(lambda status: status.phase == "watching")
        return self.observer.wait(watching, READY_S)

    def rage(self, seconds: float) -> None:
        """Blow after blow."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self._pass(self._chance.uniform(*EVERY_S))
            (what,) = self._chance.choices(list(BLOWS), list(BLOWS.values()))
            self._strike(what)
        self._proxy.heal()
        self._pass(AWAY_S)

    def settle(self) -> bool:
        """The head pinned; whether every agent comes to it and all that was delivered is in the ledger."""
        self.site.order("head", "pin", "--wait", "30")
        newest = self._all(lambda status: status.base.revision == self.observer.newest)
        return self.observer.wait(lambda: newest() and not missing(self.site.state, self.delivered()), QUIET_S)

    def _all(self, holds: Callable[[Any], bool]) -> Callable[[], bool]:
        """A function: whether every agent is online and its newest status holds."""

        def found() -> bool:
            statuses = [self.observer.statuses.get(agent) for agent in self.agents]
            return all(status and status.state == "online" and status.base and holds(status) for status in statuses)

        return found

    def behind(self) -> int:
        """How many agents are not on the newest revision, as a newcomer is told."""
        newcomer = Observer(self.site.observers_way, FLEET, "newcomer")
        newcomer.wait(lambda: newcomer.statuses.keys() >= set(self.agents), 10.0)
        newcomer.close()
        bases = [status.base for status in newcomer.statuses.values() if status.state == "online"]
        return AGENTS - sum(base is not None and base.revision == newcomer.newest for base in bases)

    def delivered(self) -> set[str]:
        """What the agents know to be at the broker."""
        return {digits for agent in self.agents for digits in DELIVERED.findall(self.site.log(agent))}

    def absences(self) -> Iterator[tuple[float, float]]:
        """When the coordinator was dead or without broker, from each fall to the next "connected" in its log."""
        lines = [line for line in self.site.log("coordinator").splitlines() if " connected to " in line]
        times = [datetime.strptime(line[:23], "%Y-%m-%d %H:%M:%S,%f").timestamp() for line in lines]
        end = 0.0
        for fall in sorted(self.falls):
            if fall >= end:
                end = min((at for at in times if at > fall), default=time.time())
                yield fall, end

    def _strike(self, what: str) -> None:
        if what in TROUBLES:
            trouble: Trouble = next(one for one in TROUBLES if one == what)
            links = self._proxy.trouble(
                trouble, self._chance.randint(1, TROUBLED), self._chance.uniform(*TROUBLE_S), self._chance
            )
            self.troubled[what] += links
        else:
            name = self._chance.choice(self.agents) if what == "agent" else what
            if name in (waiting for _, waiting in self._to_start):
                return  # dead already
            self._kill(name)
            self._to_start.append((time.monotonic() + self._chance.uniform(0, AWAY_S), name))
        self.blows[what] += 1

    def _kill(self, name: str) -> None:
        if name in ("coordinator", "broker"):
            self.falls.append(time.time())
        if name == "broker":
            assert self.site.broker.pid is not None
            os.kill(self.site.broker.pid, signal.SIGKILL)
            self.site.broker.wait()
        else:
            self.processes[name].kill()
            self.processes[name].wait()

    def _start(self, name: str) -> None:
        if name == "broker":
            self.site.broker.start()
            self.observer.reconnect()
        elif name == "coordinator":
            self.processes[name] = self.site.start_coordinator(self._release)
        else:
            self.processes[name] = self.site.start_agent(name)

    def _pass(self, seconds: float) -> None:
        """Let time go by, in which those that are due come back."""
        until = time.monotonic() + seconds
        while (now := time.monotonic()) < until:
            for name in [name for due, name in self._to_start if due <= now]:
                self._start(name)
            self._to_start = [one for one in self._to_start if one[0] > now]
            self.observer.read(0.1)

    def _stop(self) -> None:
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            stop_child(process)


def run_chaos(folder: Path, release: Path, seconds: float) -> dict[str, Any]:
    """The figures, and under "wrong" how many things are not as they should be."""
    with ExitStack() as stack:
        chaos = Chaos(folder, release, stack)
        began = time.monotonic()
        ready = chaos.begin()
        print(
            f"{AGENTS} agents {'watch' if ready else 'are NOT ready'} after {time.monotonic() - began:.0f} s",
            flush=True,
        )
        chaos.rage(seconds)
        print(f"blows: {dict(chaos.blows)}; quiet now", flush=True)
        calm = time.monotonic()
        settled = chaos.settle()
        quiet_s = time.monotonic() - calm
        print(f"{'settled' if settled else 'NOT settled'} after {quiet_s:.0f} s", flush=True)
        ended = sum(process.poll() is not None for process in chaos.processes.values())
        memory, peak = resident_mb(chaos.processes["coordinator"].pid)
        agents = [resident_mb(chaos.processes[agent].pid)[1] for agent in chaos.agents]
        waited, behind = waits(chaos.site.state, chaos.absences()), chaos.behind()
        found = audit(chaos.site.state, chaos.delivered(), chaos.observer)
        rejected: Counter[str] = Counter()
        for status in chaos.observer.statuses.values():
            rejected.update(status.rejected)
    found["wrong"] |= {
        "agents_not_ready": int(not ready),
        "agents_behind_the_newest_revision": behind,
        "rounds_past_their_deadline": sum(wait.overdue for wait in waited),
        "processes_that_ended_by_themselves": ended,
    }
    return {
        "agents": AGENTS,
        "chaos_s": seconds,
        "quiet_after_s": round(quiet_s, 1),
        "kills": {name: chaos.blows[name] for name in ("agent", "coordinator", "broker")},
        "connections_troubled": {name: chaos.troubled[name] for name in TROUBLES},
        "newest_revision": chaos.observer.newest,
        "refused_by_agents_since_their_last_start": dict(rejected),
        "coordinator_rss_mb": round(memory, 1),
        "coordinator_peak_rss_mb": round(peak, 1),
        "agent_peak_rss_mb_most": round(max(agents), 1),
        "longest_beyond_a_deadline": vars(max(waited, key=lambda wait: wait.beyond_s)),
    } | found


def main() -> None:
    """Train a small release, rage, print and write the figures."""
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        found = run_chaos(Path(name), train_release(Path(name)), CHAOS_S)
    for key, value in found.items():
        if key != "wrong":
            print(f"      {key.replace('_', ' '):44} {value}")
    for key, value in found["wrong"].items():
        print(f"{'SHORT' if value else 'met  '} {key.replace('_', ' '):44} {value}")
    took = {"wall_s": round(time.monotonic() - began, 1)}
    print(write_results("chaos", {"seed": SEED, "settings": COORDINATOR} | found | took))
    if any(found["wrong"].values()):
        sys.exit("SHORT: the books do not balance")


if __name__ == "__main__":
    main()
