"""Somebody who writes down all that one device tells its fleet, and asks it for updates."""

import time
from collections.abc import Callable

from benchmarks.shared.listener import Listener
from fedtiny import config
from fedtiny.model.artifact import Release
from fedtiny.protocol import codec, topics
from fedtiny.protocol.messages import Alarm, Base, DeviceStatus, ReleaseMessage, RoundMessage, UpdateMessage
from fedtiny.transport import Event, Received

WITHIN_S = 60.0  # for what must come in the end


class Witness(Listener):
    """It listens to everything.

    Attributes:
        alarms: Payloads as they came.
        updates: By round, the different payloads that came.
        status: The newest.
    """

    def __init__(self, broker: config.Broker, fleet: str, release: Release) -> None:
        self._fleet, self._base = fleet, Base(release_id=release.id, revision=0)
        self.alarms: list[bytes] = []
        self.updates: dict[int, set[bytes]] = {}
        self.status: DeviceStatus | None = None
        self._round = 0
        super().__init__(broker, f"witness-{fleet}", [topics.everything_filter(fleet)])
        message = ReleaseMessage(release_id=release.id, tflite=release.data)
        self._connection.publish(topics.fleet_topic(fleet, "release"), codec.encode(message), retain=True)

    def open_round(self) -> None:
        """Ask for one more update."""
        self._round += 1
        message = RoundMessage(
            round_number=self._round, state="open", base=self._base, strategy="fedavg", deadline_s=600, opened_utc="now"
        )
        self._connection.publish(topics.fleet_topic(self._fleet, "round"), codec.encode(message), retain=True)

    def _take(self, event: Event) -> None:
        if not isinstance(event, Received):
            return
        kind = topics.parse(event.topic).kind
        if kind == "alarm":
            self.alarms.append(event.payload)
        elif kind == "update":
            update = codec.decode(UpdateMessage, event.payload)
            self.updates.setdefault(update.round_number, set()).add(event.payload)
        elif kind == "status" and "/device/" in event.topic:
            self.status = codec.decode(DeviceStatus, event.payload)

    def says(self, **fields: object) -> bool:
        """Whether the device's newest status does."""
        return all(getattr(self.status, name, None) == value for name, value in fields.items())

    def wait(self, found: Callable[[], bool]) -> None:
        """Until ``found``."""
        until = time.monotonic() + WITHIN_S
        while not found():
            assert time.monotonic() < until, f"{len(self.alarms)} alarms and the status {self.status}"
            self.read(0.1)

    @property
    def first_seen(self) -> dict[int, Alarm]:
        """By number, in the order in which they first came."""
        found: dict[int, Alarm] = {}
        for payload in self.alarms:
            alarm = codec.decode(Alarm, payload)
            found.setdefault(alarm.number, alarm)
        return found
