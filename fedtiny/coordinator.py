"""The coordinator's loop: publish the release and its newest head, open rounds, collect, aggregate, publish.

Messages are acknowledged to the broker only once they are in the ledger, under a persistent session: a coordinator
that dies at any instant finds every acknowledged update in its ledger and every other one at the broker.
"""

import logging
import threading
import time
from collections import Counter
from pathlib import Path

from fedtiny.clock import utc_now
from fedtiny.config import Config
from fedtiny.errors import ProtocolError, ReleaseError
from fedtiny.federation.combine import aggregate, check_update
from fedtiny.federation.local import LocalUpdate
from fedtiny.federation.rounds import Rounds, Rules, State, Step
from fedtiny.ledger import Ledger, RoundRow
from fedtiny.model.artifact import Release
from fedtiny.protocol import codec, topics
from fedtiny.protocol.messages import (
    Base,
    DeviceStatus,
    FleetStatus,
    HeadMessage,
    Message,
    ReleaseMessage,
    RoundMessage,
    UpdateMessage,
)
from fedtiny.revision import from_message, to_message
from fedtiny.store import locked
from fedtiny.transport import Connected, Connection, Disconnected, Received

log = logging.getLogger(__name__)
TICK_S = 0.25
STATUS_EVERY_S = 5.0
REASONS = {"late", "stale", "duplicate", "foreign", "strategy", "update"}


