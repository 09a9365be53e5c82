"""What is known of a fleet from the messages so far. No I/O, no clock; bad messages are counted."""

import logging
from collections import Counter, deque
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from fedtiny.errors import ProtocolError
from fedtiny.monitor.trace import Trace
from fedtiny.plain import plain
from fedtiny.protocol import codec, messages, topics

MAX_DEVICES = 10_000
ROUNDS = 200
LOGGED = 1_000  # events
LONGEST = 500  # characters of one

log = logging.getLogger(__name__)

_GLOBAL: dict[str, type[messages.Message]] = {
    "release": messages.ReleaseMessage,
    "head": messages.HeadMessage,
    "round": messages.RoundMessage,
    "status": messages.FleetStatus,
    "command": messages.FleetCommand,
}
_DEVICE: dict[str, type[messages.Message]] = {
    "update": messages.UpdateMessage,
    "status": messages.DeviceStatus,
    "score": messages.ScoreSummary,
    "alarm": messages.Alarm,
    "command": messages.Command,
}
Weight = Literal["", "alarm", "trouble"]


@dataclass(frozen=True)
class Entry:
    """A line of the event log. at: Unix time. text: plain, whatever a peer wrote. weight: how it is to stand out."""

    at: float
    text: str
    weight: Weight = ""

    def __str__(self) -> str:
        return f"{utc(self.at)[11:19]} {self.text}"


@dataclass
class DeviceView:
    """The last of each kind that a device said, when it last said something (Unix time), its scores so far."""

    status: messages.DeviceStatus | None = None
    score: messages.ScoreSummary | None = None
    alarm: messages.Alarm | None = None
    heard_at: float | None = None
    trace: Trace = field(default_factory=Trace)


@dataclass
class RoundView:
    """The newest message of a round; how many devices were asked, and how many updates were seen on their way."""

    message: messages.RoundMessage
    asked: int
    answered: int = 0


