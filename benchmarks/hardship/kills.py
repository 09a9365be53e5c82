"""Kills the agent at random instants while its broker comes and goes, and looks for anything lost, doubled or changed.

One machine's life of many faults that come and go is replayed once undisturbed and once by agents that are SIGKILLed,
over a broker that is stopped and started meanwhile; rounds are open all the time. What was told in both runs is
compared. Run it with ``python -m benchmarks.hardship.kills``.
"""

import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from benchmarks.common import write_results
from benchmarks.shared.witness import WITHIN_S, Witness
from fedtiny import config
from fedtiny.broker import EmbeddedBroker
from fedtiny.device import KEY, STORE
from fedtiny.device_store import DeviceStore
from fedtiny.model.artifact import Release
from fedtiny.protocol import codec, topics
from fedtiny.protocol.messages import Alarm
from fedtiny.signal.recording import Samples
from fedtiny.signal.simulator import CHANNELS, design_machine
from fedtiny.transport import Connection, Received

KILLS, EPISODES, SEED = 120, 110, 7
LEARN, QUIET, FAULTY = 60, 22, 10  # windows: to learn from; of an episode
RATE_HZ, SAMPLES = 12_800, 2_048  # of the simulated signal; of a window
SPEED = 12  # times as fast as life: 75 windows a second
LIFETIME = 3.0  # at most, of an agent, in times that it takes to start
OUTAGES = 0.25  # share of the agents' lives in which the broker goes away
DEVICE = "press-01"


class Broker(Protocol):
    """Something that can be stopped and started again where it was."""

    def start(self) -> None: ...
    def stop(self) -> None: ...


def write_life(folder: Path, episodes: int) -> int:
    """A fleet folder with a machine whose fault comes and goes ``episodes`` times; returns its windows."""
    machine = design_machine(7)
    faulty = [False] * LEARN + ([False] * QUIET + [True] * FAULTY) * episodes + [False] * QUIET
    shares = [1.0 if bad else 0.3 for bad in faulty]
    write_fleet(folder, [machine.snapshot(index, life, SAMPLES) for index, life in enumerate(shares)])
    return len(faulty)


def write_fleet(folder: Path, recordings: list[Samples]) -> None:
    """A fleet folder with one machine to watch, of equally long recordings, and another that is never looked at."""
    for name, content in ((DEVICE, recordings), ("base", recordings[:4])):
        (folder / name / "normal").mkdir(parents=True)
        np.save(folder / name / "normal" / "all.npy", np.stack(content))
    names = ", ".join(f'"{channel}"' for channel in CHANNELS)
    (folder / "fleet.toml").write_text(f'sample_rate_hz = {RATE_HZ}\nchannels = [{names}]\nbase = ["base"]\n')


class Agent:
    """The agent's process over one state folder, started as often as needed.

    Attributes:
        start_s: How long ``learn`` waited for its first word; more on a computer that has other work.
    """

    start_s = 0.0

    def __init__(self, folder: Path, broker: config.Broker, fleet: str, data: Path) -> None:
        self.state, self._log = folder / fleet, folder / f"{fleet}.log"
        where = ["--fleet", fleet, "--device", DEVICE, "--port", broker.port, "--data", data, "--state", self.state]
        self._command = [sys.executable, "-m", "fedtiny.cli", "edge", "run", "--learn-windows", LEARN, *where]

    def start(self, *arguments: object) -> "subprocess.Popen[bytes]":
        """A new life."""
        with self._log.open("ab") as log:
            return subprocess.Popen(list(map(str, [*self._command, *arguments])), stderr=log)

    def saved(self) -> dict[str, Any]:
        """What its store holds, while no agent runs."""
        with closing(DeviceStore(self.state / STORE)) as store:
            return store.get(KEY, {})

    def learn(self, witness: Witness) -> None:
        """Up to the end of the learning; a replay at speed 0 waits for the release, and stands still afterwards."""
        self._live(witness, lambda: witness.says(phase="watching"), "--hold-for-revision", 1)

    def finish(self, witness: Witness) -> dict[str, Any]:
        """Undisturbed to the end of its source, and until all it has said has arrived; what its store holds then."""
        self._live(witness, lambda: witness.says(state="online", source_done=True))
        number = self.saved()["alarms"]["number"]
        # once more, with nothing left to score: it delivers what waits
        self._live(
            witness,
            lambda: witness.says(state="online", source_done=True) and len(witness.first_seen) >= number,
        )
        return self.saved()

    def _live(self, witness: Witness, found: Callable[[], bool], *arguments: object) -> None:
        """Undisturbed until the witness has seen what it looks for; then it is asked to end."""
        witness.status, began = None, time.monotonic()
        process = self.start("--speed", 0, *arguments)
        try:
            witness.wait(lambda: witness.status is not None)
            self.start_s = self.start_s or time.monotonic() - began
            witness.wait(found)
        finally:
            process.terminate()
            code = process.wait(WITHIN_S)
        if code:
            raise RuntimeError(f"the agent ended with {code}: see {self._log}")


