"""The edge agent: window -> features -> int8 model -> score -> alarm, and its part in the fleet's rounds.

One thread does all the work; the connection's own thread only queues what comes in. The source is read at its own
pace; messages are taken between recordings.
"""

import csv
import logging
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from fedtiny.config import Config
from fedtiny.device_state import DeviceState, Numbers
from fedtiny.errors import ConfigError, DataError, ProtocolError, ReleaseError
from fedtiny.federation.local import compute_update
from fedtiny.federation.participant import Participant, Phase
from fedtiny.model.alarm import AlarmVote
from fedtiny.model.artifact import Manifest, Release
from fedtiny.model.detector import Detector, split_index
from fedtiny.protocol import codec, topics
from fedtiny.protocol.messages import (
    Alarm,
    Command,
    DeviceStatus,
    HeadMessage,
    Message,
    ReleaseMessage,
    RoundMessage,
    ScoreSummary,
    UpdateMessage,
)
from fedtiny.revision import from_message
from fedtiny.signal.recording import Recording
from fedtiny.signal.windows import cut
from fedtiny.store import atomic_write, locked
from fedtiny.transport import Connected, Connection, Disconnected, Received

log = logging.getLogger(__name__)
Array = NDArray[np.float32]
IDLE_S = 0.25  # at most this long until a stop is noticed
BATCH = 64  # windows
SAVE_EVERY_S = 30.0
MODEL, STATE = "release.tflite", "device.npz"


@dataclass(frozen=True)
class Replay:
    """How a recording is played. speed 0: as fast as possible, 1: in real time.

    hold_for_revision: stand still after learning until the model is at this revision or later. A live sensor cannot
    be held; a replay, which is over in a second, would otherwise be past its end before the first round.
    source: what is played; after a restart the agent goes on where it was in the same source.
    """

    sample_rate_hz: float
    channels: tuple[str, ...]
    speed: float = 0.0
    hold_for_revision: int = 0
    scores: Path | None = None
    source: str = ""


