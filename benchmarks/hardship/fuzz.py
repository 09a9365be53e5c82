"""A million hostile messages: nothing crashes, nothing hangs, memory stays flat.

Most go in this process through all that a message passes (``fuzz_receivers``), by two workers; the rest by a
raw MQTT client at live processes over the embedded broker (``fuzz_live``). Only the errors that a receiver
expects may come out, no message may take longer than ``HANG_S`` of CPU time, and from a tenth of its messages on no
worker's memory may grow by more than ``GROWTH_MB``. What ends a receiver is printed, with the message in hex, and saved
as small as it can be made. Run it with ``python -m benchmarks.hardship.fuzz``: a quarter of an hour on two cores.
"""

import argparse
import faulthandler
import hashlib
import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from benchmarks.common import write_results
from benchmarks.hardship.fuzz_live import run_live
from benchmarks.hardship.fuzz_messages import Generator, Hostile
from benchmarks.hardship.fuzz_receivers import FLEETS, Fleet, Receivers, prepare, settings_of
from benchmarks.hardship.soak import resident_mb
from fedtiny.errors import ProtocolError
from fedtiny.model.artifact import Release
from fedtiny.protocol import topics
from fedtiny.sources import open_source

MESSAGES, LIVE, SEED, WORKERS = 900_000, 100_000, 20261123, 2
LIFE = 5_000  # messages until the next fleet
HANG_S, DEAD_S = 0.5, 60  # CPU time of one message; until a worker that moves no more is ended with a traceback
GROWTH_MB = 10.0  # of a worker, at most
TRIES = 100  # to make a message shorter that still does harm
CRASHES = Path("fuzz-crashes")


@dataclass
class Tally:
    """What became of the messages. slowest_ms: the largest CPU time of one; rss_mb: at a tenth and at the end."""

    messages: int = 0
    taken: int = 0
    heads_made: int = 0
    seconds: float = 0.0
    slowest_ms: float = 0.0
    rss_mb: tuple[float, float] = (0.0, 0.0)
    kinds: Counter[str] = field(default_factory=Counter)
    hangs: list[str] = field(default_factory=list)
    crashes: list[str] = field(default_factory=list)


