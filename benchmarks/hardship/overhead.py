"""How long a round takes when nobody has anything to compute: from its opening to its head in use on all devices.

Ten real agents that have learned their machines and stand still, a real coordinator and the embedded broker on
loopback; once plain, once with TLS, signed global state and signed updates. One observer at the broker takes both
times: when the message of the open round comes, and when the last of the ten statuses comes that names the new
revision, or a later one where a device has passed it over: such a round counts, and as overtaken. Inside: the
fine-tuning of the head on 40 windows by every agent, its trial on windows kept out, both kept on disk; ten updates
judged and kept, aggregated, the head signed, kept and sent; all of it twelve processes on the cores of one machine.
Outside: the coordinator's pause until the next round. Run it with ``python -m benchmarks.hardship.overhead``.
"""

import os
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from math import inf
from pathlib import Path
from typing import Any

from benchmarks.common import write_results
from benchmarks.shared.observer import Observer
from benchmarks.shared.site import FLEET, Site, train_release
from fedtiny import config
from fedtiny.child import stop_child
from fedtiny.protocol.messages import RoundMessage
from fedtiny.transport import Event

AGENTS, ROUNDS, WARM_UP = 10, 40, 3
PAUSE_S = 0.5
WITHIN_S = 240.0
AIM_S, FLOWER_S = 0.5, 9.6  # the latter: median of Flower 1.41, 2 clients, a model of 17 kB, loopback
COORDINATOR = {"rounds": 0, "quorum": AGENTS, "devices": AGENTS, "deadline_s": 60.0, "pause_s": PAUSE_S}
NEVER = 10**9  # revisions


class Stopwatch(Observer):
    """Notes when rounds open, when their heads come, and when each of ``agents`` devices is on them."""

    def __init__(self, broker: config.Broker, fleet: str = FLEET, agents: int = AGENTS) -> None:
        self._agents = agents
        self.opened: dict[int, float] = {}  # by the revision that the round is to make
        self._headed: dict[int, float] = {}
        self.done: dict[int, float] = {}
        super().__init__(broker, fleet)

    def _take_round(self, message: RoundMessage) -> None:
        super()._take_round(message)
        if message.state == "open":
            self.opened.setdefault(message.base.revision + 1, time.monotonic())

    def _take(self, event: Event) -> None:
        super()._take(event)
        now = time.monotonic()
        if self.newest:
            self._headed.setdefault(self.newest, now)
        bases = [status.base for status in self.statuses.values() if status.base]
        lowest = min(base.revision for base in bases) if len(bases) == self._agents else 0
        for revision in [one for one in self._headed.keys() - self.done.keys() if one <= lowest]:
            self.done[revision] = now

    @property
    def timed(self) -> list[int]:
        """The revisions of the rounds behind the warm-up, so far."""
        return sorted(self.done.keys() & self.opened.keys())[WARM_UP : WARM_UP + ROUNDS]

    def seconds(self, ends: str) -> list[float]:
        """Of each round, from its opening to "head" or "done"."""
        end = {"head": self._headed, "done": self.done}[ends]
        return [end[revision] - self.opened[revision] for revision in self.timed]

    @property
    def overtaken(self) -> int:
        """Rounds whose head was in use on all devices only after the next one was out."""
        return sum(self.done[one] > self._headed.get(one + 1, inf) for one in self.timed)


def measure(folder: Path, release: Path, *, secured: bool) -> dict[str, float]:
    """Seconds of a round: median, spread, and the median until the head is out."""
    folder.mkdir()
    devices = [f"pump-{number:02}" for number in range(1, AGENTS + 1)]
    edge, source = {"learn_windows": 40}, {"speed": 0.0}
    with ExitStack() as stack:
        site = Site(folder, devices, secured=secured, coordinator=COORDINATOR, edge=edge, source=source)
        stack.enter_context(site.broker)
        watch = Stopwatch(site.observers_way)
        stack.callback(watch.close)
        stack.callback(stop_child, site.start_coordinator(release))
        for device in devices:
            stack.callback(stop_child, site.start_agent(device, "--hold-for-revision", str(NEVER)))
        if not watch.wait(lambda: len(watch.timed) == ROUNDS, WITHIN_S):
            sys.exit(f"{len(watch.timed)} rounds in {WITHIN_S:.0f} s, expected {ROUNDS}")
        whole, head = watch.seconds("done"), watch.seconds("head")
    tenths = statistics.quantiles(whole, n=10)
    return {
        "rounds": len(whole),
        "rounds_overtaken": watch.overtaken,
        "median_s": statistics.median(whole),
        "p10_s": tenths[0],
        "p90_s": tenths[-1],
        "most_s": max(whole),
        "median_until_head_s": statistics.median(head),
    }


def main() -> None:
    """Train a small release, measure, print and write the figures."""
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    results: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as name:
        release = train_release(Path(name))
        for kind, secured in (("plain", False), ("secured", True)):
            results[kind] = measure(Path(name) / kind, release, secured=secured)
    for kind, one in results.items():
        met = "met  " if one["median_s"] < AIM_S else "SHORT"
        print(
            f"{met} {kind:8} median {one['median_s']:.3f} s (p10 {one['p10_s']:.3f}, p90 {one['p90_s']:.3f}, most "
            f"{one['most_s']:.3f}; head out after {one['median_until_head_s']:.3f}), at most {AIM_S} s; "
            f"{AGENTS} agents, {one['rounds']} rounds, {one['rounds_overtaken']} of them overtaken by the next"
        )
    print(f"      Flower 1.41: median {FLOWER_S} s with 2 clients")
    context: dict[str, Any] = {"load": os.getloadavg(), "agents": AGENTS}
    print(write_results("overhead", context | results | {"flower_median_s": FLOWER_S}))
    if any(one["median_s"] >= AIM_S for one in results.values()):
        sys.exit("SHORT: a round takes too long")


if __name__ == "__main__":
    main()
