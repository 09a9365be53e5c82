"""How many devices does one coordinator carry? 100 to 5,000 of them over a real broker, answering at once.

The devices are light (``swarm``): a connection each, the messages of an agent, no model. Coordinator and
broker are the real ones. A delta is 20 kB, and every device sends it as soon as the round comes to it. Taken for each
round: how long sending took; how long after the last update was sent the new head had come to every device; where the
time goes; CPU and memory of coordinator and broker. After the last round every update that the broker has acknowledged
is looked up in the ledger by its digest. Devices, broker and coordinator share the cores of one machine.
5,000 are for Mosquitto alone: when as many answer in one instant, the embedded broker delivers again and again what
it has delivered, rounds take a minute and more, and a head did not come to all. Run it with
``python -m benchmarks.scale.bench``, or with ``--quick`` for two small fleets and nothing written.
"""

import os
import re
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from itertools import pairwise
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Literal, NoReturn

import numpy as np

from benchmarks.common import Floor, spread, write_results
from benchmarks.scale.swarm import FLEET, FORKS, Seen, Share, swarm
from benchmarks.shared import mosquitto, program
from benchmarks.shared.meter import Meter
from benchmarks.shared.mosquitto import Mosquitto
from benchmarks.shared.site import train_release
from fedtiny.broker import EmbeddedBroker
from fedtiny.child import start_child, stop_child
from fedtiny.ledger import Ledger
from fedtiny.provisioning.folder import staff_config

BANDS, HIDDEN = 150, [64, 16, 64]  # of two channels: a head of 300 outputs from 64 units
PROCESSES = 2  # of devices
PAUSE_S = 0.5
WITHIN_S = 300.0  # for all devices to connect, and for a round
AFTER_UPLOAD_S = 2.0  # asked for, at 1,000 devices
BYTES_A_DEVICE = 2000.0  # of the coordinator's memory: our own bound for "does not grow with the devices"
STEPS = ("uploads", "intake", "head", "delivery")
GROUPS = ("coordinator", "broker", "devices")


@dataclass(frozen=True)
class Case:
    """One fleet and how it is federated. The first round is not counted: everything is cold."""

    devices: int
    broker: Literal["embedded", "mosquitto"] = "embedded"
    strategy: str = "fedavg"
    screening: bool = True
    rounds: int = 8


FULL = (
    Case(100),
    Case(1000),
    Case(1000, screening=False),
    Case(1000, "mosquitto"),
    Case(2000, rounds=5),
    Case(5000, "mosquitto", rounds=6),
    Case(100, strategy="ridge", rounds=6),
    Case(1000, strategy="ridge", rounds=3),
)
QUICK = (Case(100, rounds=3), Case(300, rounds=3))


@dataclass(frozen=True)
class Round:
    """Instants of one round, s of time.monotonic(): the ends of ``STEPS``, one after the other, behind ``opened``."""

    opened: float
    sent: float  # the last update
    taken: float  # all updates in the ledger
    made: float  # the head in the ledger
    headed: float  # the last device has it

    @property
    def steps(self) -> list[float]:
        """How long each of ``STEPS`` took, s."""
        instants = (self.opened, self.sent, self.taken, self.made, self.headed)
        return [end - begin for begin, end in pairwise(instants)]