class Worker:
    """Throws the messages of one seed. prepared: as ``prepare`` has left it; scratch: a folder, best one in memory."""

    def __init__(self, seed: int, prepared: Path, scratch: Path, release: Release) -> None:
        self._seed, self._prepared, self._scratch, self._release = seed, prepared, scratch, release
        self._source = open_source(settings_of(prepared, scratch, FLEETS[0]))

    def run(self, count: int, life: int = LIFE) -> Tally:
        """Throw ``count`` messages; after ``life`` of them the next fleet takes over."""
        generator, tally, began = Generator(self._seed, self._release), Tally(messages=count), time.monotonic()
        for first in range(0, count, life):
            fleet = FLEETS[first // life % len(FLEETS)]
            receivers = self._receivers(fleet)
            for number in range(first, min(first + life, count)):
                if number % 100 == 0:
                    faulthandler.dump_traceback_later(DEAD_S, exit=True)
                if number == count // 10:
                    tally.rss_mb = (resident_mb(os.getpid())[0], 0.0)
                generator.now = receivers.now
                message = generator.message()
                tally.kinds[kind_of(message)] += 1
                if not self._throw(message, receivers, tally):
                    tally.heads_made += receivers.heads
                    receivers.close()
                    receivers = self._receivers(fleet)
            tally.heads_made += receivers.heads
            receivers.close()
        faulthandler.cancel_dump_traceback_later()
        tally.seconds = time.monotonic() - began
        tally.rss_mb = (tally.rss_mb[0], resident_mb(os.getpid())[0])
        return tally

    def _receivers(self, fleet: Fleet) -> Receivers:
        folder = self._scratch / "life"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return Receivers(self._prepared, folder, self._release, self._source, fleet)

    def _throw(self, message: Hostile, receivers: Receivers, tally: Tally) -> bool:
        """False when the receivers cannot go on."""
        began = time.thread_time()
        try:
            tally.taken += receivers.take(message)
        except Exception:  # what a receiver does not expect is what is looked for
            tally.crashes.append(self._reported(message, receivers.fleet, traceback.format_exc()))
            return False
        seconds = time.thread_time() - began
        tally.slowest_ms = max(tally.slowest_ms, 1000 * seconds)
        if seconds > HANG_S:
            tally.hangs.append(f"{seconds:.2f} s: {message.topic!r} {message.payload[:200].hex()}")
        return True

    def _reported(self, message: Hostile, fleet: Fleet, trace: str) -> str:
        """Print and save what ended the receivers, as small as it still does."""
        where = trace.strip().splitlines()[-1]
        again = self._crash(message, fleet)
        small = self._minimised(message, fleet, again) if again else message
        CRASHES.mkdir(exist_ok=True)
        path = CRASHES / hashlib.sha256(small.payload).hexdigest()[:12]
        alone = "alone" if again else "after others"
        path.write_text(f"{fleet} {alone}\n{small.topic!r} retained={small.retained}\n{small.payload.hex()}\n{trace}")
        print(f"CRASH {path}: {where}\n  {small.topic!r} {small.payload[:300].hex()}", flush=True)
        return f"{where} ({alone}, {path.name})"

    def _crash(self, message: Hostile, fleet: Fleet) -> str:
        """Which exception ``message`` causes in a fleet that has seen no other, and where; "" for none."""
        receivers = self._receivers(fleet)
        try:
            receivers.take(message)
        except Exception as error:
            return f"{type(error).__name__} {traceback.extract_tb(error.__traceback__)[-1].lineno}"
        finally:
            receivers.close()
        return ""

    def _minimised(self, message: Hostile, fleet: Fleet, crash: str) -> Hostile:
        """The shortest payload that is found by leaving parts out, half of it first, then less and less."""
        size, tries = len(message.payload) // 2, TRIES
        while size and tries:
            for at in range(0, len(message.payload), size):
                shorter = replace(message, payload=message.payload[:at] + message.payload[at + size :])
                tries -= 1
                if self._crash(shorter, fleet) == crash:
                    message = shorter
                    break
                if not tries:
                    break
            else:
                size //= 2
        return message


def kind_of(message: Hostile) -> str:
    """Which topic it came on."""
    try:
        return topics.parse(message.topic).kind
    except ProtocolError:
        return "unknown"


def work(seed: int, count: int, prepared: Path, release: Path) -> Tally:
    """One worker's share, in a process of its own."""
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as name:
        return Worker(seed, prepared, Path(name), Release.open(release)).run(count)


def run_codec(count: int, folder: Path, release: Path, seed: int) -> list[Tally]:
    """``count`` messages by all workers, each with a seed of its own."""
    prepare(folder, Release.open(release))
    with ProcessPoolExecutor(WORKERS, get_context("spawn")) as pool:  # which notices a worker that dies
        shares = [pool.submit(work, seed + worker, count // WORKERS, folder, release) for worker in range(WORKERS)]
        return [share.result() for share in shares]


def main() -> None:
    """Train a small release, throw everything, print and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=MESSAGES, help="in this process")
    parser.add_argument("--live", type=int, default=LIVE, help="at live processes")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--release", type=Path, help="instead of training one")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        release = asked.release
        if release is None:
            release = folder / "release.tflite"
            train = ["-m", "fedtiny.cli", "train", "--epochs", "40", "--out", str(release)]
            subprocess.run([sys.executable, *train], check=True)
        tallies = run_codec(asked.messages, folder, release, asked.seed) if asked.messages else []
        live = run_live(asked.live, folder, release, asked.seed) if asked.live else {}
    found = {"seed": asked.seed, "in_process": summary(tallies), "live": live}
    print(json.dumps(found, indent=2))
    wrong = sum(map(len, (found["in_process"]["wrong"], live.get("wrong", ()))))
    if asked.messages == MESSAGES and asked.live == LIVE:
        print(write_results("fuzz", found))
    if wrong:
        sys.exit(f"SHORT: {wrong} things are not as they should be")


def summary(tallies: list[Tally]) -> dict[str, Any]:
    """The figures of all workers."""
    kinds = sum((tally.kinds for tally in tallies), Counter[str]())
    return {
        "messages": sum(tally.messages for tally in tallies),
        "by_topic": dict(kinds.most_common()),
        "taken": sum(tally.taken for tally in tallies),
        "heads_made": sum(tally.heads_made for tally in tallies),
        "messages_per_second": round(sum(tally.messages / tally.seconds for tally in tallies)),
        "slowest_ms": round(max((tally.slowest_ms for tally in tallies), default=0.0), 1),
        "rss_mb_at_a_tenth_and_at_the_end": [[round(mb, 1) for mb in tally.rss_mb] for tally in tallies],
        "wrong": [
            *(crash for tally in tallies for crash in tally.crashes),
            *(hang for tally in tallies for hang in tally.hangs),
            *(
                f"a worker grew from {early:.1f} to {late:.1f} MB"
                for early, late in (tally.rss_mb for tally in tallies)
                if late - early > GROWTH_MB
            ),
        ],
    }


if __name__ == "__main__":
    main()
