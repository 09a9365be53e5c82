"""Hostile messages at a live coordinator and a live agent, over the embedded broker: an open fleet, the worst case.

A client on plain sockets publishes what ``fuzz_messages`` makes, and breaks MQTT itself now and then. Only
what the broker has acknowledged, and so delivers, counts as a message. What an open fleet would rightly believe is left
out, since that is forgery and no fuzz: a head or release for the agent, the command to learn anew, updates in its name.
A round may be late by a third of its deadline.
"""

import os
import random
import socket
import sqlite3
import struct
import subprocess
import sys
import time
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from benchmarks.hardship.fuzz_messages import FLEET, VICTIM, Generator, Hostile, Now
from benchmarks.hardship.soak import resident_mb
from fedtiny.broker import EmbeddedBroker
from fedtiny.errors import ProtocolError, ReleaseError
from fedtiny.model.artifact import Release
from fedtiny.protocol import codec, topics
from fedtiny.protocol.messages import Base, Command, FleetCommand, HeadMessage, ReleaseMessage, UpdateMessage

RATE = 600.0  # messages a second, at most
BURST = 25
DEADLINE_S, PAUSE_S = 10.0, 0.5
WITHIN_S = 120.0  # for the queue to drain, and for what must come in the end
GROWTH_MB = 10.0  # of either process's memory, at most, after the first tenth
LOG_BYTES = 10  # of either, for each message, at most
ANSWER_S = 5.0
CONNECT = b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x00"  # 3.1.1, clean session, 60 s, no client id
BROKEN = (
    b"\x3f\x02\x00\x00",  # QoS 3
    b"\x32\x02\x00\x05",  # a topic longer than its packet
    b"\x32\xff\xff\xff\xff\x7f",  # a length of five bytes
    b"\x32\xff\xff\xff\x7f",  # 256 MB that never come
    b"\x32\x05\x00\x01\xff\x00\x01",  # a topic that is no UTF-8
    b"\x32\x04\x00\x00\x00\x01",  # no topic at all
    b"\x82\x03\x00\x01\x00",  # a subscription without a filter
    b"\x82\x06\x00\x01\x00\x01#\x07",  # and one of QoS 7
    CONNECT,  # a second time
    b"\x00\x00",
    b"\xf0\x00",
    b"GET / HTTP/1.1\r\n\r\n",
)


