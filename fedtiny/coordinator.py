"""The coordinator's loop: publish the release and its newest head, open rounds, collect, aggregate, publish.

Messages are taken in batches. Each batch is one transaction of the ledger and is acknowledged to the broker only when
that is through, under a persistent session: a coordinator that dies at any instant finds every acknowledged update in
its ledger and every other one at the broker. A ledger that cannot be written, for a full disk or a lock, is treated as
such a death: what is in memory is dropped, and the coordinator goes on from the ledger as soon as it can.
"""

import logging
import threading
import time
from collections import Counter
from math import inf
from pathlib import Path

from fedtiny.clock import utc_now
from fedtiny.config import Config
from fedtiny.desk import Desk
from fedtiny.errors import ConfigError, ProtocolError, ReleaseError, StorageError, TransportError
from fedtiny.exposition.coordinator import COORDINATOR
from fedtiny.exposition.coordinator_snapshot import CoordinatorSnapshot, DeviceState, take_snapshot
from fedtiny.exposition.latest import Latest
from fedtiny.exposition.ledger_disk import LedgerDisk
from fedtiny.exposition.server import exposed
from fedtiny.federation.rounds import State, Watching
from fedtiny.federation.strategies import strategy
from fedtiny.global_state import FURTHEST, LEAP, GlobalState
from fedtiny.history import History
from fedtiny.identity import client_id
from fedtiny.intake import Intake, RefusedError
from fedtiny.ledger import PINNED, Ledger
from fedtiny.letterbox import Letterbox
from fedtiny.model.artifact import Release
from fedtiny.notify import Notifier
from fedtiny.protocol import codec, signing, topics
from fedtiny.protocol.messages import DeviceStatus, FleetStatus, HeadMessage, Message, ReleaseMessage, RoundMessage
from fedtiny.round_keeper import RoundKeeper
from fedtiny.store import locked
from fedtiny.transport import Connected, Connection, Disconnected, Received

log = logging.getLogger(__name__)
TICK_S = 0.25
BATCH = 64  # messages
LINGER_S = 0.01  # for more of them: a commit costs as much as the judging of several
FLUSH_EVERY_S = 5.0  # what devices say of themselves to the ledger, what the fleet is to its topic
LISTEN_S = 1.0  # after connecting, before anything is said: what the fleet is at comes first
RETAINED: dict[str, type[Message]] = {"release": ReleaseMessage, "head": HeadMessage, "round": RoundMessage}
RETRY_S = 5.0  # until a ledger that could not be written is tried again


