"""What one device knows and decides: its release, heads and watch, its alarms, and all of it on disk.

No network and no sensor: the agent (``fedtiny.edge``) brings windows and messages, and carries away what is spooled.
"""

import logging
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedtiny.alarms import AlarmBook
from fedtiny.config import Config, Edge
from fedtiny.device_store import DeviceStore, Kind
from fedtiny.errors import ProtocolError, ReleaseError
from fedtiny.federation.local import compute_update
from fedtiny.federation.participant import Participant, Phase
from fedtiny.federation.trial import choose_head
from fedtiny.guard import Guard
from fedtiny.identity import own_identity
from fedtiny.model.alarm import AlarmLife
from fedtiny.model.artifact import Release
from fedtiny.model.detector import split_index
from fedtiny.model.head import Head
from fedtiny.model.network import Network
from fedtiny.model.watch import Finding, Rules, Watch
from fedtiny.protocol import codec, signing, topics
from fedtiny.protocol.messages import HeadInUse, HeadMessage, ReleaseMessage, RoundMessage, UpdateMessage
from fedtiny.revision import from_message
from fedtiny.signal.sensor import SensorBaseline
from fedtiny.store import atomic_write
from fedtiny.watch_state import alarm_state, load_watch, restored_alarm, save_watch

log = logging.getLogger(__name__)
Array = NDArray[np.float32]
MODEL, STORE = "release.tflite", "device.db"
KEY = "device"


@dataclass(frozen=True)
class Message:
    """Something to spool: see ``DeviceStore.spool``."""

    kind: Kind
    topic: str
    payload: bytes
    retain: bool = False
    key: str = ""


@dataclass
class Position:
    """How far the source was read: recordings up to ``cursor`` of ``source``, and ``windows`` of the next one."""

    source: str = ""
    cursor: str = ""
    windows: int = 0


@dataclass
class Counters:
    """Windows since the state folder was made: all, of unknown operating points, with a sensor fault.

    fresh: normal ones that were taken into the local data since the last update.
    """

    windows: int = 0
    unknown: int = 0
    sensor_faults: int = 0
    fresh: int = 0


