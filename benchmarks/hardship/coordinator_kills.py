"""Kills the coordinator at random instants, takes its disk, ledger and clock away, and looks whether its books balance.

Light devices answer every round over a real broker. The coordinator is SIGKILLed again and again, in mode ``rounds``
and in mode ``buffered``, there with deltas and with statistics; in some lives the broker is, too. In the end every head
is made again from what the devices have sent (``recount``). A life is what ``fedtiny coordinator`` calls, in
a process of its own that is forked with everything imported, so that kills fall on the start of the work and not of
Python. During the kills a resumed round waits 0.3 s instead of 6 s for what the broker delivers again: no life is long
enough for more; the last life waits as it should. The full disk is a limit on the size of the process's files, which
SQLite calls an I/O error. Run it with ``python -m benchmarks.hardship.coordinator_kills``.
"""

import logging
import os
import random
import resource
import shutil
import signal
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from functools import partial
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any, Literal

from benchmarks.common import write_results
from benchmarks.hardship.books import audit, missing
from benchmarks.hardship.crowd import Crowd
from benchmarks.hardship.life import FORKS, live
from benchmarks.hardship.recount import recount
from benchmarks.shared.site import train_release
from fedtiny.broker import EmbeddedBroker
from fedtiny.config import load_config
from fedtiny.federation import rounds
from fedtiny.federation.strategies import strategy
from fedtiny.model.artifact import Release

Kind = Literal["rounds", "buffered", "ridge"]  # the latter buffered, too
KILLS: dict[Kind, int] = {"rounds": 80, "buffered": 60, "ridge": 60}
SEED = 11
LIFETIME_S = 1.5  # at most, from the start of the process, or from its first word
SPEAKING = 0.7  # share of the lives that count from there
OUTAGES = 0.1  # share of the lives in which the broker is killed, too
RECOVERY_S = 3.0  # at most that a life goes on after that
DEVICES, QUORUM, DEADLINE_S, PAUSE_S = 8, 5, 1.0, 0.05
HURRIED_S = 0.3  # instead of rounds.RESUME_S
LOCKED_S, FULL_S = 10.0, 7.0  # the latter: beyond the first new attempt
WITHIN_S = 60.0  # for what must come in the end


class Scene:
    """A coordinator's folder, its broker and the devices that answer it."""

    def __init__(self, folder: Path, release: Path, kind: Kind, broker: EmbeddedBroker) -> None:
        folder.mkdir()
        self.state, self.log = folder / "coordinator", folder / "coordinator.log"
        self._release, self._broker = release, broker
        self._strategy = strategy("ridge" if kind == "ridge" else "fedavg", {})
        settings: dict[str, Any] = {"strategy": self._strategy.name, "mode": "buffered" if kind == "ridge" else kind}
        settings |= {"rounds": 0, "quorum": QUORUM, "devices": DEVICES}
        settings |= {"deadline_s": DEADLINE_S, "pause_s": PAUSE_S, "strikes": 10**6}
        self._config = load_config(
            None, fleet=folder.name, state=self.state, broker__port=broker.port, coordinator=settings
        )
        opened = Release.open(release)
        self.crowd = Crowd(self._config.broker, folder.name, opened, devices=DEVICES, seed=SEED)

    @contextmanager
    def life(self, resume_s: float = rounds.RESUME_S, behind: timedelta = timedelta(0)) -> Iterator[ForkServerProcess]:
        """A coordinator that is killed at the end, wherever it is."""
        process = FORKS.Process(
            target=live, args=(self._config, self._release, self.log, resume_s, behind), daemon=True
        )
        process.start()
        try:
            yield process
        finally:
            process.kill()
            process.join()

    def kill_broker(self) -> None:
        """And start it again, with all that it had."""
        assert self._broker.pid is not None
        os.kill(self._broker.pid, signal.SIGKILL)
        self._broker.wait()
        self._broker.start()
        self.crowd.reconnect()

    def open_round(self) -> int | None:
        """The number of the round that is open in the ledger of a dead coordinator, which stays as the kill left it."""
        with tempfile.TemporaryDirectory() as name:
            for file in self.state.glob("ledger.sqlite*"):
                shutil.copy(file, name)
            try:
                with closing(sqlite3.connect(Path(name) / "ledger.sqlite")) as db:
                    rows = db.execute("SELECT number FROM rounds WHERE outcome IS NULL").fetchall()
            except sqlite3.OperationalError:  # killed before there were tables
                return None
        assert len(rows) <= 1, f"{len(rows)} rounds are open"
        return rows[0][0] if rows else None

    def goes_on(self) -> bool:
        """Whether two more heads come."""
        aim = self.crowd.newest + 2
        return self.crowd.wait(lambda: self.crowd.newest >= aim, WITHIN_S)

    def said(self) -> int:
        """How long the log is, characters."""
        return len(self.log.read_text()) if self.log.exists() else 0

    def says(self, words: str, since: int = 0) -> Callable[[], bool]:
        """A function: whether the log does, behind its first ``since`` characters."""
        return lambda: self.said() > since and words in self.log.read_text()[since:]

    def settle(self) -> None:
        """Nobody answers any more, and what was delivered reaches the ledger."""
        self.crowd.answering = False
        self.crowd.wait(lambda: not missing(self.state, self.crowd.delivered), WITHIN_S)

    def audit(self) -> dict[str, Any]:
        """The figures of the books, and under "wrong" what does not balance; nobody listens any more."""
        found = audit(self.state, self.crowd.delivered, self.crowd)
        found["wrong"] |= recount(self.state, Release.open(self._release), self._strategy, self.crowd.sent)
        self.crowd.close()
        return found


