"""Thousands of light devices: each has a connection of its own and says what an agent says, but computes nothing.

A swarm is one process with its share of them. A device connects with a session that stays, subscribes as agents do,
says that it watches, answers every open round at once with a valid update, and says at each new head that it is there.
One that the broker throws out comes back at once, and finds the round and the head retained.
All answer as soon as the round comes to them, a process one device after the other; real ones are spread further by
what they have to compute.
"""

import hashlib
import multiprocessing
import selectors
import signal
import socket
import sys
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from benchmarks.scale import light_mqtt as mqtt
from fedtiny.federation.updates import pack_delta, pack_statistics
from fedtiny.model.artifact import Release
from fedtiny.model.head import statistics
from fedtiny.protocol import codec, topics
from fedtiny.protocol.messages import Base, DeviceStatus, HeadMessage, Kind, RoundMessage, UpdateMessage

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["benchmarks.scale.swarm"])
FLEET = "swarm"
AT_ONCE = 50  # devices of a process that are connecting
PAYLOADS = 32  # different ones a process; what its devices say beside it is their own
WINDOWS = 40  # of statistics
REPEAT_S = 5.0  # without any message, and no round under way
STATUS, UPDATE, SUBSCRIPTION = 1, 2, 3  # packet numbers


@dataclass(frozen=True)
class Share:
    """Which devices of the fleet a process is: ``number`` and then every ``processes``-th; ``kind``: what they send."""

    port: int
    release: Path
    devices: int
    number: int
    processes: int
    kind: Kind

    @property
    def names(self) -> list[str]:
        """Ids of its devices."""
        return [f"device-{n:04}" for n in range(self.number, self.devices, self.processes)]


@dataclass
class Seen:
    """A round as the devices of one process saw it: a time of time.monotonic() and a digest for each of them.

    sent: handed to the socket. digests: SHA-256 of the updates that the broker has acknowledged. thrown_out: how many
    connections the broker has ended. refused: subscriptions that it has refused.
    """

    revision: int
    opened: list[float] = field(default_factory=list)
    sent: list[float] = field(default_factory=list)
    acknowledged: list[float] = field(default_factory=list)
    headed: list[float] = field(default_factory=list)
    digests: list[bytes] = field(default_factory=list)
    update_bytes: int = 0
    head_bytes: int = 0
    thrown_out: int = 0
    refused: int = 0