def run_kills(
    release: Release, folder: Path, broker: Broker, at: config.Broker, *, kills: int, episodes: int, seed: int = SEED
) -> dict[str, Any]:
    """Kill the agent ``kills`` times; returns the figures, and under "wrong" what is not as it should be.

    broker, at: a running broker, and where it listens. folder: empty, for data and state.
    """
    windows = write_life(folder / "data", episodes)
    undisturbed = Witness(at, "undisturbed", release)
    agent = Agent(folder, at, "undisturbed", folder / "data")
    agent.learn(undisturbed)
    agent.finish(undisturbed)
    undisturbed.close()
    chance, began = random.Random(seed), time.monotonic()
    witness, agent = Witness(at, "killed", release), Agent(folder, at, "killed", folder / "data")
    agent.learn(witness)
    outages = working = 0
    for _ in range(kills):
        witness.open_round()
        seen, process = len(witness.alarms), agent.start("--speed", SPEED)
        lifetime = chance.uniform(0, LIFETIME * agent.start_s)
        outage = chance.random() < OUTAGES
        if outage:
            outages += 1
            away = chance.uniform(0, lifetime)
            witness.read(away)
            broker.stop()
            witness.read(lifetime - away)
        else:
            witness.read(lifetime)
        process.kill()
        process.wait()
        if outage:
            broker.start()
            witness.reconnect()
        working += len(witness.alarms) > seen
    saved = agent.finish(witness)
    witness.close()
    found = witness.first_seen
    return {
        "kills": kills,
        "lives_that_told_of_an_alarm": working,
        "broker_outages": outages,
        "windows": windows,
        "faults": episodes,
        "alarm_messages": len(found),
        "alarm_messages_that_came_twice": len(witness.alarms) - len(found),
        "rounds_answered": len(witness.updates),
        "wrong": _wrong(undisturbed, witness, saved["alarms"], _retained(at)),
        "wall_s": round(time.monotonic() - began, 1),
    }


def _retained(at: config.Broker) -> Alarm:
    """What a newcomer is told of the device's alarms."""
    topic = topics.device_topic("killed", DEVICE, "alarm")
    connection = Connection(at, "kills-newcomer", subscriptions=[(topic, 1)])
    connection.start()
    until = time.monotonic() + WITHIN_S
    try:
        while time.monotonic() < until:
            event = connection.next_event(0.1)
            if isinstance(event, Received):
                return codec.decode(Alarm, event.payload)
    finally:
        connection.stop(timeout_s=0)
    raise AssertionError("no retained alarm")


def _wrong(undisturbed: Witness, witness: Witness, book: dict[str, Any], retained: Alarm) -> dict[str, int]:
    """How many things are lost, doubled, changed or out of order; ``book``: the device's own of its alarms."""
    found, expected = witness.first_seen, undisturbed.first_seen
    numbers = range(1, book["number"] + 1)
    standing = {alarm.kind: alarm.model_dump() for alarm in retained.standing}
    return {
        "alarm_messages_lost": len(set(numbers) - set(found)),
        "alarm_messages_out_of_order": sum(a > b for a, b in pairwise(found)),
        "alarm_numbers_with_two_contents": len(set(witness.alarms)) - len(found),
        "alarms_unlike_the_undisturbed": len(set(_what(found)) ^ set(_what(expected))),
        "retained_alarm_unlike_the_devices": int((retained.number, standing) != (book["number"], book["standing"])),
        "rounds_with_two_answers": sum(len(payloads) > 1 for payloads in witness.updates.values()),
    }


def _what(alarms: dict[int, Alarm]) -> list[tuple[Any, ...]]:
    """What does not depend on the time of day."""
    return [(a.kind, a.state, a.window, a.score, a.threshold, a.promised) for a in alarms.values()]


def main() -> None:
    """Train a small release, kill, print and write the figures."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        release = folder / "release.tflite"
        train = ["-m", "fedtiny.cli", "train", "--epochs", "40", "--out", str(release)]
        subprocess.run([sys.executable, *train], check=True)
        with EmbeddedBroker(folder / "broker") as broker:
            found = run_kills(
                Release.open(release),
                folder,
                broker,
                config.Broker(port=broker.port),
                kills=KILLS,
                episodes=EPISODES,
            )
    for key, value in (found | found["wrong"]).items():
        if key != "wrong":
            print(f"{key.replace('_', ' '):36} {value}")
    print(write_results("kills", {"seed": SEED} | found))
    if any(found["wrong"].values()):
        sys.exit("something was lost, doubled or changed")


if __name__ == "__main__":
    main()