class Run:
    """A fleet at work below ``folder``: the coordinator and the swarm on a broker that runs."""

    def __init__(self, folder: Path, release: Path, case: Case, port: int, stack: ExitStack) -> None:
        self.state, self._log, self._case = folder / "coordinator", folder / "coordinator.log", case
        settings: dict[str, Any] = {"strategy": case.strategy, "screening": case.screening, "rounds": case.rounds}
        settings |= {"quorum": case.devices, "devices": case.devices, "deadline_s": WITHIN_S, "pause_s": PAUSE_S}
        text = staff_config(FLEET, broker={"port": port}, coordinator=settings)
        (folder / "fedtiny.toml").write_text(text)
        where = ["--config", str(folder / "fedtiny.toml"), "--state", str(self.state), "--release", str(release)]
        with self._log.open("wb") as log:
            command = [sys.executable, "-m", "fedtiny.cli", "coordinator", *where, "--log-level", "info"]
            self._process = start_child(command, stdout=log, stderr=log)
        stack.callback(stop_child, self._process)
        self.pid = self._process.pid
        self._pipes: list[Connection] = []
        self.swarm_pids: list[int] = []
        for number in range(PROCESSES):
            ours, theirs = FORKS.Pipe()
            kind: Literal["delta", "statistics"] = "statistics" if case.strategy == "ridge" else "delta"
            share = Share(port, release, case.devices, number, PROCESSES, kind)
            process = FORKS.Process(target=swarm, args=(share, theirs), daemon=True)
            process.start()
            theirs.close()
            stack.callback(process.join)
            stack.callback(process.kill)
            stack.callback(ours.close)
            assert process.pid is not None
            self._pipes.append(ours)
            self.swarm_pids.append(process.pid)

    def heard(self) -> list[Any]:
        """The next word of every process of devices."""
        until, said = time.monotonic() + WITHIN_S, dict[Connection, Any]()
        while len(said) < len(self._pipes):
            waiting = [pipe for pipe in self._pipes if pipe not in said]
            speaking = wait(waiting, timeout=min(1.0, max(0.0, until - time.monotonic())))
            for pipe in speaking:
                assert isinstance(pipe, Connection)
                try:
                    said[pipe] = pipe.recv()
                except (EOFError, ConnectionError):
                    self._give_up("a process of devices has ended")
            if not speaking and self._process.poll() is not None:
                self._give_up("the coordinator has ended")
            if not speaking and time.monotonic() > until:
                self._give_up(f"nothing has come in {WITHIN_S:.0f} s")
        return list(said.values())

    def _give_up(self, why: str) -> NoReturn:
        last = self._log.read_text(errors="replace").strip().splitlines()[-1:] or ["nothing"]
        sys.exit(f"{self._case.devices} devices: {why}; the coordinator's last words: {last[0]}")

    def instant(self, words: str) -> float:
        """When the log says ``words``, s of time.monotonic()."""
        found = re.search(rf"^(\S+ \S+),(\d+) INFO {words}", self._log.read_text(), re.MULTILINE)
        assert found is not None, words
        then = datetime.fromisoformat(found[1]).timestamp() + int(found[2]) / 1000
        return then - time.time() + time.monotonic()

    def missing(self, digests: set[str]) -> int:
        """Of the updates with these digests, those that the ledger has not as used."""
        with closing(Ledger(self.state, guest=True)) as ledger:
            used = {digest for (digest,) in ledger.execute("SELECT digest FROM updates WHERE fate = 'used'")}
        return len(digests - used)


def measure(folder: Path, release: Path, case: Case) -> dict[str, Any]:
    """The figures of one fleet."""
    folder.mkdir()
    began = time.monotonic()
    with ExitStack() as stack:
        embedded = case.broker == "embedded"
        broker = EmbeddedBroker(folder / "broker") if embedded else Mosquitto(folder / "broker")
        stack.enter_context(broker)
        assert broker.pid is not None
        run = Run(folder, release, case, broker.port, stack)
        pids = {"coordinator": [run.pid], "broker": [broker.pid], "devices": run.swarm_pids}
        meter = stack.enter_context(Meter(pids))
        run.heard()
        ready_s = time.monotonic() - began
        before = {name: meter.memory_mb(name) for name in GROUPS}
        seen: list[list[Seen]] = [run.heard() for _ in range(case.rounds)]
        after = {name: meter.memory_mb(name) for name in GROUPS}
        rounds = [_round(run, shares, number) for number, shares in enumerate(seen, 1)][1:]
        peak = dict(meter.peak_mb)
        cpu = {name: [meter.cpu_s(name, one.opened, one.headed) for one in rounds] for name in GROUPS}
    digests = {digest.hex() for shares in seen for share in shares for digest in share.digests}
    whole = [one.headed - one.opened for one in rounds]
    return asdict(case) | {
        "update_bytes": seen[0][0].update_bytes,
        "head_bytes": seen[0][0].head_bytes,
        "round_s": spread(whole),
        "after_last_upload_s": spread([one.headed - one.sent for one in rounds]),
        "steps_s": dict(zip(STEPS, np.median([one.steps for one in rounds], axis=0).tolist(), strict=True)),
        "cpu_s_a_round": {name: float(np.median(used)) for name, used in cpu.items()},
        "cores": {name: float(np.median(np.array(used) / whole)) for name, used in cpu.items()},
        "memory": {
            name: {"before_" + key: value for key, value in before[name].items()}
            | {"after_" + key: value for key, value in after[name].items()}
            | {"peak_rss_mb": peak[name]}
            for name in GROUPS
        },
        "until_all_are_ready_s": ready_s,
        "acknowledged": len(digests),
        "missing": run.missing(digests),
        "thrown_out": sum(share.thrown_out for shares in seen for share in shares),
        "subscriptions_refused": sum(share.refused for shares in seen for share in shares),
    }


def _round(run: Run, shares: list[Seen], number: int) -> Round:
    return Round(
        opened=min(min(share.opened) for share in shares),
        sent=max(max(share.sent) for share in shares),
        taken=run.instant(f"round {number}: combining"),
        made=run.instant(rf"round {number}: \d+ devices"),
        headed=max(max(share.headed) for share in shares),
    )


