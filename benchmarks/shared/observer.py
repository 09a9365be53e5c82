"""Somebody who listens to all that a coordinator publishes, and to what devices say of themselves."""

import hashlib
import time
from collections.abc import Callable
from itertools import pairwise

from benchmarks.shared.listener import Listener
from fedtiny import config
from fedtiny.protocol import codec, topics
from fedtiny.protocol.messages import DeviceStatus, HeadMessage, ReleaseMessage, RoundMessage
from fedtiny.transport import Event, Received


class Observer(Listener):
    """It listens to everything but updates, scores, alarms and commands.

    Attributes:
        heads: By release and revision, the SHA-256 of every different payload.
        rounds: Messages as they came, also those that the broker had retained.
        statuses: The newest of each device.
        newest: Revision of the newest head.
    """

    def __init__(self, broker: config.Broker, fleet: str, name: str = "observer") -> None:
        self._fleet = fleet
        self.heads: dict[tuple[str, int], set[str]] = {}
        self.rounds: list[RoundMessage] = []
        self.statuses: dict[str, DeviceStatus] = {}
        self.newest = 0
        self._serials: dict[str, dict[int, None]] = {"release": {}, "head": {}}  # in the order of their first coming
        super().__init__(broker, name, [topics.fleet_topic(fleet, "+"), topics.device_topic(fleet, "+", "status")])

    def wait(self, found: Callable[[], bool], within_s: float) -> bool:
        """Read until ``found``; False when it is not within ``within_s``."""
        until = time.monotonic() + within_s
        while not found():
            if time.monotonic() > until:
                return False
            self.read(0.1)
        return True

    def _take(self, event: Event) -> None:
        if not isinstance(event, Received):
            return
        topic = topics.parse(event.topic)
        if topic.device:
            self.statuses[topic.device] = codec.decode(DeviceStatus, event.payload)
        elif topic.kind == "round":
            self._take_round(codec.decode(RoundMessage, event.payload))
        elif topic.kind == "head":
            self._take_head(codec.decode(HeadMessage, event.payload), event)
        elif topic.kind == "release":
            self._note_serial("release", codec.decode(ReleaseMessage, event.payload).serial, event)

    def _take_round(self, message: RoundMessage) -> None:
        self.rounds.append(message)

    def _take_head(self, message: HeadMessage, event: Received) -> None:
        digest = hashlib.sha256(event.payload).hexdigest()
        self.heads.setdefault((message.release_id, message.revision), set()).add(digest)
        self._note_serial("head", message.serial, event)
        self.newest = max(self.newest, message.revision)

    def _note_serial(self, kind: str, serial: int, event: Received) -> None:
        if not event.retained:  # a retained one overtakes what the session has kept
            self._serials[kind].setdefault(serial)

    def wrong(self) -> dict[str, int]:
        """How many things were published that contradict each other."""
        opened: dict[int, set[tuple[object, ...]]] = {}
        for message in self.rounds:
            if message.state == "open":
                same = message.base.release_id, message.base.revision, message.opened_utc, message.invited
                opened.setdefault(message.round_number, set()).add(same)
        return {
            "revisions_with_two_contents": sum(len(digests) > 1 for digests in self.heads.values()),
            "serials_that_went_down": sum(a > b for serials in self._serials.values() for a, b in pairwise(serials)),
            "rounds_with_two_contents": sum(len(contents) > 1 for contents in opened.values()),
        }
