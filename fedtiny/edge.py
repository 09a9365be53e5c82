"""The edge agent: window -> sensor check -> features -> int8 model -> score -> alarm, and its part in the rounds.

One thread does all the work; the connection's own thread only queues what comes in, and a live source has one of its
own where its buffer needs it. What the device knows is in ``fedtiny.device``; here is what goes in and out.
"""

import csv
import hashlib
import logging
import threading
import time
import uuid
from collections import Counter, deque
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedtiny.clock import utc_now
from fedtiny.config import Config
from fedtiny.device import Device, Message
from fedtiny.device_status import Lag, device_status, in_words
from fedtiny.errors import ConfigError, DataError, ProtocolError, ReleaseError, StorageError
from fedtiny.evidence import Evidence
from fedtiny.exposition.agent import AGENT
from fedtiny.exposition.agent_snapshot import AgentSnapshot
from fedtiny.exposition.latest import Latest
from fedtiny.exposition.server import exposed
from fedtiny.federation.participant import Phase
from fedtiny.health import HealthMeter
from fedtiny.identity import client_id
from fedtiny.model.alarm import AlarmLife
from fedtiny.model.artifact import Manifest, Release
from fedtiny.model.explain import contributions, top_bands
from fedtiny.model.watch import Finding, Watch
from fedtiny.notify import Notifier
from fedtiny.outbox import Outbox
from fedtiny.protocol import codec, topics
from fedtiny.protocol.messages import (
    AlarmEvent,
    AlarmKind,
    BandShare,
    Command,
    DeviceStatus,
    HeadMessage,
    ReleaseMessage,
    RoundMessage,
    ScoreSummary,
    UpdateMessage,
)
from fedtiny.signal.framing import Framer
from fedtiny.signal.given import check_rows
from fedtiny.signal.recording import Recording, Source
from fedtiny.signal.sensor import SensorBaseline, SensorFault, check_windows
from fedtiny.store import locked
from fedtiny.transport import Connected, Connection, Disconnected, Published, Received

log = logging.getLogger(__name__)
Array = NDArray[np.float32]
IDLE_S = 0.25  # at most this long until a stop is noticed
BATCH = 64  # windows
MOST_EVENTS = 64
SAVE_EVERY_S = STATUS_EVERY_S = 60.0
CONFLICT_S = 600.0  # another agent with this id that has not been heard for so long is gone
MOST_UNSAVED = 1000  # messages
EVIDENCE = "evidence"
DISBELIEVED = ("signature", "replay")  # what the guard's errors begin with
GONE = ("disconnected", "unreadable")  # what a source says when it gives nothing: no vote is waited for


@dataclass(frozen=True)
class Run:
    """How one run of the agent goes.

    hold_for_revision: a source that can be held stands still after learning until the model is at this revision or
    later: a replay, which is over in a second, would otherwise be past its end before the first round.
    scores: a CSV that every window's score is appended to. exit_at_end: end with the source instead of serving on.
    """

    hold_for_revision: int = 0
    scores: Path | None = None
    exit_at_end: bool = False