def kill(scene: Scene, kills: int) -> dict[str, Any]:
    """Kill the coordinator ``kills`` times; figures, and under "wrong" what is not as it should be."""
    chance, crowd = random.Random(SEED), scene.crowd
    outages = open_at_death = other_round = idle = 0
    expected: int | None = None
    for _ in range(kills):
        heard = len(crowd.rounds)
        with scene.life(HURRIED_S):
            if chance.random() < SPEAKING:
                crowd.wait(partial(_heard, crowd, heard), WITHIN_S)
            crowd.read(chance.uniform(0, LIFETIME_S))
            if chance.random() < OUTAGES:
                outages += 1
                scene.kill_broker()
                crowd.read(chance.uniform(0, RECOVERY_S))
        crowd.read(0.02)  # what the dead one has sent
        if len(crowd.rounds) > heard:
            other_round += expected not in (None, crowd.rounds[heard].round_number)
            expected = scene.open_round()
        else:
            idle += 1
            expected = scene.open_round() or expected
        open_at_death += expected is not None
    with scene.life():
        went_on = scene.goes_on()
        scene.settle()
    found = scene.audit()
    found["wrong"] |= {"lives_that_began_with_another_round": other_round, "rounds_did_not_go_on": int(not went_on)}
    figures = {"kills": kills, "broker_kills": outages, "lives_too_short_to_say_anything": idle}
    return figures | {"deaths_with_an_open_round": open_at_death} | found


def hardship(scene: Scene) -> dict[str, Any]:
    """A full disk, a locked ledger, a clock set back an hour, in this order; what the log says, and the books."""
    crowd = scene.crowd
    said: dict[str, bool] = {}
    went_on: dict[str, bool] = {}
    with scene.life() as process:
        went_on["at_all"] = scene.goes_on()
        with _full_disk(process, scene.state):
            said["disk_full"] = crowd.wait(scene.says("nothing is lost: going on from the ledger"), WITHIN_S)
            crowd.read(FULL_S)
        went_on["disk_full"] = scene.goes_on()
        since = scene.said()
        with closing(sqlite3.connect(scene.state / "ledger.sqlite", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            crowd.read(LOCKED_S)
        said["ledger_locked"] = crowd.wait(scene.says("locked by another process for more than 5 s", since), WITHIN_S)
        went_on["ledger_locked"] = scene.goes_on()
        crowd.wait(lambda: crowd.rounds[-1].state == "open", WITHIN_S)
    for name, behind in (("clock_set_back_an_hour", timedelta(hours=1)), ("clock_right_again", timedelta(0))):
        since = scene.said()
        with scene.life(behind=behind):
            said[name] = crowd.wait(scene.says("resuming round", since), WITHIN_S)
            went_on[name] = scene.goes_on()
            crowd.wait(lambda: crowd.rounds[-1].state == "open", WITHIN_S)
    with scene.life():
        scene.settle()
    found = scene.audit()
    found["wrong"] |= {f"not_in_the_log_{what}": int(not true) for what, true in said.items()}
    found["wrong"] |= {f"rounds_did_not_go_on_{what}": int(not true) for what, true in went_on.items()}
    errors = {line.split("ledger.sqlite: ")[-1] for line in scene.log.read_text().splitlines() if " ERROR " in line}
    return {"errors_in_the_log": sorted(errors)} | found


def _heard(crowd: Crowd, rounds: int) -> bool:
    return len(crowd.rounds) > rounds


@contextmanager
def _full_disk(process: ForkServerProcess, state: Path) -> Iterator[None]:
    """No file of ``process`` may grow any more."""
    assert process.pid is not None
    limits = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)
    largest = max(file.stat().st_size for file in state.glob("ledger.sqlite*"))
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (largest, limits[1]))
    try:
        yield
    finally:
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, limits)


def main() -> None:
    """Train a small release, kill, print and write the figures."""
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    logging.basicConfig(level="ERROR")  # of the devices' connections, which are meant to be lost
    began, results = time.monotonic(), dict[str, dict[str, Any]]()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        release = train_release(folder)
        with EmbeddedBroker(folder / "broker") as broker:
            for kind, kills in KILLS.items():
                results[kind] = kill(Scene(folder / kind, release, kind, broker), kills)
            results["hardship"] = hardship(Scene(folder / "hardship", release, "rounds", broker))
    wrong = 0
    for part, found in results.items():
        for key, value in (found | found["wrong"]).items():
            if key != "wrong":
                print(f"{part:10} {key.replace('_', ' '):48} {value}")
        wrong += sum(found["wrong"].values())
    took = {"wall_s": round(time.monotonic() - began, 1)}
    print(write_results("coordinator-kills", {"seed": SEED} | results | took))
    if wrong:
        sys.exit("SHORT: the books do not balance")


if __name__ == "__main__":
    main()
