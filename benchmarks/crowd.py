"""Light devices that answer every open round with a valid update: eight of them are one MQTT client and no model."""

import hashlib
import random
import time

import numpy as np
from numpy.typing import NDArray

from benchmarks.observer import Observer
from fedtiny import config
from fedtiny.federation.updates import pack_delta
from fedtiny.model.artifact import Release
from fedtiny.protocol import codec, topics
from fedtiny.protocol.messages import Base, DeviceStatus, HeadMessage, RoundMessage, UpdateMessage
from fedtiny.transport import Event, Published, Received

ABSENT = 0.1  # share of the rounds that a device does not answer
WILD = 0.03  # share of its updates that are beyond all reason
SLOWEST_S = 0.3  # of a device's answer
SLICE_S = 0.02  # between two looks at which answers are due

Update = tuple[str, bytes]  # topic, payload


class Crowd(Observer):
    """Devices ``device-0`` and on.

    Attributes:
        delivered: SHA-256 of each update that the broker has acknowledged.
        answering: Whether they answer at all.
    """

    def __init__(self, broker: config.Broker, fleet: str, release: Release, *, devices: int, seed: int) -> None:
        self._release, self._names = release, [f"device-{number}" for number in range(devices)]
        self._chance, self._rng = random.Random(seed), np.random.default_rng(seed)
        self.delivered: set[str] = set()
        self.answering = True
        self._asked: set[tuple[str, int]] = set()
        self._due: list[tuple[float, Update]] = []
        self._sent: dict[int, Update] = {}  # by token, until acknowledged
        self._unannounced: Base | None = Base(release_id=release.id, revision=0)
        super().__init__(broker, fleet, "crowd")

    def reconnect(self) -> None:
        """At once; what was not acknowledged is sent again, as a device's spool does."""
        super().reconnect()
        again, self._sent = self._sent, {}
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
        if isinstance(event, Published) and event.token in self._sent:
            self.delivered.add(hashlib.sha256(self._sent.pop(event.token)[1]).hexdigest())
        super()._take(event)

    def _take_head(self, message: HeadMessage, event: Received) -> None:
        newer = message.revision > self.newest
        super()._take_head(message, event)
        if newer:
            self._unannounced = Base(release_id=message.release_id, revision=message.revision)

    def _take_round(self, message: RoundMessage) -> None:
        super()._take_round(message)
        if message.state != "open" or not self.answering:
            return
        direction = self._rng.standard_normal(self._release.head.weights.shape)
        for name in self._names:
            if (name, message.round_number) not in self._asked and self._chance.random() > ABSENT:
                when = time.monotonic() + self._chance.uniform(0, SLOWEST_S)
                self._due.append((when, self._update(name, message, direction)))
            self._asked.add((name, message.round_number))

    def _update(self, name: str, message: RoundMessage, direction: NDArray[np.float64]) -> Update:
        size = 1.0 if self._chance.random() < WILD else 1e-3
        delta = size * (direction + 0.3 * self._rng.standard_normal(direction.shape))
        update = UpdateMessage(
            device=name,
            round_number=message.round_number,
            base=message.base,
            kind=message.kind,
            num_examples=self._chance.randint(10, 99),
            payload=pack_delta(delta.astype(np.float32)),
            output_min=self._release.head.output_min,
            output_max=self._release.head.output_max,
            loss_before=1.0,
            loss_after=0.5,
        )
        return topics.update_topic(self._fleet, name, message.shards), codec.encode(update)

    def _announce(self) -> None:
        """Every device's status, where it has come to another head."""
        base, self._unannounced = self._unannounced, None
        for name in self._names if base else ():
            status = DeviceStatus(device=name, state="online", phase="watching", base=base)
            self._connection.publish(
                topics.device_topic(self._fleet, name, "status"), codec.encode(status), retain=True
            )

    def _send(self, update: Update) -> None:
        self._sent[self._connection.publish(*update)] = update