class Agent:
    """One device at work: its source, its connection, and what it knows."""

    def __init__(self, config: Config, source: Source, run: Run, latest: Latest[AgentSnapshot] | None = None) -> None:
        if config.device is None:
            raise ConfigError("device: not set; give this device an id (--device, or device = ... in fedtiny.toml)")
        self._config, self._source, self._run = config, source, run
        folder = config.state_folder(config.device)
        self._boot_id = uuid.uuid4().hex[:12]
        self._device = Device(config, folder, config.device)
        if self._device.network is not None:
            self._check_source(self._device.network.release)
        status = self._topic("status")
        fleet = [(topics.fleet_topic(config.fleet, kind), 0) for kind in ("release", "head", "round")]
        subscriptions = [*fleet, (status, 0), (self._topic("command"), 1)]
        self._topics = {topic for topic, _ in subscriptions}
        offline = DeviceStatus(device=config.device, state="offline", boot_id=self._boot_id)
        self._connection = Connection(
            config.broker,
            client_id(config, config.device),
            subscriptions=subscriptions,
            will=(status, codec.encode(offline)),
            persistent=True,
            manual_ack=True,
        )
        self._outbox = Outbox(self._device.store, self._connection)
        self._evidence = self._new_evidence()
        self._health, self._notifier = HealthMeter(folder), Notifier()
        self._round: RoundMessage | None = None
        self._framer: Framer | None = None
        self._rejected: Counter[str] = Counter()
        self._unsaved: list[Message] = []
        self._span: list[Finding] = []
        self._span_first = 0
        self._over: deque[Array | None] = deque(maxlen=config.edge.alarm_window)
        self._speed_hz: float | None = None
        self._online = self._source_done = False
        self._announced: int | None = None  # token of this boot's first status; 0: the broker has it
        self._conflict: str | None = None
        self._conflict_seen = 0.0
        self._lag = Lag()
        now = time.monotonic()
        self._saved = self._told = self._held = now
        self._scores: Any = None
        self._latest = latest
        self._last: Finding | None = None  # that has a score
        self._last_window: float | None = None  # when it came, monotonic
        self._busy_s, self._updates = 0.0, 0  # spent on windows; that the broker has taken

    def _new_evidence(self) -> Evidence:
        folder = self._config.state_folder(self._device.name) / EVIDENCE
        source, most = self._source, self._config.edge.evidence_files
        return Evidence(folder, source.sample_rate_hz, source.channels, most_files=most)

    # --- life ---

    def run(self, stop: threading.Event) -> None:
        """Score the source and serve the fleet until ``stop`` is set (or the source ends, where asked)."""
        self._connection.start()
        self._notifier.ready()
        with ExitStack() as last:
            last.callback(self._device.close)
            last.callback(self._connection.stop)
            last.callback(self._end)
            if self._run.scores is not None:
                self._scores = csv.writer(last.enter_context(open(self._run.scores, "a", newline="")))
            self._forgotten_alarms()
            self._play(stop)
            self._flush_span()
            self._source_done = not stop.is_set()
            self._save()
            self._publish_status()
            while not stop.is_set() and not self._run.exit_at_end:
                self._listen(IDLE_S, stop)

    def _end(self) -> None:
        self._notifier.stopping()
        self._flush_span()
        self._evidence.close()
        self._save()
        if self._online:
            self._deliver()
            self._publish_status("offline")

    def _play(self, stop: threading.Event) -> None:
        position = self._device.position
        if position.source != self._source.name:
            position.source, position.cursor, position.windows = self._source.name, "", 0
        elif position.cursor:
            log.info("going on behind %s", position.cursor)
        elif self._source.live:
            position.windows = 0  # a stream begins anew
        started, played = 0.0, 0.0
        for recording in self._source.recordings(position.cursor):
            if recording is not None:
                if not recording.follows:
                    started, played = time.monotonic(), 0.0
                    self._lag = Lag()
                while self._must_wait() and not self._source.live and not stop.is_set():
                    self._listen(IDLE_S, stop)
                self._take(recording, stop)
                if stop.is_set():
                    return
                position.cursor, position.windows = recording.cursor or position.cursor, 0
                played += len(recording.samples) / self._source.sample_rate_hz
                if self._source.live:
                    self._lag.add(time.monotonic() - started - played)
            self._listen(0.0, stop)
            if stop.is_set():
                return

    def _must_wait(self) -> bool:
        base, watch = self._device.participant.base, self._device.watch
        held = base is not None and base.revision < self._run.hold_for_revision
        return watch is None or (held and watch.watching)

    def _keep_time(self) -> None:
        """What is due by the clock: the store, the status, an alarm that goes on."""
        if self._latest is not None:
            self._latest.offer(self._snapshot)
        now = time.monotonic()
        if now - self._saved > SAVE_EVERY_S:
            self._save()
        if now - self._told > STATUS_EVERY_S:
            if now - self._conflict_seen > CONFLICT_S:
                self._conflict = None
            self._publish_status()
            self._answer()  # there may be more data than when the round was announced
        if now - self._held > self._config.edge.alarm_hold_s:
            self._held = now
            self._hold_alarms()

    # --- windows ---

    def _take(self, recording: Recording, stop: threading.Event) -> None:
        """Learn from or score all windows of a recording, a batch at a time."""
        if recording.fault:
            self._sensor_verdict(recording.fault, gone=recording.fault.split(":")[0] in GONE)
        watch = self._device.watch
        if watch is None or not len(recording.samples):
            return
        manifest = watch.network.release.manifest
        check_channels(recording, manifest)
        windows = self._framed(recording, manifest)
        self._speed_hz = recording.speed_hz
        position = self._device.position
        while position.windows < len(windows) and not stop.is_set():
            if self._must_wait() and not self._source.live:
                self._listen(IDLE_S, stop)
                continue
            if self._device.watch is not watch:
                return  # another release: its windows are other ones
            started = time.monotonic()
            self._batch(recording, windows[position.windows : position.windows + BATCH])
            self._last_window = time.monotonic()
            self._busy_s += self._last_window - started
            self._listen(0.0, stop)

    def _framed(self, recording: Recording, manifest: Manifest) -> NDArray[Any]:
        if self._framer is None:
            every = self._config.edge.every_s or 0.0
            stride = max(manifest.hop, round(every * manifest.sample_rate_hz))
            self._framer = Framer(manifest.window, manifest.hop, stride, manifest.sample_rate_hz)
        found = self._framer.windows(
            recording, time.monotonic() if self._source.live and not recording.cursor else None
        )
        if self._framer.wasted:
            self._reject("short recording", f"{recording.name}: {len(recording.samples)} samples, under a window")
        return found

    def _batch(self, recording: Recording, windows: NDArray[Any]) -> None:
        """Judge windows until one ends the learning. Each is counted first: what it changes is saved with its count."""
        device, watch = self._device, self._device.watch
        assert watch is not None
        release = watch.network.release
        faults = window_faults(windows, release, device.sensor_baseline)
        good = [i for i, fault in enumerate(faults) if fault is None or fault.usable]
        features = watch.network.features(windows[good]) if good else None
        ahead = None if features is None else watch.whiten_ahead(features, recording.point, recording.speed_hz)
        row = -1
        for window, fault in zip(windows, faults, strict=True):
            device.position.windows += 1
            device.counters.windows += 1
            device.counters.sensor_faults += fault is not None
            self._sensor_verdict(fault.text if fault else "")
            if fault is not None and not fault.usable:
                self._record(recording, Finding("sensor", ""))
                continue
            watching = watch.watching
            trusted = fault is None and not device.sensor.standing
            row += 1
            assert features is not None
            finding = watch.take(
                features[row : row + 1],
                recording.point,
                recording.speed_hz,
                trusted=trusted,
                whitened=None if ahead is None else ahead[row],
            )
            if trusted and finding.verdict == "learning" and release.manifest.feature != "given":
                self._learn_sensor(window[None])
            device.judged(finding, trusted=trusted)
            self._judge(recording, window, finding)
            if watch.watching and not watching:
                self._finish_learning()
                return

    def _judge(self, recording: Recording, window: NDArray[Any], finding: Finding) -> None:
        windows = self._device.counters.windows
        score = None if np.isnan(finding.score) else finding.score
        self._evidence.add(windows, window, recording.at, score)
        self._record(recording, finding)
        if score is None:
            return
        if not self._span:
            self._span_first = windows
        self._span.append(finding)
        self._last = finding
        self._over.append(finding.away if finding.verdict == "anomalous" else None)  # in step with the vote
        if finding.changed:
            watch = self._device.watch
            assert watch is not None
            self._change_alarm("machine", watch.alarm, _why(watch), finding)
        if len(self._span) >= self._config.edge.score_every:
            self._flush_span()

    def _learn_sensor(self, windows: NDArray[Any]) -> None:
        seen, before = SensorBaseline.of(windows), self._device.sensor_baseline
        self._device.sensor_baseline = seen if before is None else before.merged(seen)

    def _sensor_verdict(self, fault: str, *, gone: bool = False) -> None:
        """One vote on the sensor; a source that gives nothing needs no others."""
        life = self._device.sensor
        changed = life.raise_now() if gone else life.add(over=bool(fault), quiet=not fault)
        if changed:
            self._change_alarm("sensor", life, fault or "the sensor is well again")

    def _finish_learning(self) -> None:
        device = self._device
        if device.participant.phase is Phase.LEARNING:
            device.participant.learned()
        device.settle_head()
        self._save()
        self._publish_status()
        self._answer()

    def _record(self, recording: Recording, finding: Finding) -> None:
        if self._scores is not None:
            base = self._device.participant.base
            position = "" if recording.position is None else f"{recording.position:.6f}"
            revision = base.revision if base else 0
            row = [finding.score, finding.threshold, revision, finding.level, finding.verdict]
            self._scores.writerow([recording.name, position, recording.label, *row])

    # --- alarms ---

    def _change_alarm(self, kind: AlarmKind, life: AlarmLife, reason: str, finding: Finding | None = None) -> None:
        """An alarm's new state, with all that is known of why."""
        evidence = ""
        details: dict[str, Any] = {}
        if finding is not None and finding.threshold is not None:
            details = {"score": finding.score, "threshold": finding.threshold, "point": finding.point}
            if life.standing:
                details["bands"] = self._bands()
                name = f"alarm-{self._device.book.number + 1:06d}"
                evidence = f"{name}.npz" if self._evidence.keep(name) else ""
        self._tell(kind, life.state, reason, evidence, **details)

    def _tell(self, kind: AlarmKind, state: AlarmEvent, reason: str, evidence: str = "", **details: Any) -> None:
        """Note an alarm's state durably, together with its message, which is sent when the broker is there."""
        device = self._device
        promised = device.watch.promised if device.watch else None
        alarm = device.book.tell(
            kind, state, utc_now(), reason, evidence, window=device.counters.windows, promised=promised, **details
        )
        self._save(Message("alarm", self._topic("alarm"), codec.encode(alarm), retain=True))
        log.warning("%s alarm %s: %s", kind, state, reason)  # what is said has been kept
        self._publish_status()

    def _forgotten_alarms(self) -> None:
        """Clear what is said to stand and what nobody watches over any more: its watch could not be restored."""
        device, watch = self._device, self._device.watch
        if "machine" in device.book.standing and (watch is None or not watch.alarm.standing):
            self._tell("machine", "cleared", "what was learned is lost: the alarm is not watched over any more")

    def _hold_alarms(self) -> None:
        """Say again what stands, with the newest score."""
        last = self._span[-1] if self._span else None
        for kind, alarm in list(self._device.book.standing.items()):
            scored: dict[str, Any] = {}
            if last is not None and kind == "machine":
                scored = {"score": last.score, "threshold": last.threshold, "bands": self._bands()}
            self._tell(kind, "held", alarm.reason, **scored)

    def _bands(self) -> tuple[BandShare, ...]:
        watch = self._device.watch
        voted = [away for away in self._over if away is not None]
        if not voted or watch is None:
            return ()
        manifest = watch.network.release.manifest
        found = top_bands(contributions(np.array(voted)), manifest, self._speed_hz)
        return tuple(BandShare(**band.__dict__) for band in found)

    # --- messages ---

    def _listen(self, timeout_s: float, stop: threading.Event) -> None:
        """Take what has come in, and what comes within ``timeout_s``."""
        self._notifier.alive()
        self._keep_time()
        deadline = time.monotonic() + timeout_s
        for _ in range(MOST_EVENTS):  # a flood must not keep the sensor waiting
            left = max(0.0, deadline - time.monotonic())
            event = self._connection.next_event(min(left, IDLE_S))
            if stop.is_set() or (event is None and left <= IDLE_S):
                return
            if isinstance(event, Connected):
                log.info("connected to %s:%d", self._config.broker.host, self._config.broker.port)
                self._online = True
                self._publish_status()
                self._save()
            elif isinstance(event, Disconnected):
                log.warning("%s", event.reason)
                self._online = False
            elif isinstance(event, Published):
                if event.token == self._announced:
                    self._announced = 0
                self._delivered(event.token)
            elif isinstance(event, Received):
                try:
                    self._receive(event)
                except (ProtocolError, ReleaseError) as error:
                    reason = str(error).split(":")[0]
                    kind = reason if reason in DISBELIEVED else event.topic.rsplit("/", 1)[-1]
                    self._reject(kind, f"{event.topic!r}: {error}")
                except DataError as error:  # a release for another kind of sensor
                    if self._device.network is None:
                        raise
                    self._reject("release", f"{event.topic!r}: {error}; going on with the release at hand")
                except StorageError as error:
                    self._reject("storage", f"{error}; going on without")
                self._connection.acknowledge(event)

    def _receive(self, event: Received) -> None:
        device, kind = self._device, topics.parse(event.topic).kind
        if event.topic not in self._topics:  # a broker may send what nobody has subscribed to
            raise ProtocolError("not for this device")
        if kind == "command" and event.retained:
            raise ProtocolError("a retained command would act at every connect")
        body = device.guard.body(kind, event.topic, event.payload)
        if kind == "release":
            release = codec.decode(ReleaseMessage, body)
            device.guard.see("release", release.serial)
            self._take_release(release)
        elif kind == "head":
            head = codec.decode(HeadMessage, body)
            device.guard.see("head", head.serial)
            if device.take_head(head):
                self._save()
                self._publish_status()
                self._answer()
        elif kind == "round":
            message = codec.decode(RoundMessage, body)
            device.guard.see("round", message.serial, message.round_number)
            self._round, device.proximal = message, message.proximal
            self._answer()
        elif kind == "command":
            self._obey(codec.decode(Command, body))
        elif kind == "status":
            self._notice(codec.decode(DeviceStatus, body), event.retained)
        if device.guard.unsaved:
            self._save()

    def _take_release(self, message: ReleaseMessage) -> None:
        release = self._device.open_release(message)
        if release is None:
            return
        self._check_source(release)
        network = self._device.accept_release(release)
        self._clear_machine_alarm("a new release")
        self._evidence.close()
        self._evidence = self._new_evidence()
        self._device.use_network(network)
        self._framer = None
        self._save()
        self._publish_status()

    def _answer(self) -> None:
        """Send this device's update where the open round asks for one."""
        try:
            update = self._device.answer(self._round) if self._round is not None else None
        except ProtocolError as error:
            self._reject("round", str(error))
            return
        if update is not None:
            self._save(update)

    def _obey(self, command: Command) -> None:
        device = self._device
        if device.guard.has_done(command):
            return
        log.info("command: %s", command.action)
        if command.action == "acknowledge":
            for kind, life in (("machine", device.watch and device.watch.alarm), ("sensor", device.sensor)):
                if life and life.acknowledge():
                    self._change_alarm(kind, life, "acknowledged")  # type: ignore[arg-type]
        else:
            self._clear_machine_alarm("re-baseline")
            device.relearn()
        device.guard.done(command)  # last: what a crash cuts short is told again, and done again
        self._save()
        self._publish_status()

    def _clear_machine_alarm(self, reason: str) -> None:
        watch = self._device.watch
        self._over.clear()
        if watch is not None and watch.alarm.reset():
            self._change_alarm("machine", watch.alarm, reason)

    def _notice(self, status: DeviceStatus, retained: bool) -> None:
        """Somebody has written this device's status: this agent, its past, or another one with the same id."""
        if status.boot_id == self._boot_id or self._announced != 0:
            return
        if status.state == "offline":  # the will of an earlier life came late
            if not retained:
                self._publish_status()
            return
        known, self._conflict, self._conflict_seen = self._conflict, status.boot_id, time.monotonic()
        if known != status.boot_id:
            log.error("another agent uses the id %r: its boot id is %s", self._device.name, status.boot_id)
            self._publish_status()

    # --- the release and the source ---

    def _check_source(self, release: Release) -> None:
        manifest, source = release.manifest, self._source
        if abs(manifest.sample_rate_hz - source.sample_rate_hz) > 0.01 * manifest.sample_rate_hz:
            raise DataError(
                f"the source has {source.sample_rate_hz:g} Hz, "
                f"release {release.id[:12]} expects {manifest.sample_rate_hz:g} Hz"
            )
        if len(manifest.channels) != len(source.channels):
            raise DataError(
                f"the source has channels {', '.join(source.channels)}; "
                f"release {release.id[:12]} expects {', '.join(manifest.channels)}"
            )

    # --- publishing ---

    def _topic(self, kind: str) -> str:
        assert self._config.device is not None
        return topics.device_topic(self._config.fleet, self._config.device, kind)

    def _save(self, *messages: Message) -> None:
        """State and messages to disk, and on their way.

        A disk that is full stops nothing: alarms go out all the same, the rest waits in memory for the next time.
        """
        self._saved = time.monotonic()
        replaced = {(message.kind, message.key) for message in messages if message.key}
        waiting = [message for message in self._unsaved if (message.kind, message.key) not in replaced]
        self._unsaved = [*waiting, *messages][-MOST_UNSAVED:]
        try:
            self._device.save(*self._unsaved)
        except StorageError as error:
            self._reject("storage", f"{error}; going on without")
            if self._online:
                self._unsaved = [m for m in self._unsaved if m.kind != "alarm" or not self._outbox.send_unspooled(m)]
            return
        self._unsaved = []
        if self._online:
            self._deliver()

    def _deliver(self) -> None:
        """Send on what waits."""
        try:
            self._outbox.flush()
        except StorageError as error:
            self._reject("storage", f"{error}; what waits there waits on")

    def _delivered(self, token: int) -> None:
        """The broker has a message: send on what waits behind it."""
        message = self._outbox.published(token)
        if message is not None and message.kind == "update":
            self._updates += 1
            digest = hashlib.sha256(message.payload).hexdigest()[:12]
            with suppress(ProtocolError):  # spooled by another version
                number = codec.decode(UpdateMessage, message.payload).round_number
                log.info("round %d: update %s delivered", number, digest)
        self._deliver()

    def _publish_status(self, state: str = "online") -> None:
        self._told = time.monotonic()
        self._notifier.status(in_words(self._device, online=self._online))
        if not self._online:
            return
        token = self._connection.publish(self._topic("status"), codec.encode(self._status(state)), retain=True)
        if self._announced is None:
            self._announced = token

    def _status(self, state: str) -> DeviceStatus:
        waiting, lost = self._outbox.totals()
        return device_status(
            self._device,
            self._health.measure(),
            lag_s=self._lag.seconds,
            backlog=waiting,
            lost=lost,
            state=state,
            boot_id=self._boot_id,
            bytes_up=self._connection.bytes_up,
            bytes_down=self._connection.bytes_down,
            source=self._source.name,
            source_done=self._source_done,
            conflict=self._conflict,
            rejected=dict(self._rejected),
        )

    def _snapshot(self) -> AgentSnapshot:
        return AgentSnapshot(
            status=self._status("online"),
            online=self._online,
            last=self._last,
            last_window=None if self._last_window is None else time.time() - time.monotonic() + self._last_window,
            busy_s=self._busy_s,
            updates=self._updates,
            answered=self._device.participant.last_answered,
        )

    def _flush_span(self) -> None:
        """A summary of the scores since the last one: sent at once, or spooled while the broker is away."""
        if not self._span:
            return
        scores = [finding.score for finding in self._span]
        ratios = [finding.score / finding.threshold for finding in self._span if finding.threshold]
        device, last = self._device, self._span[-1]
        device.book.trend.append(sum(ratios) / len(ratios))
        base = device.participant.base
        summary = ScoreSummary(
            device=device.name,
            first=self._span_first,
            count=len(scores),
            over=sum(ratio >= 1 for ratio in ratios),
            last=scores[-1],
            mean=sum(scores) / len(scores),
            max=max(scores),
            threshold=last.threshold,
            largest=max(ratios),
            level=sum(finding.level for finding in self._span) / len(scores),
            point=last.point,
            revision=base.revision if base else 0,
            at_utc=utc_now(),
        )
        self._span.clear()
        topic, payload = self._topic("score"), codec.encode(summary)
        if self._online and not self._outbox.waiting:
            self._connection.publish(topic, payload, qos=0)
        else:
            self._save(Message("score", topic, payload))

    def _reject(self, kind: str, detail: str) -> None:
        self._rejected[kind] += 1
        if self._rejected[kind] == 1:  # said once a kind, counted always
            log.warning("refused: %s", detail)