class Coordinator:
    """One fleet's coordinator over one connection and one ledger."""

    def __init__(
        self,
        config: Config,
        release: Release | None,
        ledger: Ledger,
        latest: Latest[CoordinatorSnapshot] | None = None,
    ) -> None:
        self._config, self._ledger, self._latest = config, ledger, latest
        trust, settings = config.trust, config.coordinator
        aggregation = strategy(settings.strategy, settings.options)
        key = None if trust.key is None else signing.load_key(trust.key)
        own = [] if key is None else [signing.public_key(key)]
        if trust.coordinator and not set(own) & set(trust.coordinator):
            raise ConfigError("trust.key: not one of the keys under trust.coordinator; no device would follow")
        self._keys = {*trust.coordinator, *own}
        self._global = GlobalState(config.fleet, ledger, key)
        self._global.start(release)
        self._history = History(ledger, settings.history_days)
        self._intake = Intake(config, ledger, aggregation, self._global)
        self._keeper = RoundKeeper(config, ledger, aggregation, self._global, self._publish)
        self._letterbox = Letterbox(ledger, trust)
        self._notifier = Notifier()
        self._desk = Desk(ledger, self._global, self._keeper, self._publish, self._seat)
        self._rejected: Counter[str] = Counter()
        self._devices: dict[str, DeviceState] = {}
        self._unsaved: dict[str, str] = {}  # device -> its newest status, JSON
        self._outgoing: list[tuple[str, bytes]] = []
        self._retained: dict[str, bytes] = {}  # what the broker has of the global topics
        self._online, self._listening_from = False, inf
        self._furthest = 0  # revision that devices were at when we came
        self._compared = False
        self._flush_due = 0.0
        topic = topics.fleet_topic(config.fleet, "status")
        self._connection = Connection(
            config.broker,
            client_id(config, "coordinator"),
            subscriptions=[
                *((topics.fleet_topic(config.fleet, kind), 1) for kind in RETAINED),
                (topics.update_filter(config.fleet), 1),
                *((topics.device_topic(config.fleet, "+", kind), 1) for kind in ("status", "score", "alarm")),
                (topics.fleet_topic(config.fleet, "command"), 1),
            ],
            will=(topic, codec.encode(FleetStatus(state="offline"))),
            persistent=True,
            manual_ack=True,
        )

    # --- the loop ---

    def run(self, stop: threading.Event) -> None:
        """Serve until ``stop`` is set; StorageError where the ledger cannot be written."""
        self._connection.start()
        try:
            while not stop.is_set():
                self._notifier.alive()
                if self._latest is not None:  # before what may fail: a full disk must not hide the fleet
                    self._latest.offer(self._snapshot)
                self._take(self._gather())
                if not self._online and time.monotonic() >= self._listening_from:
                    self._appear()
                if self._desk.work():
                    self._publish("status", codec.encode(self._status()))  # the operator waits for the outcome
                if self._online:  # nobody could answer, and nobody is waited for, while the broker is away
                    self._adopt()
                    self._keeper.step()
                self._flush()
                self._send()
            self._remember(leaving=True)
        finally:
            self._outgoing = [("status", codec.encode(FleetStatus(state="offline")))]  # the ledger may lack the rest
            try:
                self._send()
            finally:
                self._connection.stop()

    def _appear(self) -> None:
        """What the broker had for us has come: go on from it, and let the fleet know."""
        self._online = True
        self._flush_due = time.monotonic() + FLUSH_EVERY_S
        self._adopt()
        self._keeper.rounds.listening(time.monotonic())
        self._announce()

    def _gather(self) -> list[Received]:
        """What has come in; waits a tick for the first of it."""
        batch: list[Received] = []
        timeout = TICK_S
        while len(batch) < BATCH and (event := self._connection.next_event(timeout)) is not None:
            timeout = LINGER_S
            if isinstance(event, Connected):
                log.info("connected to %s:%d", self._config.broker.host, self._config.broker.port)
                self._listening_from = time.monotonic() + LISTEN_S
                self._furthest, self._compared = 0, False
            elif isinstance(event, Disconnected):
                log.warning("%s", event.reason)
                self._online, self._listening_from = False, inf
            elif isinstance(event, Received):
                batch.append(event)
        return batch

    # --- what comes in ---

    def _take(self, batch: list[Received]) -> None:
        """Judge messages and keep what they say; they are acknowledged once that is durable."""
        if not batch:
            return
        with self._ledger.transaction():
            for event in batch:
                try:
                    self._receive(event)
                except (ProtocolError, ReleaseError) as error:
                    kind = error.kind if isinstance(error, RefusedError) else "malformed"
                    self._reject(kind, f"{event.topic!r}: {error}")
        for event in batch:
            self._connection.acknowledge(event)

    def _receive(self, event: Received) -> None:
        topic = topics.parse(event.topic)
        if topic.fleet != self._config.fleet:
            raise RefusedError("foreign", "it is of another fleet")
        if topic.kind == "status" and topic.device:
            status = codec.decode(DeviceStatus, event.payload)
            if status.device != topic.device:
                raise RefusedError("foreign", "the status names another device than its topic")
            self._devices[topic.device] = DeviceState.of(status, time.monotonic())
            self._unsaved[topic.device] = status.model_dump_json()
            self._history.take_status(status)
            self._take_seat(status)
        elif topic.kind == "update" and topic.device:
            update = self._intake.take(topic.device, event.topic, event.payload, self._keeper.rounds)
            self._keeper.accept(topic.device, update)
            log.debug("%s answered (%d bytes)", topic.device, len(event.payload))
        elif topic.kind in ("score", "alarm"):
            self._history.take(topic, event.payload, late=event.qos > 0)
        elif topic.kind == "command" and topic.device is None:
            self._letterbox.take(event.topic, event.payload, retained=event.retained)
        elif event.retained and topic.device is None and topic.kind in RETAINED:
            if self._keys:
                signing.verify(event.topic, event.payload, [*self._keys])
            if self._is_ahead(codec.decode(RETAINED[topic.kind], event.payload)):
                self._retained[topic.kind] = event.payload

    def _is_ahead(self, message: Message) -> bool:
        """Whether the fleet has seen more than this ledger knows; without pinned keys devices heed revisions alone."""
        match message:
            case HeadMessage():
                newer = self._global.is_newer(message)  # which refuses one that cannot be
                return newer or (bool(self._keys) and self._global.head_serial < message.serial < FURTHEST)
            case ReleaseMessage():
                return bool(self._keys) and self._global.release_serial < message.serial < FURTHEST
            case RoundMessage():  # a device answers no round whose number it has answered
                return self._keeper.rounds.number < message.round_number < FURTHEST
        return False

    def _take_seat(self, status: DeviceStatus) -> None:
        """Tell the rounds whether a device takes part, and where it is."""
        base, known = status.base, self._global.base
        if base is not None and base.release_id == known.release_id and base.revision <= known.revision + LEAP:
            self._furthest = max(self._furthest, 0 if self._compared else base.revision)
        row = self._ledger.device(status.device)
        out = row is not None and row.standing != "active"
        if out or status.state != "online" or status.phase != "watching":
            self._keeper.rounds.device(status.device, None)
        else:
            if base == self._global.base:
                base = self._global.base  # one for all that are there
            self._keeper.rounds.device(status.device, Watching(base, status.examples, status.fresh))

    def _seat(self, device: str) -> None:
        """Heed a device's new standing, by what it said last."""
        row = self._ledger.device(device)
        said = self._unsaved.get(device) or (row and row.status)
        if said:
            self._take_seat(DeviceStatus.model_validate_json(said))

    def _adopt(self) -> None:
        """Go on from what the broker has retained, where this ledger is older: it was lost, or put back from a copy."""
        retained, self._retained = self._retained, {}
        rounds = self._keeper.rounds
        if "round" in retained:
            number = codec.decode(RoundMessage, retained["round"]).round_number
            if number > rounds.number:
                self._abandon_older()
                log.warning("the fleet is at round %d, this ledger knew %d: counting on", number, rounds.number)
                rounds.number = number
        if "head" in retained:
            self._abandon_older()
            if self._global.is_newer(message := codec.decode(HeadMessage, retained["head"])):
                self._global.adopt_head(retained["head"])
            if self._keys:  # devices heed serials: one above the newest that they have seen
                self._ledger.outrun(message.serial)
                self._global.restore_head(self._global.base.revision)
            self._go_on(f"at revision {message.revision}, serial {message.serial}")
        if "release" in retained:
            self._abandon_older()
            self._ledger.outrun(serial := codec.decode(ReleaseMessage, retained["release"]).serial)
            self._global.publish_release(self._global.release, "above what the fleet has seen")
            self._go_on(f"at a release of serial {serial}")

    def _go_on(self, fleet: str) -> None:
        self._keeper.rebase()
        self._announce()
        base = self._global.base
        log.warning("the fleet is %s: going on at release %s, revision %d", fleet, base.release_id[:12], base.revision)

    def _abandon_older(self) -> None:
        if self._keeper.rounds.state is State.OPEN:
            self._keeper.abandon("abandoned: the fleet is ahead of this ledger")

    def _reject(self, kind: str, detail: str) -> None:
        self._rejected[kind] += 1
        if self._rejected[kind] == 1:  # said once a kind, counted always
            log.warning("refused: %s", detail)

    # --- what goes out ---

    def _announce(self) -> None:
        for kind, payload in self._global.payloads.items():
            self._publish(kind, payload)
        self._keeper.announce()

    def _flush(self) -> None:
        """What devices say of themselves to the ledger, and how the fleet is to its topic, from time to time."""
        now = time.monotonic()
        if now < self._flush_due:
            return
        self._flush_due = now + FLUSH_EVERY_S
        if self._online and not self._compared:  # once a connection and no further than LEAP: a device may lie
            self._compared = True
            if self._furthest > self._global.base.revision:
                self._abandon_older()
                self._global.leap(self._furthest)
                self._go_on(f"at revision {self._furthest}, which nobody has kept")
        self._remember()
        self._publish("status", codec.encode(self._status()))

    def _remember(self, *, leaving: bool = False) -> None:
        """What devices say of themselves to the ledger."""
        if self._unsaved:
            now_utc = utc_now()
            self._ledger.saw({device: (now_utc, status) for device, status in self._unsaved.items()})
            self._unsaved.clear()
        self._history.flush(all_of_it=leaving)

    def _status(self) -> FleetStatus:
        pinned = self._ledger.setting(PINNED)
        return FleetStatus(
            state="online",
            release_id=self._global.release.id,
            revision=self._global.base.revision,
            round_number=self._keeper.rounds.number,
            devices=len(self._devices),
            pinned=None if pinned is None else int(pinned),
            quarantined=self._ledger.count("quarantined"),
            rejected=dict(self._rejected),
            orders=self._desk.outcomes(),
        )

    def _snapshot(self) -> CoordinatorSnapshot:
        parts = self._ledger, self._keeper, self._connection
        return take_snapshot(self._config, *parts, self._devices, self._rejected, online=self._online)

    def _publish(self, kind: str, payload: bytes) -> None:
        """Send ``payload`` to a global topic at the end of this turn: when what it says is in the ledger."""
        if kind != "round":  # of the others only the newest is of use
            self._outgoing = [message for message in self._outgoing if message[0] != kind]
        self._outgoing.append((kind, payload))

    def _send(self) -> None:
        if self._online:  # else all of it is announced at the next connect
            for kind, payload in self._outgoing:
                self._connection.publish(topics.fleet_topic(self._config.fleet, kind), payload, qos=1, retain=True)
        self._outgoing.clear()


def run_coordinator(config: Config, release_path: Path | None, stop: threading.Event) -> None:
    """Run the coordinator of ``config.fleet`` until ``stop``; ``release_path``: its release, where it is a new one."""
    release = None if release_path is None else Release.open(release_path)
    folder = config.state_folder("coordinator")
    disk = LedgerDisk(folder)
    with locked(folder), exposed(config.metrics, COORDINATOR, {"fleet": config.fleet}, disk) as latest:
        ledger = Ledger(folder)
        try:
            coordinator: Coordinator | None = Coordinator(config, release, ledger, latest)
            while not stop.is_set():
                try:
                    coordinator = coordinator or Coordinator(config, None, ledger, latest)
                    coordinator.run(stop)
                except (StorageError, TransportError) as error:
                    disk.errors += isinstance(error, StorageError)
                    log.error("%s; nothing is lost: going on from the ledger in %.0f s", error, RETRY_S)
                    coordinator = None
                    Notifier().alive()  # it is: a restart would find the same disk
                    stop.wait(RETRY_S)
        finally:
            ledger.close()