class Coordinator:
    """One fleet's coordinator over one connection and one ledger."""

    def __init__(self, config: Config, release: Release, ledger: Ledger) -> None:
        self._config, self._release, self._ledger = config, release, ledger
        settings = config.coordinator
        ledger.put_object(release.data)
        zero = Base(release_id=release.id, revision=0)
        ledger.add_revision(release.id, 0, codec.encode(to_message(release.head, zero)), utc_now())
        newest = ledger.newest_revision(release.id)
        assert newest is not None
        revision, self._head_bytes = newest
        self._head = from_message(codec.decode(HeadMessage, self._head_bytes), release)
        rules = Rules(
            quorum=settings.quorum,
            devices=settings.devices or settings.quorum,
            deadline_s=settings.deadline_s,
            pause_s=settings.pause_s,
            rounds=settings.rounds,
        )
        self._rounds = Rounds(
            rules,
            Base(release_id=release.id, revision=revision),
            completed=ledger.completed(release.id),
        )
        self._opened_utc, self._rejected = "", Counter[str]()
        self._seen: set[str] = set()
        self._online = False
        self._last_outcome: str | None = None
        last = ledger.last_round()
        if last is not None:
            self._rounds.number, self._opened_utc = last.number, last.opened_utc
            if last.outcome is None:
                self._resume(last)
            elif last.release_id == release.id:
                self._last_outcome = last.outcome
        topic = topics.fleet_topic(config.fleet, "status")
        self._connection = Connection(
            config.broker,
            f"fedtiny-{config.fleet}-coordinator",
            subscriptions=[
                (topics.fleet_topic(config.fleet, "head"), 1),
                (topics.update_filter(config.fleet), 1),
                (topics.device_topic(config.fleet, "+", "status"), 1),
            ],
            will=(topic, codec.encode(FleetStatus(state="offline"))),
            persistent=True,
            manual_ack=True,
        )

    def _resume(self, last: RoundRow) -> None:
        base = self._rounds.base
        here = (base.release_id, base.revision, self._config.coordinator.strategy)
        if (last.release_id, last.revision, last.strategy) != here:
            self._last_outcome = "abandoned: release or strategy changed"
            self._ledger.close_round(self._rounds.number, utc_now(), self._last_outcome)
            return
        answered = set(self._ledger.updates(self._rounds.number))
        self._rounds.resume(answered, time.monotonic())
        log.info("resuming round %d with %d updates", self._rounds.number, len(answered))

    def run(self, stop: threading.Event) -> None:
        """Serve until ``stop`` is set."""
        self._connection.start()
        status_due = 0.0
        try:
            while not stop.is_set():
                event = self._connection.next_event(TICK_S)
                if isinstance(event, Connected):
                    log.info("connected to %s:%d", self._config.broker.host, self._config.broker.port)
                    self._online = True
                    self._rounds.listening(time.monotonic())
                    self._announce()
                elif isinstance(event, Disconnected):
                    log.warning("%s", event.reason)
                    self._online = False
                elif isinstance(event, Received):
                    self._receive(event)
                now = time.monotonic()
                if self._online:  # nobody could answer, and nobody is waited for, while the broker is away
                    self._step(now)
                if now >= status_due:
                    status_due = now + STATUS_EVERY_S
                    self._publish("status", self._status("online"))
        finally:
            self._publish("status", self._status("offline"))
            self._connection.stop()

    def _announce(self) -> None:
        release = ReleaseMessage(release_id=self._release.id, tflite=self._release.data)
        self._publish("release", release)
        self._publish_raw("head", self._head_bytes)
        if self._rounds.state is State.OPEN:
            self._publish("round", self._round_message("open"))
        elif self._last_outcome is not None:
            self._publish("round", self._round_message("closed", self._last_outcome))

    def _receive(self, event: Received) -> None:
        """Take one message. It is acknowledged whatever becomes of it, but not before that is durable."""
        try:
            topic = topics.parse(event.topic)
            if topic.kind == "status" and topic.device:
                status = codec.decode(DeviceStatus, event.payload)
                if status.device != topic.device:
                    raise ProtocolError("foreign")
                watching = status.state == "online" and status.phase == "watching"
                self._rounds.device(topic.device, status.base, watching=watching)
                self._seen.add(topic.device)
            elif topic.kind == "update" and topic.device:
                self._update(topic.device, event.payload)
            elif topic.kind == "head" and event.retained:
                self._adopt(codec.decode(HeadMessage, event.payload), event.payload)
        except (ProtocolError, ReleaseError) as error:
            kind = str(error).split(":")[0]
            self._reject(kind if kind in REASONS else "malformed", f"{event.topic}: {error}")
        self._connection.acknowledge(event)

    def _adopt(self, message: HeadMessage, payload: bytes) -> None:
        """Go on from the fleet's newest head where this ledger is older than the broker's retained one."""
        base = self._rounds.base
        if message.release_id != base.release_id or message.revision <= base.revision:
            return
        if self._rounds.state is State.OPEN:
            self._abandon(time.monotonic(), "abandoned: the fleet is ahead of this ledger")
        self._head, self._head_bytes = from_message(message, self._release), payload
        self._rounds.base = Base(release_id=message.release_id, revision=message.revision)
        self._ledger.add_revision(message.release_id, message.revision, payload, utc_now())
        log.warning("the fleet is at revision %d, this ledger knew %d: adopted", message.revision, base.revision)
        self._publish_raw("head", payload)

    def _update(self, device: str, payload: bytes) -> None:
        message = codec.decode(UpdateMessage, payload)
        if message.device != device:
            raise ProtocolError("foreign: the update names another device than its topic")
        if message.strategy != self._config.coordinator.strategy:
            raise ProtocolError("strategy: the update is not of the round's strategy")
        reason = self._rounds.judge(message)
        if reason:
            raise ProtocolError(reason)
        fields = LocalUpdate.__dataclass_fields__
        update = LocalUpdate(**{name: getattr(message, name) for name in fields})
        anchor = self._release.head.weights
        check_update(message.strategy, update, self._head, anchor, self._config.coordinator.ridge)
        self._ledger.add_update(self._rounds.number, device, update)
        self._rounds.accept(device)
        log.info("round %d: %s answered (%d bytes)", self._rounds.number, device, len(payload))

    def _reject(self, kind: str, detail: str) -> None:
        self._rejected[kind] += 1
        if self._rejected[kind] == 1:  # said once a kind, counted always
            log.warning("refused: %s", detail)

    def _step(self, now: float) -> None:
        step = self._rounds.due(now)
        if step is Step.OPEN:
            self._rounds.open(now)
            self._opened_utc = utc_now()
            base = self._rounds.base
            self._ledger.open_round(
                self._rounds.number,
                base.release_id,
                base.revision,
                self._config.coordinator.strategy,
                self._opened_utc,
            )
            log.info("round %d opened at revision %d", self._rounds.number, base.revision)
            self._publish("round", self._round_message("open"))
        elif step is Step.AGGREGATE:
            self._aggregate(now)
        elif step is Step.ABANDON:
            self._abandon(now, f"no quorum: {len(self._rounds.answered)} of {self._rounds.rules.quorum} answered")

    def _abandon(self, now: float, outcome: str) -> None:
        self._ledger.close_round(self._rounds.number, utc_now(), outcome)
        log.warning("round %d: %s", self._rounds.number, outcome)
        self._last_outcome = outcome
        self._publish("round", self._round_message("closed", outcome))
        self._rounds.close(None, now)

    def _aggregate(self, now: float) -> None:
        updates = self._ledger.updates(self._rounds.number)
        settings = self._config.coordinator
        anchor = self._release.head.weights
        try:  # each was checked alone; together they may still not make a head
            head = aggregate(settings.strategy, updates.values(), self._head, anchor, settings.ridge)
        except (ProtocolError, ReleaseError, ValueError) as error:
            self._abandon(now, f"abandoned: {error}")
            return
        self._head = head
        examples = sum(u.num_examples for u in updates.values())
        weights = [u.num_examples / examples for u in updates.values()]
        losses = (
            sum(w * u.loss_before for w, u in zip(weights, updates.values(), strict=True)),
            sum(w * u.loss_after for w, u in zip(weights, updates.values(), strict=True)),
        )
        bytes_up = sum(len(u.payload) for u in updates.values())
        old = self._rounds.base
        base = Base(release_id=old.release_id, revision=old.revision + 1)
        closed = self._round_message("closed", f"revision {base.revision}", losses, bytes_up)
        self._head_bytes = codec.encode(to_message(self._head, base, closed, examples))
        self._ledger.close_round(
            self._rounds.number,
            utc_now(),
            closed.outcome or "",
            losses=losses,
            bytes_up=bytes_up,
            revision=(base.release_id, base.revision, self._head_bytes),
        )
        self._rounds.close(base, now)
        self._last_outcome = closed.outcome
        log.info(
            "round %d: %d devices, loss %.4f -> %.4f, revision %d",
            self._rounds.number,
            len(updates),
            *losses,
            base.revision,
        )
        self._publish_raw("head", self._head_bytes)
        self._publish("round", closed)

    def _round_message(
        self,
        state: str,
        outcome: str | None = None,
        losses: tuple[float, float] | None = None,
        bytes_up: int = 0,
    ) -> RoundMessage:
        settings = self._config.coordinator
        return RoundMessage(
            round_number=self._rounds.number,
            state=state,  # type: ignore[arg-type]
            base=self._rounds.base,
            strategy=settings.strategy,
            proximal=settings.proximal,
            deadline_s=settings.deadline_s,
            opened_utc=self._opened_utc,
            quorum=settings.quorum,
            answered=tuple(sorted(self._rounds.answered)) if state == "closed" else (),
            loss_before=losses[0] if losses else None,
            loss_after=losses[1] if losses else None,
            bytes_up=bytes_up,
            outcome=outcome,
        )

    def _status(self, state: str) -> FleetStatus:
        return FleetStatus(
            state=state,  # type: ignore[arg-type]
            release_id=self._release.id,
            revision=self._rounds.base.revision,
            round_number=self._rounds.number,
            devices=len(self._seen),
            rejected=dict(self._rejected),
        )

    def _publish(self, kind: str, message: Message) -> None:
        self._publish_raw(kind, codec.encode(message))

    def _publish_raw(self, kind: str, payload: bytes) -> None:
        if not self._online:  # all of it is announced anew at the next connect
            return
        self._connection.publish(topics.fleet_topic(self._config.fleet, kind), payload, qos=1, retain=True)


def run_coordinator(config: Config, release_path: Path, stop: threading.Event) -> None:
    """Run the coordinator of ``config.fleet`` for the release at ``release_path`` until ``stop``."""
    release = Release.open(release_path)
    folder = config.state_folder("coordinator")
    with locked(folder):
        ledger = Ledger(folder)
        try:
            Coordinator(config, release, ledger).run(stop)
        finally:
            ledger.close()