class RawClient:
    """Just enough MQTT to publish anything with QoS 1, and what is no MQTT at all.

    Attributes:
        sent, acknowledged: Messages. broken: Packets that are none. refused: Connections that ended for either.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self.sent = self.acknowledged = self.broken = self.refused = 0
        self._connect()

    def _connect(self) -> None:
        self._socket = socket.create_connection(("127.0.0.1", self._port), timeout=ANSWER_S)
        self._socket.sendall(CONNECT)
        if self._socket.recv(4, socket.MSG_WAITALL) != b"\x20\x02\x00\x00":
            raise RuntimeError("the broker takes no connection any more")

    def publish(self, messages: list[Hostile]) -> None:
        """Send and wait for the acknowledgements; a broker that ends the connection has refused one of them."""
        packets = [_packet(message, number) for number, message in enumerate(messages, 1)]
        self.sent += len(packets)
        with suppress(OSError):
            self._socket.sendall(b"".join(packets))
            for number, _ in enumerate(packets, 1):
                if self._socket.recv(4, socket.MSG_WAITALL) != struct.pack(">2BH", 0x40, 2, number):
                    break
                self.acknowledged += 1
            else:
                return
        self._again()

    def harm(self, data: bytes) -> None:
        """Send what is no MQTT, and begin anew."""
        self.broken += 1
        with suppress(OSError):
            self._socket.sendall(data)
        self._again()

    def _again(self) -> None:
        self.refused += 1
        self._socket.close()
        self._connect()

    def close(self) -> None:
        self._socket.close()


def _packet(message: Hostile, number: int) -> bytes:
    topic = message.topic.encode("utf-8", "surrogatepass")[:65_535]
    body = struct.pack(">H", len(topic)) + topic + struct.pack(">H", number) + message.payload
    length, size = b"", len(body)
    while True:
        size, low = divmod(size, 128)
        length += bytes([low | (0x80 if size else 0)])
        if not size:
            return bytes([0x32 | message.retained]) + length + body


def believed(message: Hostile, release: Release) -> bool:
    """Whether an open fleet would take it for its coordinator's or operator's word, and rightly go elsewhere."""
    try:
        kind = topics.parse(message.topic).kind
        if kind == "release":
            return message.runs or Release(codec.decode(ReleaseMessage, message.payload).tflite).id != release.id
        if kind == "head":
            return codec.decode(HeadMessage, message.payload).release_id == release.id
        if kind == "update":
            return f"/{VICTIM}/" in message.topic and codec.decode(UpdateMessage, message.payload).device == VICTIM
        if kind == "command" and "/global/" in message.topic:
            return bool(codec.decode(FleetCommand, message.payload))
        if kind == "command":
            return codec.decode(Command, message.payload).action == "re-baseline"
    except (ProtocolError, ReleaseError):
        pass
    return False


class Process:
    """A live one, its log and its memory."""

    def __init__(self, folder: Path, name: str, *arguments: object) -> None:
        self.name, self.log = name, folder / f"{name}.log"
        self._rss: list[float] = []
        command = [sys.executable, "-m", "fedtiny.cli", *map(str, arguments)]
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, cwd=folder, env=os.environ | {"OPENBLAS_NUM_THREADS": "1"}
            )

    def measure(self) -> float:
        """Resident memory now, MB; RuntimeError where it has ended."""
        if (code := self._process.poll()) is not None:
            raise RuntimeError(f"{self.name} ended with {code}: {self.log.read_text()[-2000:]}")
        return resident_mb(self._process.pid)[0]

    def stop(self) -> int:
        self._process.terminate()
        return self._process.wait(WITHIN_S)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


class Books:
    """The coordinator's ledger, read from outside."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "ledger.sqlite"

    def ask(self, question: str, *values: object) -> list[tuple[Any, ...]]:
        if not self._path.exists():
            return []
        with closing(sqlite3.connect(f"file:{self._path}?mode=ro", uri=True, timeout=10)) as db:
            try:
                return db.execute(question, values).fetchall()
            except sqlite3.OperationalError:  # it is being made
                return []

    def good_rounds(self) -> list[int]:
        """Rounds that made a head in which the agent's own update counts."""
        return [
            number
            for (number,) in self.ask(
                "SELECT round FROM updates WHERE device = ? AND fate = 'used' ORDER BY id", VICTIM
            )
        ]

    def overdue(self) -> list[str]:
        """Rounds that are or were open for longer than their deadline and a third of it; times are whole seconds."""
        now = datetime.now(UTC).isoformat()
        return [
            f"round {number}: {opened} to {closed or 'now'}"
            for number, opened, closed in self.ask("SELECT number, opened_utc, closed_utc FROM rounds")
            if datetime.fromisoformat(closed or now) - datetime.fromisoformat(opened)
            > timedelta(seconds=DEADLINE_S * 4 / 3)
        ]

    def now(self, release_id: str) -> Now:
        rows = self.ask("SELECT number, revision FROM rounds ORDER BY number DESC LIMIT 1")
        number, revision = rows[0] if rows else (1, 0)
        return Now(Base(release_id=release_id, revision=revision), number)

    def bytes(self) -> int:
        return sum(file.stat().st_size for file in self._path.parent.rglob("*") if file.is_file())


def wait(found: Any, what: str) -> None:
    until = time.monotonic() + WITHIN_S
    while not found():
        if time.monotonic() > until:
            raise RuntimeError(f"{what}: not within {WITHIN_S:.0f} s")
        time.sleep(0.1)


def run_live(count: int, folder: Path, release_path: Path, seed: int) -> dict[str, Any]:
    """Throw messages until ``count`` are acknowledged; the figures, and under "wrong" what is not as it should be."""
    release = Release.open(release_path)
    with EmbeddedBroker(folder / "broker") as broker:
        processes = _start(folder, broker.port, release_path.absolute())
        try:
            return _fuzz(count, Books(folder / "coordinator"), broker, processes, release, seed)
        finally:
            for process in processes:
                process.kill()