class Device:
    """The device ``name`` with its state in ``folder``, which the caller has locked."""

    def __init__(self, config: Config, folder: Path, name: str) -> None:
        self.name, self._config, self._folder = name, config, folder
        self.store = DeviceStore(folder / STORE)
        saved = self.store.get(KEY, {})
        self.book = AlarmBook(name, saved.get("alarms"))
        self.position = Position(**saved.get("position", {}))
        self.counters = Counters(**saved.get("counters", {}))
        self.sensor = self._restored(saved.get("sensor"))
        lowest = self.store.array("sensor/lowest")
        self.sensor_baseline = None if lowest is None else SensorBaseline(lowest)
        self.participant = Participant()
        self.network: Network | None = None
        self.watch: Watch | None = None
        self.in_use: HeadInUse | None = None
        self._global: Head | None = None  # the newest
        self._trusted: Head | None = None  # the newest that has passed its trial
        self._trusted_revision = 0
        self.proximal = config.coordinator.proximal  # the rounds', once there was one
        self._pending: HeadMessage | None = None
        commands = [(0, command_id) for command_id in saved.get("commands", ())]  # as it was before signatures
        self.guard = Guard(config.trust, saved.get("guard", {"commands": commands}))
        self.identity = own_identity(config.trust)
        if saved.get("release_id"):
            self._restore(saved)

    def _restored(self, saved: list[Any] | None) -> AlarmLife:
        edge = self._config.edge
        if saved:
            return restored_alarm(edge.alarm_votes, edge.alarm_window, saved)
        return AlarmLife(edge.alarm_votes, edge.alarm_window)

    # --- durable state ---

    def save(self, *messages: Message) -> None:
        """Everything to disk, ``messages`` into the spool, in one transaction; StorageError leaves both as is."""
        base = self.participant.base
        values: dict[str, Any] = {
            "release_id": base.release_id if base else "",
            "revision": base.revision if base else 0,
            "phase": self.participant.phase.value,
            "last_answered": self.participant.last_answered,
            "answered_revision": self.participant.answered_revision,
            "in_use": self.in_use.model_dump() if self.in_use else None,
            "trusted_revision": self._trusted_revision,
            "alarms": self.book.saved(),
            "sensor": alarm_state(self.sensor),
            "position": self.position.__dict__,
            "counters": self.counters.__dict__,
            "guard": self.guard.saved(),
        }
        with self.store.transaction():
            self.store.put(KEY, values)
            self._put_head("head", self.network.head if self.network and self.in_use else None)
            self._put_head("global", self._global)
            self._put_head("trusted", self._trusted)
            self.store.put_array("sensor/lowest", self.sensor_baseline.lowest if self.sensor_baseline else None)
            save_watch(self.store, self.watch)
            for message in messages:
                self.store.spool(message.kind, message.topic, message.payload, retain=message.retain, key=message.key)
        self.guard.unsaved = False

    def _put_head(self, key: str, head: Head | None) -> None:
        self.store.put_array(f"{key}/weights", head.weights if head else None)
        self.store.put_array(f"{key}/range", np.array([head.output_min, head.output_max]) if head else None)

    def _head(self, key: str) -> Head | None:
        weights, span = self.store.array(f"{key}/weights"), self.store.array(f"{key}/range")
        return None if weights is None or span is None else Head(weights, float(span[0]), float(span[1]))

    def _restore(self, saved: dict[str, Any]) -> None:
        """Go on where the store says."""
        path = self._folder / MODEL
        try:
            release = Release.open(path)
            if release.id != saved["release_id"]:
                raise ReleaseError(f"{path}: not the release of the saved state")
        except ReleaseError as error:
            log.error("%s; waiting for the fleet's release", error)
            return
        self._global, self._trusted = self._head("global"), self._head("trusted")
        self._trusted_revision = saved["trusted_revision"]
        self.in_use = HeadInUse.model_validate(saved["in_use"]) if saved["in_use"] else None
        self.network = Network(release, self._config.edge.runtime, self._head("head"))
        self.watch = load_watch(self.store, self.network, rules_of(self._config.edge))
        self.participant.release(release.id)
        self.participant.head(saved["revision"])
        self.participant.last_answered = saved["last_answered"]
        self.participant.answered_revision = saved.get("answered_revision")
        if saved["phase"] == Phase.WATCHING.value:
            self.participant.learned()

    def close(self) -> None:
        """Close the store."""
        self.store.close()

    # --- what the fleet sends ---

    def open_release(self, message: ReleaseMessage) -> Release | None:
        """The release in ``message``, checked; None where it is the one at hand."""
        base = self.participant.base
        if base is not None and base.release_id == message.release_id:
            return None
        release = Release(message.tflite)
        if release.id != message.release_id:
            raise ProtocolError(f"release: its SHA-256 is {release.id[:12]}, announced as {message.release_id[:12]}")
        return release

    def accept_release(self, release: Release) -> Network:
        """Make ``release`` ready to run, and keep it; whatever goes wrong does so before the one at hand is let go."""
        network = Network(release, self._config.edge.runtime)
        atomic_write(self._folder / MODEL, release.data)
        return network

    def use_network(self, network: Network) -> None:
        """Start over with what ``accept_release`` gave: the machine is learned anew."""
        release = network.release
        self.network, self.watch = network, Watch(network, rules_of(self._config.edge))
        self.in_use = self._global = self._trusted = self.sensor_baseline = None
        self._trusted_revision = self.counters.fresh = 0
        self.participant.release(release.id)
        log.info("release %s taken", release.id[:12])
        if self._pending is not None and self._pending.release_id == release.id:
            try:
                self.take_head(self._pending)
            except (ProtocolError, ReleaseError) as error:  # the release is good all the same
                log.warning("head: %s", error)

    def take_head(self, message: HeadMessage) -> bool:
        """A global head: try it, and score with it or with what serves this machine better; True when it was new."""
        base = self.participant.base
        if base is None or base.release_id != message.release_id:
            self._pending = message  # retained topics come in any order: its release may be behind it
            return False
        self._pending = None
        if message.revision <= base.revision:
            return False
        assert self.network is not None
        self._global = from_message(message, self.network.release)
        self.participant.head(message.revision)
        self.settle_head()
        return True

    def settle_head(self) -> None:
        """Choose the head to score with, by its loss on this machine's windows that were kept out of all fitting.

        A machine that is still being learned has none; the choice is made when it has.
        """
        network, watch, base = self.network, self.watch, self.participant.base
        assert network is not None
        assert watch is not None
        assert base is not None
        if not watch.watching:
            return
        release = network.release.head
        new = self._global or release
        hidden, targets, split = watch.local_data()
        proximal = self.proximal if self._config.edge.personal_head else None
        known = [release] if self._trusted is None else [release, self._trusted]
        choice = choose_head(new, known, hidden, targets, split, proximal)
        if choice.head is not None:
            self._trusted, self._trusted_revision = new, base.revision
            watch.set_head(choice.head)
        self.in_use = HeadInUse(
            use=choice.use,
            revision=self._trusted_revision,
            loss_before=choice.loss_known,
            loss_global=choice.loss_global,
            loss_personal=choice.loss_personal,
        )
        log.info(
            "revision %d: loss %.4f, best known %.4f; scoring with the %s head",
            base.revision,
            choice.loss_global,
            choice.loss_known,
            choice.use,
        )

    # --- what it tells the fleet ---

    def judged(self, finding: Finding, *, trusted: bool) -> None:
        """Count what became of a window; see ``Watch.take``."""
        assert self.watch is not None
        self.counters.unknown += finding.verdict == "unknown"
        learned = trusted and finding.verdict in ("learning", "normal") and not self.watch.alarm.standing
        self.counters.fresh += learned

    @property
    def examples(self) -> int:
        """Windows that an update would be fitted on."""
        detectors = self.watch.detectors.values() if self.watch else ()
        counts = [n for d in detectors if d.threshold is not None for n in (len(d.baseline), len(d.recent))]
        return sum(split_index(count) for count in counts if count >= 4)

    def answer(self, message: RoundMessage) -> Message | None:
        """This device's update for a round, to be spooled; None where the round asks nothing of it.

        Raises ProtocolError where the round asks for a signature that this device cannot give.
        """
        participant, watch, network = self.participant, self.watch, self.network
        if watch is None or network is None:
            return None
        if not participant.asked(message, self.name, self.examples, self.counters.fresh):
            return None
        if message.signed and self.identity is None:
            raise ProtocolError(
                f"round {message.round_number} asks for signed updates: set trust.key and trust.certificate"
            )
        hidden, targets, split = watch.local_data()
        head = self._global or network.release.head
        local = compute_update(message.kind, head.weights, hidden, targets, split, message.proximal)
        log.info(
            "round %d: loss %.4f -> %.4f on kept-out windows",
            message.round_number,
            local.loss_before,
            local.loss_after,
        )
        identity = self.identity if message.signed else None
        assert participant.base is not None
        update = UpdateMessage(
            device=self.name,
            round_number=message.round_number,
            base=participant.base,
            kind=message.kind,
            certificate=identity.certificate if identity else b"",
            **local.__dict__,
        )
        topic, payload = topics.update_topic(self._config.fleet, self.name, message.shards), codec.encode(update)
        if identity is not None:
            payload = signing.sign(topic, payload, identity.key, update.encoding)
        participant.answered(message)
        self.counters.fresh = 0
        return Message("update", topic, payload, key="newest")

    # --- what operators ask ---

    def relearn(self) -> bool:
        """Forget what is normal and learn it anew, under the newest head that was trusted; False without a release."""
        if self.network is None:
            return False
        with suppress(RuntimeError):  # learning already
            self.participant.relearn()
        alarm = self.watch.alarm if self.watch else None
        self.watch = Watch(self.network, rules_of(self._config.edge), alarm)
        self.watch.set_head(self._trusted or self.network.release.head)
        self.in_use = HeadInUse(use="global", revision=self._trusted_revision)
        self.sensor_baseline = None
        self.counters.fresh = 0
        return True


def rules_of(edge: Edge) -> Rules:
    """How a machine is watched, by configuration."""
    return Rules(
        rate=edge.window_rate,
        learn=edge.learn_windows,
        keep=max(edge.buffer_windows, 2 * edge.learn_windows),
        votes=edge.alarm_votes,
        window=edge.alarm_window,
        quiet=edge.alarm_clear,
        points=edge.operating_points,
    )