def slopes(cases: list[dict[str, Any]]) -> dict[str, float]:
    """What one device more costs, by least squares over the fleets of the default strategy.

    On the embedded broker; of the coordinator's memory, which is the same whatever the broker, over all of them.
    """
    shipped = [one for one in cases if one["strategy"] == "fedavg" and one["screening"]]
    embedded = [one for one in shipped if one["broker"] == "embedded"]

    def slope(of: list[dict[str, Any]], figure: Callable[[dict[str, Any]], float]) -> float:
        return float(np.polyfit([one["devices"] for one in of], [figure(one) for one in of], 1)[0])

    return {
        "round_ms": 1e3 * slope(embedded, lambda one: one["round_s"]["median"]),
        "after_last_upload_ms": 1e3 * slope(embedded, lambda one: one["after_last_upload_s"]["median"]),
        "coordinator_cpu_ms": 1e3 * slope(embedded, lambda one: one["cpu_s_a_round"]["coordinator"]),
        "broker_cpu_ms": 1e3 * slope(embedded, lambda one: one["cpu_s_a_round"]["broker"]),
        "coordinator_bytes": 1e6 * slope(shipped, lambda one: one["memory"]["coordinator"]["peak_rss_mb"]),
        "broker_bytes": 1e6 * slope(embedded, lambda one: one["memory"]["broker"]["peak_rss_mb"]),
    }


def floors(cases: list[dict[str, Any]], a_device: dict[str, float]) -> list[Floor]:
    """What was asked for."""
    found = [
        Floor(
            f"1,000 devices, {one['broker']} broker: from the last upload to the head on all",
            one["after_last_upload_s"]["median"],
            AFTER_UPLOAD_S,
            "s",
        )
        for one in cases
        if one["devices"] == 1000 and one["strategy"] == "fedavg" and one["screening"]
    ]
    found.append(Floor("acknowledged updates that the ledger lacks", sum(one["missing"] for one in cases), 0))
    if max(one["devices"] for one in cases) > 1000:  # of small fleets the slope is noise
        what = "the coordinator's peak memory for one device more (no growth was asked for; the bound is ours)"
        found.append(Floor(what, a_device["coordinator_bytes"], BYTES_A_DEVICE, "B"))
    return found


@contextmanager
def _many_files() -> Iterator[None]:
    """A connection is a file: as many as we may have, here and in what we start."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def main(*, quick: bool) -> None:
    """Train a release with a wide head, measure, print and write the figures."""
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    cases: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name, _many_files():
        release = train_release(Path(name), signal={"bands": BANDS}, train={"hidden": HIDDEN, "epochs": 3})
        for number, case in enumerate(QUICK if quick else FULL):
            if case.broker == "mosquitto" and mosquitto.executable() is None:
                print("mosquitto is not installed: left out")
                continue
            cases.append(one := measure(Path(name) / str(number), release, case))
            print(_line(one), flush=True)
    a_device = slopes(cases)
    print("one device more:", ", ".join(f"{key.replace('_', ' ')} {value:.3g}" for key, value in a_device.items()))
    promised = floors(cases, a_device)
    for floor in promised:
        print(floor)
    if not quick:
        print(write_results("scale", {"cases": cases, "a_device_more": a_device, "processes": PROCESSES}, promised))


def _line(one: dict[str, Any]) -> str:
    steps = ", ".join(f"{name} {seconds:.2f}" for name, seconds in one["steps_s"].items())
    cores = ", ".join(f"{name} {share:.2f}" for name, share in one["cores"].items())
    memory = ", ".join(
        f"{name} {one['memory'][name]['before_rss_mb']:.0f} -> {one['memory'][name]['peak_rss_mb']:.0f} MB"
        for name in ("coordinator", "broker")
    )
    what = f"{one['devices']:5} {one['broker']:9} {one['strategy']}{'' if one['screening'] else ' unscreened'}"
    timed = (
        f"round {one['round_s']['median']:.2f} s, after the last upload {one['after_last_upload_s']['median']:.2f} s"
    )
    updates = f"{one['acknowledged']} of {one['devices'] * one['rounds']} acknowledged"
    lost = f"{updates}, {one['missing']} missing; {one['thrown_out']} thrown out"
    lost += f", {one['subscriptions_refused']} subscriptions refused"
    return f"{what}: {timed} ({steps}); cores: {cores}; {memory}; {lost}"


if __name__ == "__main__":
    program.run(main, __doc__, quick="two small fleets; nothing is written")
