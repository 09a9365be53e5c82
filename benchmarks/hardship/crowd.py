"""Light devices that answer every open round with a valid update: eight of them are one MQTT client and no model."""

import hashlib
import random
import time

import numpy as np
from numpy.typing import NDArray

from benchmarks.shared.observer import Observer
from fedtiny import config
from fedtiny.federation.updates import pack_delta, pack_statistics
from fedtiny.model.artifact import Release
from fedtiny.model.head import statistics
from fedtiny.protocol import codec, topics
from fedtiny.protocol.messages import Base, DeviceStatus, HeadMessage, Kind, RoundMessage, UpdateMessage
from fedtiny.transport import Event, Published, Received

ABSENT = 0.1  # share of the rounds that a device does not answer
WILD = 0.03  # share of its updates that are beyond all reason
TWICE = 0.05  # share of them that are sent again, as a device does that missed the acknowledgement
SLOWEST_S = 0.3  # of a device's answer
AGAIN_S = 2.0  # at most, from the acknowledgement to the second sending
SLICE_S = 0.02  # between two looks at which answers are due

Update = tuple[str, bytes]  # topic, payload


class Crowd(Observer):
    """Devices ``device-0`` and on.

    Attributes:
        sent: All updates as they were sent, by their SHA-256.
        delivered: SHA-256 of each update that the broker has acknowledged.
        answering: Whether they answer at all.
    """

    def __init__(self, broker: config.Broker, fleet: str, release: Release, *, devices: int, seed: int) -> None:
        self._release, self._names = release, [f"device-{number}" for number in range(devices)]
        self._chance, self._rng = random.Random(seed), np.random.default_rng(seed)
        outputs, columns = release.head.weights.shape
        self._common = self._rng.standard_normal((outputs, columns))  # what all machines have in common
        self.sent: dict[str, bytes] = {}
        self.delivered: set[str] = set()
        self.answering = True
        self._asked: set[tuple[str, int]] = set()
        self._due: list[tuple[float, Update]] = []
        self._answers: dict[str, float] = {}  # device -> when its last answer is due: they leave in their order
        self._unacknowledged: dict[int, Update] = {}  # by token
        self._base = Base(release_id=release.id, revision=0)
        self._unannounced: Base | None = self._base
        super().__init__(broker, fleet, "crowd")

    def reconnect(self) -> None:
        """At once; as devices do, they say where they are, and send again what was not acknowledged."""
        super().reconnect()
        self._unannounced = self._base
        again, self._unacknowledged = self._unacknowledged, {}
        for update in again.values():
            self._send(update)

    def read(self, seconds: float) -> None:
        """As ever, and send the statuses and answers that are due."""
        until = time.monotonic() + seconds
        while True:
            now = time.monotonic()
            self._announce()
            for update in [update for due, update in self._due if due <= now]:
                self._send(update)
            self._due = [one for one in self._due if one[0] > now]
            self._listen(max(0.0, min(until - now, SLICE_S)))
            if now >= until:
                return

    def _take(self, event: Event) -> None:
        if isinstance(event, Published) and event.token in self._unacknowledged:
            update = self._unacknowledged.pop(event.token)
            self.delivered.add(hashlib.sha256(update[1]).hexdigest())
            if self._chance.random() < TWICE:
                self._due.append((time.monotonic() + self._chance.uniform(0, AGAIN_S), update))
        super()._take(event)

    def _take_head(self, message: HeadMessage, event: Received) -> None:
        newer = message.revision > self.newest
        super()._take_head(message, event)
        if newer:
            self._base = Base(release_id=message.release_id, revision=message.revision)
            self._unannounced = self._base

    def _take_round(self, message: RoundMessage) -> None:
        super()._take_round(message)
        if message.state != "open" or not self.answering:
            return
        for name in self._names:
            if (name, message.round_number) not in self._asked and self._chance.random() > ABSENT:
                due = time.monotonic() + self._chance.uniform(0, SLOWEST_S)
                self._answers[name] = max(due, self._answers.get(name, 0.0))
                self._due.append((self._answers[name], self._update(name, message)))
            self._asked.add((name, message.round_number))

    def _update(self, name: str, message: RoundMessage) -> Update:
        wild, count = self._chance.random() < WILD, self._chance.randint(10, 99)
        own = self._common + 0.3 * self._rng.standard_normal(self._common.shape)
        update = UpdateMessage(
            device=name,
            round_number=message.round_number,
            base=message.base,
            kind=message.kind,
            num_examples=count,
            payload=self._payload(message.kind, own * (30.0 if wild else 1.0), count),
            output_min=self._release.head.output_min,
            output_max=self._release.head.output_max,
            loss_before=1.0 + self._chance.random(),
            loss_after=self._chance.random(),
        )
        body = codec.encode(update)
        self.sent[hashlib.sha256(body).hexdigest()] = body
        return topics.update_topic(self._fleet, name, message.shards), body

    def _payload(self, kind: Kind, own: NDArray[np.float64], count: int) -> bytes:
        """A small step towards ``own``, or the statistics of ``count`` windows that ``own`` reconstructs."""
        if kind == "delta":
            return pack_delta((1e-3 * own).astype(np.float32))
        hidden = self._rng.random((count, own.shape[1] - 1)).astype(np.float32)
        return pack_statistics(statistics(hidden, (hidden @ own[:, :-1].T + own[:, -1]).astype(np.float32)))

    def _announce(self) -> None:
        """Every device's status, where it has come to another head."""
        base, self._unannounced = self._unannounced, None
        for name in self._names if base else ():
            status = DeviceStatus(device=name, state="online", phase="watching", base=base)
            self._connection.publish(
                topics.device_topic(self._fleet, name, "status"), codec.encode(status), retain=True
            )

    def _send(self, update: Update) -> None:
        self._unacknowledged[self._connection.publish(*update)] = update