class FleetView:
    """The fleet.

    Attributes:
        urgent: Whether something came that changes which devices come first: an alarm, a device. Set to False by
            whoever has seen to it.
        logged: How many entries the log has had, those included that it has forgotten.
    """

    def __init__(self) -> None:
        self.devices: dict[str, DeviceView] = {}
        self.status: messages.FleetStatus | None = None
        self.round: messages.RoundMessage | None = None
        self.rounds: dict[int, RoundView] = {}  # oldest first
        self.head: messages.HeadMessage | None = None
        self.release_id: str | None = None
        self.garbage: Counter[str] = Counter()
        self.log: deque[Entry] = deque(maxlen=LOGGED)
        self.logged = 0
        self.urgent = False

    def apply(self, topic: str, payload: bytes, retained: bool, at: float = 0.0) -> dict[str, Any] | None:
        """Take in one message that came at Unix time ``at``.

        Returns it as what JSON can hold: at, kind, device, retained and its fields, with the size in bytes in
        the place of a tensor or file (``weights`` becomes ``weights_bytes``); an alarm's own kind is
        ``alarm_kind``. None when it was garbage.
        """
        kind = "topic"
        try:
            where = topics.parse(topic)
            kind = where.kind
            message = self._decode(where, payload)
        except ProtocolError as error:
            self.garbage[kind] += 1
            if self.garbage[kind] == 1:
                log.warning("garbage: %s", plain(str(error)))
            return None
        event: dict[str, Any] = {"at": utc(at), "kind": kind, "device": where.device, "retained": retained}
        if message is None:
            self._forget(where)
            return event | {"removed": True}
        if where.device is None:
            said = self._global(message)
        else:
            said = self._device(where.device, message, None if retained or kind == "command" else at)
        if said and not retained:  # that is news; what was retained happened some time ago
            alarms = isinstance(message, messages.Alarm) and message.state in ("raised", "held")
            self.note(at, f"{where.device or 'fleet'}: {said}", "alarm" if alarms else "")
        for name, value in message.model_dump().items():
            if isinstance(value, bytes):
                event[f"{name}_bytes"] = len(value)
            elif name != "device":
                event[name if name not in event else f"{kind}_{name}"] = value
        return event

    def note(self, at: float, text: str, weight: Weight = "") -> None:
        """Put a line into the log, at Unix time ``at``."""
        self.log.append(Entry(at, plain(text[:LONGEST]), weight))
        self.logged += 1

    def _decode(self, where: topics.Topic, payload: bytes) -> messages.Message | None:
        if not payload:
            return None  # how MQTT takes a retained message away
        message = codec.decode((_GLOBAL if where.device is None else _DEVICE)[where.kind], payload)
        if getattr(message, "device", where.device) != where.device:
            raise ProtocolError(f"{where.kind} of {where.device} says that it is of another device")
        if where.device and where.device not in self.devices and len(self.devices) >= MAX_DEVICES:
            raise ProtocolError(f"more than {MAX_DEVICES} devices")
        return message

    def _forget(self, where: topics.Topic) -> None:
        if where.device is not None:
            if where.kind == "status":
                self.devices.pop(where.device, None)
                self.urgent = True
            elif where.device in self.devices and where.kind in ("score", "alarm"):
                setattr(self.devices[where.device], where.kind, None)
        elif where.kind == "release":
            self.release_id = None
        elif where.kind in ("round", "head", "status"):
            setattr(self, where.kind, None)

    def _global(self, message: messages.Message) -> str | None:
        match message:
            case messages.ReleaseMessage():
                self.release_id = message.release_id
                return f"release {message.release_id[:8]}, {len(message.tflite)} bytes"
            case messages.HeadMessage():
                self.head = message
                restored = "" if message.restores is None else f", which brings revision {message.restores} back"
                return f"head revision {message.revision} from {message.devices} devices{restored}"
            case messages.RoundMessage():
                before, self.round = self.round, message
                self._keep_round(message)
                if before and (before.round_number, before.state) == (message.round_number, message.state):
                    return None
                return f"round {message.round_number} {message.state} {message.outcome or ''}".rstrip()
            case messages.FleetStatus():
                known, self.status = self.status, message
                if known and (new := [one for one in message.orders if one not in known.orders]):
                    return "; ".join(f"order to {o.order} {'done' if o.ok else 'refused'}: {o.outcome}" for o in new)
                return None if known and known.state == message.state else f"coordinator {message.state}"
            case messages.FleetCommand():
                return f"command to roll back to revision {message.revision}"
        return None

    def _keep_round(self, message: messages.RoundMessage) -> None:
        known = self.rounds.get(message.round_number)
        if known is not None:
            known.message = message
            return
        everyone = self.status.devices if self.status and self.status.devices else len(self.devices)
        asked = everyone if message.invited is None else len(message.invited)
        self.rounds[message.round_number] = RoundView(message, asked)
        if len(self.rounds) > ROUNDS:
            del self.rounds[next(iter(self.rounds))]

    def _device(self, name: str, message: messages.Message, at: float | None) -> str | None:
        """at: Unix time where it is a new word of the device's own."""
        device = self.devices.get(name)
        if device is None:
            device = self.devices[name] = DeviceView()
            self.urgent = True
        if at is not None:
            device.heard_at = at
        match message:
            case messages.UpdateMessage():
                if at is not None and (seen := self.rounds.get(message.round_number)):
                    seen.answered += 1
                return (
                    f"update for round {message.round_number}, {len(message.payload)} bytes, "
                    f"loss {message.loss_before:.3g} -> {message.loss_after:.3g}"
                )
            case messages.DeviceStatus():
                before, device.status = device.status and device.status.state, message
                return None if before == message.state else message.state
            case messages.ScoreSummary():
                device.score = message
                if at is not None:
                    device.trace.add(message, at)
            case messages.Alarm():
                device.alarm, self.urgent = message, True
                return (
                    f"{message.kind} alarm {message.state}: {message.reason}"
                    + (f", score {message.score:.3g}" if message.score is not None else "")
                    + (f", threshold {message.threshold:.3g}" if message.threshold is not None else "")
                )
            case messages.Command():
                return f"command {message.action}"
        return None


def utc(at: float) -> str:
    """Unix time as ISO 8601, UTC, whole seconds."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