def _start(folder: Path, port: int, release: Path) -> list[Process]:
    settings = folder / "live.toml"
    settings.write_text(
        f'fleet = "{FLEET}"\n[broker]\nport = {port}\n'
        f'[source]\nmachine = "{VICTIM}"\nspeed = 20\nrepeat = 0\n[edge]\nlearn_windows = 40\n'
        f"[coordinator]\nrounds = 0\nquorum = 1\ndeadline_s = {DEADLINE_S}\npause_s = {PAUSE_S}\n"
        f"strikes = {10**9}\n"  # most devices are hostile here: whoever is not would be the one to be kept out
    )
    common = ("--config", settings, "--state")
    return [
        Process(folder, "coordinator", "coordinator", "--release", release, *common, folder / "coordinator"),
        Process(folder, "agent", "edge", "run", "--device", VICTIM, *common, folder / "agent"),
    ]


def _fuzz(
    count: int, books: Books, broker: EmbeddedBroker, processes: list[Process], release: Release, seed: int
) -> dict[str, Any]:

    def reached(rounds: int) -> bool:
        return all(process.measure() for process in processes) and len(books.good_rounds()) >= rounds

    wait(lambda: reached(2), "the first rounds")
    before, bytes_before = len(books.good_rounds()), books.bytes()
    generator, chance, client = Generator(seed, release), random.Random(seed), RawClient(broker.port)
    forged = 0
    memory = {process.name: [process.measure()] for process in processes}
    began = time.monotonic()
    while client.acknowledged < count:
        generator.now = books.now(release.id)
        burst: list[Hostile] = []
        while len(burst) < BURST:
            message = generator.message()
            if believed(message, release):
                forged += 1
            else:
                burst.append(message)
        plain = [message for message in burst if _sendable(message.topic)]
        client.publish(plain)
        for message in burst:  # each of these may cost the connection
            if message not in plain:
                client.publish([message])
        if chance.random() < 0.2:
            client.harm(chance.choice((*BROKEN, chance.randbytes(chance.randint(1, 200)))))
        if len(memory["agent"]) < 1 + 10 * client.acknowledged // count:  # at each tenth
            for process in processes:
                memory[process.name].append(process.measure())
        time.sleep(max(0.0, began + client.sent / RATE - time.monotonic()))
    seconds = time.monotonic() - began
    during = len(books.good_rounds()) - before
    drained = _drain(client, books)
    wait(lambda: reached(before + during + 2), "rounds afterwards")
    for process in processes:
        memory[process.name].append(process.measure())
    client.close()
    overdue = books.overdue()
    logs = {process.name: process.log.stat().st_size for process in processes}
    ends = {process.name: process.stop() for process in processes}
    (refused,) = books.ask("SELECT count(*), avg(bytes) FROM updates WHERE fate = 'refused'")
    return {
        "messages": client.acknowledged,
        "sent": client.sent,
        "forgeries_left_out": forged,
        "broken_packets": client.broken,
        "connections_ended_by_the_broker": client.refused,
        "messages_per_second": round(client.acknowledged / seconds),
        "drained_within_s": round(drained, 1),
        "heads_with_the_agents_update": {"before": before, "during": during, "after": 2},
        "rounds": dict(books.ask("SELECT outcome LIKE 'revision%', count(*) FROM rounds GROUP BY 1")),
        "rss_mb_before_at_each_tenth_after": {name: [round(mb, 1) for mb in row] for name, row in memory.items()},
        "log_bytes": logs,
        "updates_by_fate": dict(books.ask("SELECT fate, count(*) FROM updates GROUP BY fate")),
        "ledger_bytes": {"before": bytes_before, "after": books.bytes()},
        "refused_rows_kept": refused[0],
        "wrong": [
            *(f"{name} ended with {code}" for name, code in ends.items() if code),
            *overdue,
            *(
                f"{name} grew from {row[1]:.1f} to {row[-1]:.1f} MB"
                for name, row in memory.items()
                if row[-1] - row[1] > GROWTH_MB
            ),
            *(f"{name} wrote {size} bytes of log" for name, size in logs.items() if size > LOG_BYTES * count),
            *(["no round was completed meanwhile"] if not during else []),
        ],
    }


def _sendable(topic: str) -> bool:
    """Whether a broker takes it as the name of a topic."""
    return not set(topic) & set("+#\0") and bool(topic) and len(topic.encode()) < 65_536 and topic.isprintable()


def _drain(client: RawClient, books: Books) -> float:
    """Seconds until the coordinator has come to a message that was sent last."""
    began = time.monotonic()
    topic = topics.update_topic(FLEET, "the-last", 1)
    client.publish([Hostile(topic, b"the last one")])
    wait(lambda: books.ask("SELECT 1 FROM updates WHERE device = 'the-last'"), "the last message")
    return time.monotonic() - began