class Agent:
    """One device. Its state folder holds the release it runs and what it has learned."""

    def __init__(self, config: Config, replay: Replay) -> None:
        if config.device is None:
            raise ConfigError("device: not set; give this device an id (--device, or device = ... in fedtiny.toml)")
        self._config, self._replay = config, replay
        self._device, self._folder = config.device, config.state_folder(config.device)
        self._boot_id = uuid.uuid4().hex[:12]
        self._state = DeviceState.load(self._folder / STATE)
        self._participant = Participant()
        self._detector: Detector | None = None
        self._features: Any = None  # the release's extractor
        self._round: RoundMessage | None = None
        self._pending_head: HeadMessage | None = None
        self._vote = self._new_vote(self._alarm_stands())
        self._rejected: Counter[str] = Counter()
        self._span: list[float] = []
        self._online = self._source_done = False
        self._saved = time.monotonic()
        self._scores: Any = None
        fleet = config.fleet
        subscriptions = [topics.fleet_topic(fleet, kind) for kind in ("release", "head", "round")]
        subscriptions.append(topics.device_topic(fleet, self._device, "command"))
        offline = DeviceStatus(device=self._device, state="offline", boot_id=self._boot_id)
        self._connection = Connection(
            config.broker,
            f"fedtiny-{fleet}-{self._device}",
            subscriptions=[(topic, 1) for topic in subscriptions],
            will=(topics.device_topic(fleet, self._device, "status"), codec.encode(offline)),
        )
        self._restore()

    # --- life ---

    def run(self, recordings: Iterator[Recording], stop: threading.Event, *, exit_at_end: bool = False) -> None:
        """Score ``recordings`` and serve the fleet until ``stop`` is set (or the source ends, where asked)."""
        self._connection.start()
        scores: IO[str] | None = None
        try:
            if self._replay.scores is not None:
                scores = open(self._replay.scores, "a", newline="")  # noqa: SIM115
                self._scores = csv.writer(scores)
            self._play(recordings, stop)
            self._flush_span()
            self._source_done = not stop.is_set()
            self._publish_status()
            while not stop.is_set() and not exit_at_end:
                self._listen(IDLE_S, stop)
        finally:
            if scores is not None:
                scores.close()
            self._save()
            if self._online:
                self._publish("status", self._status("offline"), retain=True)
            self._connection.stop()

    def _play(self, recordings: Iterator[Recording], stop: threading.Event) -> None:
        numbers = self._state.numbers
        if numbers.source != self._replay.source:
            numbers.source, numbers.recordings, numbers.recording_windows = self._replay.source, 0, 0
        elif numbers.recordings:
            log.info("%d recordings were played before the restart", numbers.recordings)
        done, started, played = numbers.recordings, 0.0, 0.0
        for number, recording in enumerate(recordings):
            if number < done:
                continue
            while self._must_wait() and not stop.is_set():
                self._listen(IDLE_S, stop)
            started = started or time.monotonic()
            self._take(recording, stop)
            if stop.is_set():
                return
            numbers = self._state.numbers
            numbers.recordings, numbers.recording_windows = number + 1, 0
            if time.monotonic() - self._saved > SAVE_EVERY_S:
                self._save()
                self._publish_status()
            wait = 0.0
            if self._replay.speed:
                played += len(recording.samples) / self._replay.sample_rate_hz / self._replay.speed
                wait = started + played - time.monotonic()
            self._listen(wait, stop)

    def _must_wait(self) -> bool:
        base = self._participant.base
        held = base is not None and base.revision < self._replay.hold_for_revision
        return self._detector is None or (held and self._participant.phase is Phase.WATCHING)

    # --- windows ---

    def _take(self, recording: Recording, stop: threading.Event) -> None:
        """Learn from or score all windows of a recording, a batch at a time."""
        while not stop.is_set():
            if self._must_wait():
                self._listen(IDLE_S, stop)
                continue
            detector, done = self._require_detector(), self._state.numbers.recording_windows
            manifest = detector.release.manifest
            check_channels(recording, manifest)
            windows = cut(recording.samples, manifest.window, manifest.hop)
            if not len(windows):
                self._reject("short recording", f"{recording.name}: {len(recording.samples)} samples, under a window")
            if done >= len(windows):
                return
            missing = self._config.edge.learn_windows - len(self._state.buffer)
            learning = self._participant.phase is Phase.LEARNING
            batch = windows[done : done + (min(BATCH, max(missing, 1)) if learning else BATCH)]
            features = self._features(batch)
            self._state.numbers.recording_windows = done + len(batch)
            if learning:
                self._remember(features)
                self._record(recording, np.full(len(features), np.nan))
                if len(self._state.buffer) >= self._config.edge.learn_windows:
                    self._finish_learning(detector)
            else:
                self._watch(recording, features, detector)

    def _finish_learning(self, detector: Detector) -> None:
        detector.adapt(self._state.buffer)
        self._participant.learned()
        self._calibrate(detector)
        self._save()
        self._publish_status()
        self._answer()

    def _calibrate(self, detector: Detector) -> None:
        if self._participant.phase is Phase.WATCHING:
            detector.calibrate(self._state.buffer, self._config.edge.false_alarm_rate)

    def _watch(self, recording: Recording, features: Array, detector: Detector) -> None:
        assert detector.threshold is not None
        scores = detector.score(features)
        self._record(recording, scores)
        for score in scores.tolist():
            self._state.numbers.windows += 1
            self._span.append(score)
            if self._vote.add(score >= detector.threshold):
                self._change_alarm(score, detector.threshold, self._vote_words())
            if len(self._span) >= self._config.edge.score_every:
                self._flush_span()
        if not self._vote.raised:
            self._remember(features[scores < detector.threshold])

    def _remember(self, features: Array) -> None:
        """Keep normal windows, the oldest go first."""
        buffer = np.concatenate([self._state.buffer, features]) if len(self._state.buffer) else features
        limit = max(self._config.edge.buffer_windows, self._config.edge.learn_windows)
        self._state.buffer = np.ascontiguousarray(buffer[-limit:])

    def _record(self, recording: Recording, scores: NDArray[Any]) -> None:
        if self._scores is not None:
            base, threshold = self._participant.base, self._require_detector().threshold
            position = "" if recording.position is None else f"{recording.position:.6f}"
            revision = base.revision if base else 0
            for score in scores.tolist():
                self._scores.writerow([recording.name, position, recording.label, score, threshold, revision])

    # --- messages ---

    def _listen(self, timeout_s: float, stop: threading.Event) -> None:
        """Take what has come in, and what comes within ``timeout_s``."""
        deadline = time.monotonic() + timeout_s
        while not stop.is_set():
            left = max(0.0, deadline - time.monotonic())
            event = self._connection.next_event(min(left, IDLE_S))
            if event is None and left <= IDLE_S:
                return
            if isinstance(event, Connected):
                log.info("connected to %s:%d", self._config.broker.host, self._config.broker.port)
                self._online = True
                self._publish_status()
                self._publish_alarm()
            elif isinstance(event, Disconnected):
                log.warning("%s", event.reason)
                self._online = False
            elif isinstance(event, Received):
                try:
                    self._receive(event)
                except (ProtocolError, ReleaseError) as error:
                    self._reject(event.topic.rsplit("/", 1)[-1], f"{event.topic}: {error}")
                except DataError as error:  # a release for another kind of sensor
                    if self._detector is None:
                        raise
                    self._reject("release", f"{event.topic}: {error}; going on with the release at hand")

    def _receive(self, event: Received) -> None:
        kind = topics.parse(event.topic).kind
        if kind == "release":
            self._take_release(codec.decode(ReleaseMessage, event.payload))
        elif kind == "head":
            self._take_head(codec.decode(HeadMessage, event.payload))
        elif kind == "round":
            self._round = codec.decode(RoundMessage, event.payload)
            self._answer()
        elif kind == "command":
            codec.decode(Command, event.payload)
            self._relearn()

    def _take_release(self, message: ReleaseMessage) -> None:
        base = self._participant.base
        if base is not None and base.release_id == message.release_id:
            return
        release = Release(message.tflite)
        if release.id != message.release_id:
            raise ProtocolError(f"release: its SHA-256 is {release.id[:12]}, announced as {message.release_id[:12]}")
        self._check_source(release)
        if self._vote.raised:
            self._clear_alarm("a new release")
        self._use(release)
        atomic_write(self._folder / MODEL, release.data)
        old = self._state.numbers
        self._state = DeviceState(
            Numbers(
                release_id=release.id,
                source=old.source,
                recordings=old.recordings,
                recording_windows=old.recording_windows,
                alarm=old.alarm,
            )
        )
        self._participant.release(release.id)
        self._vote = self._new_vote()
        self._save()
        log.info("release %s taken", release.id[:12])
        if self._pending_head is not None and self._pending_head.release_id == release.id:
            self._take_head(self._pending_head)
        self._publish_status()

    def _take_head(self, message: HeadMessage) -> None:
        base = self._participant.base
        if base is None or base.release_id != message.release_id:
            self._pending_head = message  # retained topics come in any order: its release may be behind it
            return
        self._pending_head = None
        if message.revision <= base.revision:
            return
        detector = self._require_detector()
        head = from_message(message, detector.release)
        detector.set_head(head)
        self._participant.head(message.revision)
        self._calibrate(detector)
        self._state.head = head
        self._save()
        log.info("revision %d applied", message.revision)
        self._publish_status()
        self._answer()

    def _answer(self) -> None:
        """Send this device's update where the open round asks for one."""
        detector, message = self._detector, self._round
        if message is None or detector is None or not self._online:
            return
        if not self._participant.asked(message):
            return
        split = split_index(len(self._state.buffer))
        targets, _, hidden = detector.run(self._state.buffer)
        update = compute_update(message.strategy, detector.head.weights, hidden, targets, split, message.proximal)
        payload = codec.encode(
            UpdateMessage(
                device=self._device,
                round_number=message.round_number,
                base=message.base,
                strategy=message.strategy,
                **update.__dict__,
            )
        )
        topic = topics.update_topic(self._config.fleet, self._device, message.shards)
        self._connection.publish(topic, payload, qos=1)
        self._participant.last_answered = message.round_number
        log.info(
            "round %d: loss %.4f -> %.4f on kept-out windows, %d bytes sent",
            message.round_number,
            update.loss_before,
            update.loss_after,
            len(payload),
        )

    def _relearn(self) -> None:
        if self._participant.phase is Phase.WAITING:
            return
        self._participant.relearn()
        self._state.buffer = self._state.buffer[:0]
        if self._vote.raised:
            self._clear_alarm("re-baseline")
        self._vote = self._new_vote()
        self._save()
        self._publish_status()
        log.info("re-baseline: learning anew")

    # --- state ---

    def _restore(self) -> None:
        """Go on where the state folder says."""
        numbers = self._state.numbers
        path = self._folder / MODEL
        if not numbers.release_id or not path.exists():
            return
        try:
            release = Release.open(path)
            if release.id != numbers.release_id:
                raise ReleaseError(f"{path}: not the release of the saved state")
        except ReleaseError as error:
            log.error("%s; waiting for the fleet's release", error)
            self._state = DeviceState(Numbers(alarm=numbers.alarm))
            return
        self._check_source(release)
        detector = self._use(release)
        self._participant.release(release.id)
        if self._state.head is not None:
            detector.set_head(self._state.head)
            self._participant.head(numbers.revision)
        if self._state.standardisation is not None:
            detector.standardisation = self._state.standardisation
        self._participant.last_answered = numbers.last_answered
        if numbers.phase == Phase.WATCHING.value:
            self._participant.learned()
            self._calibrate(detector)

    def _save(self) -> None:
        numbers, participant = self._state.numbers, self._participant
        if participant.base is not None:
            numbers.release_id, numbers.revision = participant.base.release_id, participant.base.revision
        numbers.phase, numbers.last_answered = participant.phase.value, participant.last_answered
        if self._detector is not None and participant.phase is Phase.WATCHING:
            self._state.standardisation = self._detector.standardisation
        self._state.save(self._folder / STATE)
        self._saved = time.monotonic()

    def _use(self, release: Release) -> Detector:
        self._detector, self._features = Detector(release, self._config.edge.runtime), release.features
        return self._detector

    def _check_source(self, release: Release) -> None:
        manifest, replay = release.manifest, self._replay
        if abs(manifest.sample_rate_hz - replay.sample_rate_hz) > 0.01 * manifest.sample_rate_hz:
            raise DataError(
                f"the source has {replay.sample_rate_hz:g} Hz, "
                f"release {release.id[:12]} expects {manifest.sample_rate_hz:g} Hz"
            )
        if len(manifest.channels) != len(replay.channels):
            raise DataError(
                f"the source has channels {', '.join(replay.channels)}; "
                f"release {release.id[:12]} expects {', '.join(manifest.channels)}"
            )

    def _require_detector(self) -> Detector:
        if self._detector is None:
            raise RuntimeError("no release yet")
        return self._detector

    def _new_vote(self, raised: bool = False) -> AlarmVote:
        return AlarmVote(self._config.edge.alarm_votes, self._config.edge.alarm_window, raised)

    # --- publishing ---

    def _publish(self, kind: str, message: Message, *, qos: int = 1, retain: bool = False) -> None:
        topic = topics.device_topic(self._config.fleet, self._device, kind)
        self._connection.publish(topic, codec.encode(message), qos=qos, retain=retain)

    def _publish_status(self) -> None:
        if self._online:
            self._publish("status", self._status("online"), retain=True)

    def _status(self, state: str) -> DeviceStatus:
        learned = len(self._state.buffer) / self._config.edge.learn_windows
        return DeviceStatus(
            device=self._device,
            state=state,  # type: ignore[arg-type]
            boot_id=self._boot_id,
            phase=self._participant.phase.value,
            learned=min(1.0, learned),
            base=self._participant.base,
            windows=self._state.numbers.windows,
            threshold=self._detector.threshold if self._detector else None,
            interpreter=self._detector.interpreter if self._detector else "",
            peak_rss_mb=peak_rss_mb(),
            bytes_up=self._connection.bytes_up,
            bytes_down=self._connection.bytes_down,
            source_done=self._source_done,
            rejected=dict(self._rejected),
        )

    def _change_alarm(self, score: float, threshold: float, reason: str) -> None:
        """Note the alarm's new state, durably, and publish it."""
        state = "raised" if self._vote.raised else "cleared"
        log.warning("alarm %s: score %.3g, threshold %.3g", state, score, threshold)
        alarm = Alarm(
            device=self._device,
            state=state,  # type: ignore[arg-type]
            window=self._state.numbers.windows,
            at_utc=_utc_now(),
            score=score,
            threshold=threshold,
            reason=reason,
        )
        self._state.numbers.alarm = alarm.model_dump_json()
        self._save()
        self._publish_alarm()

    def _clear_alarm(self, reason: str) -> None:
        self._vote = self._new_vote()
        last = Alarm.model_validate_json(self._state.numbers.alarm)
        self._change_alarm(last.score, last.threshold, reason)

    def _publish_alarm(self) -> None:
        """Publish the alarm as it stands; what changed offline is delivered at the next connect, with its own time."""
        if self._online and self._state.numbers.alarm:
            self._publish("alarm", Alarm.model_validate_json(self._state.numbers.alarm), retain=True)

    def _alarm_stands(self) -> bool:
        text = self._state.numbers.alarm
        return bool(text) and Alarm.model_validate_json(text).state == "raised"

    def _vote_words(self) -> str:
        window = self._config.edge.alarm_window
        if self._vote.raised:
            return f"{self._vote.votes} of the last {window} windows reached the threshold"
        return f"none of the last {window} windows reached the threshold"

    def _flush_span(self) -> None:
        if not self._span:
            return
        base = self._participant.base
        summary = ScoreSummary(
            device=self._device,
            first=self._state.numbers.windows - len(self._span),
            count=len(self._span),
            last=self._span[-1],
            mean=sum(self._span) / len(self._span),
            max=max(self._span),
            threshold=self._detector.threshold if self._detector else None,
            revision=base.revision if base else 0,
            at_utc=_utc_now(),
        )
        self._span.clear()
        if self._online:
            self._publish("score", summary, qos=0)

    def _reject(self, kind: str, detail: str) -> None:
        self._rejected[kind] += 1
        if self._rejected[kind] == 1:  # said once a kind, counted always
            log.warning("refused: %s", detail)


def check_channels(recording: Recording, manifest: Manifest) -> None:
    """Raise DataError when ``recording`` has not as many channels as the release."""
    found, expected = recording.samples.shape[1], len(manifest.channels)
    if found != expected:
        raise DataError(f"{recording.name}: {found} channels, the release expects {expected}")


def _utc_now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def peak_rss_mb() -> float | None:
    """Peak resident memory of this process in MB (10^6 bytes), or None where the system does not tell."""
    try:
        with open("/proc/self/status") as file:
            kilobytes = next(line.split()[1] for line in file if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        return None
    return int(kilobytes) * 1024 / 1e6


def run_agent(
    config: Config,
    replay: Replay,
    recordings: Iterator[Recording],
    stop: threading.Event,
    *,
    exit_at_end: bool = False,
) -> None:
    """Run the agent of ``config.device`` in its own state folder until ``stop``."""
    with locked(config.state_folder(config.device or "device")):
        Agent(config, replay).run(recordings, stop, exit_at_end=exit_at_end)