def swarm(share: Share, pipe: Connection) -> None:
    """A process of devices until the other end of ``pipe`` closes; sends "ready", then a Seen a round."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C on the terminal is the parent's business
    try:
        Swarm(share, pipe).run()
    except OSError as error:
        sys.exit(f"devices: {error}")


class Device:
    """One connection."""

    def __init__(self, name: str, port: int) -> None:
        self.name, self.revision, self.ready, self.digest = name, 0, False, b""
        self.open: RoundMessage | None = None  # a round that it has not answered
        self.answered: Seen | None = None
        self.connect(port)

    def connect(self, port: int) -> None:
        """Connect, or connect again."""
        self.sock = socket.create_connection(("127.0.0.1", port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.setblocking(False)
        self._reader, self._unsent = mqtt.Reader(), mqtt.connect(self.name, clean=False)

    def read(self) -> Iterator[mqtt.Packet]:
        """What has come; ConnectionError where the broker has hung up."""
        data = self.sock.recv(1 << 18)
        if not data:
            raise ConnectionError(f"{self.name}: the broker has closed the connection")
        return self._reader.feed(data)

    def send(self, data: bytes = b"") -> bool:
        """Send ``data``, or what the socket would not take before; False when it does not take all of it now."""
        data = self._unsent + data
        try:
            taken = self.sock.send(data)
        except BlockingIOError:
            taken = 0
        self._unsent = data[taken:]
        return not self._unsent


class Swarm:
    """The devices of one process."""

    def __init__(self, share: Share, pipe: Connection) -> None:
        self._share, self._pipe = share, pipe
        release = Release.open(share.release)
        self._base = Base(release_id=release.id, revision=0)
        self._range = release.head.output_min, release.head.output_max
        self._payloads = payloads(share.kind, release.head.weights.shape, seed=share.number)
        self._topics = {kind: topics.fleet_topic(FLEET, kind) for kind in ("release", "head", "round")}
        self._selector = selectors.DefaultSelector()
        self._selector.register(pipe, selectors.EVENT_READ)
        self._rounds: dict[int, Seen] = {}  # by the revision that each is to make
        self._parsed: tuple[bytes, RoundMessage | HeadMessage] | None = None  # most come a thousand times
        self._devices = self._thrown_out = self._refused = 0

    def run(self) -> None:
        """Connect, a few at a time, and answer."""
        names, ready = deque(self._share.names), 0
        self._devices = len(names)
        while True:
            while names and self._devices - len(names) - ready < AT_ONCE:
                self._begin(Device(names.popleft(), self._share.port))
            if not (ready_sockets := self._selector.select(REPEAT_S)) and not self._rounds:
                self._repeat()
            for key, events in ready_sockets:
                if key.data is None:
                    return
                device: Device = key.data
                was = device.ready
                try:
                    self._serve(device, events)
                except ConnectionError:
                    self._thrown_out += 1
                    self._selector.unregister(device.sock)
                    device.sock.close()
                    device.connect(self._share.port)
                    self._begin(device)
                ready += device.ready - was
                if device.ready > was and ready == self._devices:
                    self._pipe.send("ready")

    def _repeat(self) -> None:
        """Say again where all are, as agents do: a broker may lose what comes while somebody subscribes."""
        for key in list(self._selector.get_map().values()):
            if key.data is not None and key.data.ready:
                self._say(key.data)

    def _begin(self, device: Device) -> None:
        self._selector.register(device.sock, selectors.EVENT_READ, device)
        self._send(device)

    def _serve(self, device: Device, events: int) -> None:
        if events & selectors.EVENT_WRITE:
            self._send(device)
        if events & selectors.EVENT_READ:
            for packet in device.read():
                self._take(device, packet)

    def _send(self, device: Device, data: bytes = b"") -> None:
        events = selectors.EVENT_READ if device.send(data) else selectors.EVENT_READ | selectors.EVENT_WRITE
        if self._selector.get_key(device.sock).events != events:
            self._selector.modify(device.sock, events, device)

    def _take(self, device: Device, packet: mqtt.Packet) -> None:
        if packet.kind == mqtt.CONNACK:
            wanted = [(topic, 0) for topic in self._topics.values()]
            wanted += [
                (topics.device_topic(FLEET, device.name, kind), qos) for kind, qos in (("status", 0), ("command", 1))
            ]
            self._send(device, mqtt.subscribe(SUBSCRIPTION, wanted))
        elif packet.kind == mqtt.SUBACK:
            self._refused += packet.payload.count(mqtt.REFUSED)
            self._say(device)
        elif packet.kind == mqtt.PUBACK and packet.number == STATUS:
            device.ready = True
        elif packet.kind == mqtt.PUBACK:
            assert device.answered is not None
            device.answered.acknowledged.append(time.monotonic())
            device.answered.digests.append(device.digest)
        elif packet.topic == self._topics["round"]:
            self._take_round(device, packet.payload)
        elif packet.topic == self._topics["head"]:
            self._take_head(device, packet.payload)

    def _take_round(self, device: Device, payload: bytes) -> None:
        if self._parsed is None or self._parsed[0] != payload:
            self._parsed = payload, codec.decode(RoundMessage, payload)
        message = self._parsed[1]
        assert isinstance(message, RoundMessage)
        device.open = message if message.state == "open" else None
        self._answer(device)

    def _answer(self, device: Device) -> None:
        """An open round, once the device has its base: what is retained comes in any order."""
        message = device.open
        if message is None or message.base.revision != device.revision:
            return
        device.open, revision = None, message.base.revision + 1
        seen = self._rounds.setdefault(revision, Seen(revision))
        seen.opened.append(time.monotonic())
        body = self._update(device.name, message)
        device.digest, device.answered = hashlib.sha256(body).digest(), seen
        seen.update_bytes = len(body)
        self._send(device, mqtt.publish(topics.update_topic(FLEET, device.name, message.shards), body, UPDATE))
        seen.sent.append(time.monotonic())

    def _take_head(self, device: Device, payload: bytes) -> None:
        if self._parsed is None or self._parsed[0] != payload:
            self._parsed = payload, codec.decode(HeadMessage, payload)
        message = self._parsed[1]
        assert isinstance(message, HeadMessage)
        if message.revision <= device.revision:
            return
        device.revision = message.revision
        seen = self._rounds[message.revision]
        seen.headed.append(time.monotonic())
        seen.head_bytes = len(payload)
        self._say(device)
        if len(seen.headed) == self._devices:
            seen.thrown_out, seen.refused = self._thrown_out, self._refused
            self._thrown_out = self._refused = 0
            self._pipe.send(seen)
            del self._rounds[message.revision]
        self._answer(device)

    def _say(self, device: Device) -> None:
        """Where it is."""
        base = Base(release_id=self._base.release_id, revision=device.revision)
        status = DeviceStatus(device=device.name, state="online", phase="watching", base=base, examples=WINDOWS)
        topic = topics.device_topic(FLEET, device.name, "status")
        self._send(device, mqtt.publish(topic, codec.encode(status), STATUS, retain=True))

    def _update(self, name: str, message: RoundMessage) -> bytes:
        number = int(name.removeprefix("device-"))
        return codec.encode(
            UpdateMessage(
                device=name,
                round_number=message.round_number,
                base=message.base,
                kind=message.kind,
                num_examples=WINDOWS if message.kind == "statistics" else 30 + number % 20,
                payload=self._payloads[number % PAYLOADS],
                output_min=self._range[0],
                output_max=self._range[1],
                loss_before=1.0 + number % 7 / 10,
                loss_after=0.5 + number % 7 / 10,
            )
        )


def payloads(kind: Kind, shape: tuple[int, ...], seed: int) -> list[bytes]:
    """Updates of machines that have much in common, whatever the seed: small steps, or statistics of some windows."""
    common = np.random.default_rng(0).standard_normal(shape)
    rng = np.random.default_rng([1, seed])
    found = []
    for _ in range(PAYLOADS):
        own = common + 0.3 * rng.standard_normal(shape)
        if kind == "delta":
            found.append(pack_delta((1e-3 * own).astype(np.float32)))
        else:
            hidden = rng.random((WINDOWS, shape[1] - 1)).astype(np.float32)
            found.append(pack_statistics(statistics(hidden, (hidden @ own[:, :-1].T + own[:, -1]).astype(np.float32))))
    return found