def _why(watch: Watch) -> str:
    recent = watch.alarm.recent
    if watch.alarm.standing:
        return f"{recent.count('over')} of the last {len(recent)} windows reached the threshold"
    return f"the last {len(recent)} windows were quiet"


def window_faults(windows: NDArray[Any], release: Release, baseline: SensorBaseline | None) -> list[SensorFault | None]:
    """What is wrong with the sensor in each of ``windows`` (n, window, channels)."""
    if release.manifest.feature == "given":
        return check_rows(windows, release.standardisation)
    return check_windows(windows, release.manifest.channels, baseline)


def check_channels(recording: Recording, manifest: Manifest) -> None:
    """Raise DataError when ``recording`` has not as many channels as the release."""
    found, expected = recording.samples.shape[1], len(manifest.channels)
    if found != expected:
        raise DataError(f"{recording.name}: {found} channels, the release expects {expected}")


def run_agent(config: Config, source: Source, run: Run, stop: threading.Event) -> None:
    """Run the agent of ``config.device`` in its own state folder until ``stop``."""
    labels = {"fleet": config.fleet, "device": config.device or "device"}
    try:
        with locked(config.state_folder(labels["device"])), exposed(config.metrics, AGENT, labels, None) as latest:
            Agent(config, source, run, latest).run(stop)
    finally:
        source.close()
