"""What operators see: a fleet's topics as a live table, or one JSON line an event. Only ever a subscriber."""

import json
import logging
import os
import re
import signal
import sys
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from fedtiny.config import Config
from fedtiny.errors import ConfigError, ProtocolError, TransportError
from fedtiny.protocol import codec, messages, topics
from fedtiny.transport import Connected, Connection, Disconnected, Received

if TYPE_CHECKING:
    from rich.console import Console, Group
    from rich.table import Table

MAX_DEVICES = 10_000
RECENT = 5
OTHER_LINES = 11  # on the screen beside the devices and what happened recently, at most
NAMED = 6  # devices or kinds in one line of counts
REFRESH_S = 0.25
QUIET_S = 1.0
ONCE_TIMEOUT_S = 10.0

log = logging.getLogger(__name__)

_GLOBAL: dict[str, type[messages.Message]] = {
    "release": messages.ReleaseMessage,
    "head": messages.HeadMessage,
    "round": messages.RoundMessage,
    "status": messages.FleetStatus,
}
_DEVICE: dict[str, type[messages.Message]] = {
    "update": messages.UpdateMessage,
    "status": messages.DeviceStatus,
    "score": messages.ScoreSummary,
    "alarm": messages.Alarm,
    "command": messages.Command,
}


@dataclass
class DeviceView:
    """The last of each kind that a device said, and when it last said something (Unix time)."""

    status: messages.DeviceStatus | None = None
    score: messages.ScoreSummary | None = None
    alarm: messages.Alarm | None = None
    heard_at: float | None = None


class FleetView:
    """What is known of a fleet from the messages so far. No I/O, no clock; bad messages are counted."""

    def __init__(self) -> None:
        self.devices: dict[str, DeviceView] = {}
        self.status: messages.FleetStatus | None = None
        self.round: messages.RoundMessage | None = None
        self.head: messages.HeadMessage | None = None
        self.release_id: str | None = None
        self.garbage: Counter[str] = Counter()
        self.recent: deque[str] = deque(maxlen=RECENT)

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
        event: dict[str, Any] = {"at": _utc(at), "kind": kind, "device": where.device, "retained": retained}
        if message is None:
            self._forget(where)
            return event | {"removed": True}
        if where.device is None:
            said = self._global(message)
        else:
            device = self.devices.setdefault(where.device, DeviceView())
            said = _device(device, message)
            if not retained and kind != "command":
                device.heard_at = at
        if said and not retained:  # that is news; what was retained happened some time ago
            self.recent.append(plain(f"{event['at'][11:19]} {where.device or 'fleet'}: {said}"))
        for name, value in message.model_dump().items():
            if isinstance(value, bytes):
                event[f"{name}_bytes"] = len(value)
            elif name != "device":
                event[name if name not in event else f"{kind}_{name}"] = value
        return event

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
            elif where.device in self.devices and where.kind in ("score", "alarm"):
                setattr(self.devices[where.device], where.kind, None)
        elif where.kind == "release":
            self.release_id = None
        else:
            setattr(self, where.kind, None)

    def _global(self, message: messages.Message) -> str | None:
        match message:
            case messages.ReleaseMessage():
                self.release_id = message.release_id
                return f"release {message.release_id[:8]}, {len(message.tflite)} bytes"
            case messages.HeadMessage():
                self.head = message
                return f"head revision {message.revision} from {message.devices} devices"
            case messages.RoundMessage():
                before, self.round = self.round, message
                if before and (before.round_number, before.state) == (message.round_number, message.state):
                    return None
                return f"round {message.round_number} {message.state} {message.outcome or ''}".rstrip()
            case messages.FleetStatus():
                before_state, self.status = self.status and self.status.state, message
                return None if before_state == message.state else f"coordinator {message.state}"
        return None


def _device(device: DeviceView, message: messages.Message) -> str | None:
    match message:
        case messages.UpdateMessage():
            return (
                f"update for round {message.round_number}, {len(message.payload)} bytes, "
                f"loss {message.loss_before:.3g} -> {message.loss_after:.3g}"
            )
        case messages.DeviceStatus():
            before, device.status = device.status and device.status.state, message
            return None if before == message.state else message.state
        case messages.ScoreSummary():
            device.score = message
        case messages.Alarm():
            device.alarm = message
            return (
                f"{message.kind} alarm {message.state}: {message.reason}"
                + (f", score {message.score:.3g}" if message.score is not None else "")
                + (f", threshold {message.threshold:.3g}" if message.threshold is not None else "")
            )
        case messages.Command():
            return f"command {message.action}"
    return None


def run_monitor(config: Config, *, as_json: bool, once: bool, timeout_s: float | None) -> None:
    """``fedtiny monitor``: watch until SIGINT, SIGTERM or ``timeout_s``.

    as_json: one line an event on stdout. Otherwise a table on a terminal, and plain lines in a pipe. once:
    print the table once, when the retained messages have come, and end; TransportError without a broker.
    """
    show: Callable[[FleetView, str, dict[str, Any] | None], None]
    if as_json or not (once or sys.stdout.isatty()):
        show = _print_json if as_json else _print_lines
        _follow(config, FleetView(), show, once, timeout_s)
        return
    try:
        from rich.console import Console
        from rich.live import Live
    except ImportError:
        raise ConfigError("the table needs rich: pip install 'fedtiny[monitor]' (--json works without)") from None
    console, view = Console(), FleetView()
    if once:
        link = _follow(config, view, lambda *_: None, once, timeout_s)
        console.print(render(config, view, link, time.time(), console, rows=None))
        return
    logging.getLogger("fedtiny").setLevel(logging.ERROR)  # the table says it; lines between would spoil it
    with Live(console=console, screen=True, auto_refresh=False) as live:
        drawn = 0.0

        def draw(view: FleetView, link: str, event: dict[str, Any] | None) -> None:
            nonlocal drawn
            if event is None or time.monotonic() - drawn > REFRESH_S:
                drawn = time.monotonic()
                rows = console.height - OTHER_LINES - RECENT
                live.update(render(config, view, link, time.time(), console, rows=rows), refresh=True)

        _follow(config, view, draw, once, timeout_s)


def _follow(
    config: Config,
    view: FleetView,
    show: Callable[[FleetView, str, dict[str, Any] | None], None],
    once: bool,
    timeout_s: float | None,
) -> str:
    """Feed ``view`` from the broker; ``show`` gets each event, and None when the link or the time changed."""
    where = f"broker {config.broker.host}:{config.broker.port}"
    link = f"{where} connecting"
    start = heard = time.monotonic()
    if once and timeout_s is None:
        timeout_s = ONCE_TIMEOUT_S
    connection = Connection(
        config.broker,
        f"monitor-{os.getpid()}-{os.urandom(3).hex()}",
        subscriptions=[(topics.everything_filter(config.fleet), 1)],
    )
    connected = False
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    connection.start()
    try:
        while timeout_s is None or time.monotonic() - start < timeout_s:
            match connection.next_event(REFRESH_S):
                case Received() as message:
                    heard = time.monotonic()
                    event = view.apply(message.topic, message.payload, message.retained, time.time())
                    show(view, link, event)
                    continue
                case Connected():
                    connected, heard, link = True, time.monotonic(), f"{where} connected"
                case Disconnected(reason):
                    connected, link = False, reason
                    log.warning("%s; trying again", reason)
            show(view, link, None)
            if once and connected and time.monotonic() - heard > QUIET_S:
                break
    except KeyboardInterrupt:
        pass
    finally:
        connection.stop(timeout_s=0)
    if once and not connected:
        raise TransportError(link)
    return link


def _print_json(view: FleetView, link: str, event: dict[str, Any] | None) -> None:
    if event is not None:
        print(json.dumps(event), flush=True)


def _print_lines(view: FleetView, link: str, event: dict[str, Any] | None) -> None:
    while view.recent:
        print(view.recent.popleft(), flush=True)


def render(config: Config, view: FleetView, link: str, now: float, console: "Console", rows: int | None) -> "Group":
    """The table as something rich prints. now: Unix time. rows: most devices to show, None for all."""
    from rich.console import Group
    from rich.text import Text

    online = sum(d.status is not None and d.status.state == "online" for d in view.devices.values())
    coordinator = view.status.state if view.status else "not seen"
    revision = str(view.head.revision) if view.head else "-"
    if view.status and view.status.pinned is not None:
        revision += " pinned"
    quarantined = f"   {view.status.quarantined} quarantined" if view.status and view.status.quarantined else ""
    parts: list[Any] = [
        Text(plain(link)),
        Text(f"fleet {config.fleet}   {online} of {len(view.devices)} devices online"),
        Text(f"coordinator {coordinator}   release {(view.release_id or '-')[:8]}   revision {revision}{quarantined}"),
        Text(_round_line(view)),
        _table(view, now, rows),
    ]
    hidden = 0 if rows is None else len(view.devices) - max(rows, 1)
    if hidden > 0:
        parts.append(Text(f"... and {hidden} more devices", style="dim"))
    statuses = {name: device.status for name, device in view.devices.items() if device.status is not None}
    if conflicts := [name for name, status in statuses.items() if status.conflict]:
        more = ", ..." if len(conflicts) > NAMED else ""
        parts.append(Text(f"two agents use the id of {', '.join(conflicts[:NAMED])}{more}", style="bold red"))
    for what, counts in (
        ("windows with a sensor fault", Counter({name: status.sensor_faults for name, status in statuses.items()})),
        ("windows at unknown operating points", Counter({name: status.unknown for name, status in statuses.items()})),
        ("garbage", view.garbage),
        ("rejected by the coordinator", Counter(view.status.rejected if view.status else {})),
    ):
        if text := ", ".join(f"{plain(name)} {count}" for name, count in counts.most_common(NAMED) if count):
            parts.append(Text(f"{what}: {text}", style="yellow"))
    parts += [Text(line, style="dim") for line in view.recent]
    for part in parts:
        if isinstance(part, Text):
            part.no_wrap, part.overflow = True, "ellipsis"
    return Group(*parts)


def _round_line(view: FleetView) -> str:
    current = view.round
    if current is None:
        return "no round yet"
    text = f"round {current.round_number} {current.state}   {current.strategy}   "
    if current.state == "closed":
        left_out = f", {current.left_out} left out" if current.left_out else ""
        text += f"{current.updates} updates{left_out}   {current.outcome or ''}"
    elif current.mode == "buffered":
        text += f"a head of every {current.quorum} updates"
    else:
        everyone = view.status.devices if view.status and view.status.devices else len(view.devices)
        asked = everyone if current.invited is None else len(current.invited)
        text += f"{asked} asked, {current.quorum} needed   "
        text += f"deadline {current.deadline_s:g} s after {current.opened_utc[11:19]}"
    return plain(text)


def _table(view: FleetView, now: float, rows: int | None) -> "Table":
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 1, 0, 0), expand=True, header_style="bold")
    table.add_column("device", no_wrap=True, overflow="ellipsis", ratio=1)
    for title, right in (
        ("state", False),
        ("rel/rev", False),
        ("phase", False),
        ("heard", True),
        ("score/threshold", True),
        ("alarm", False),
        ("MB", True),
    ):
        table.add_column(title, no_wrap=True, justify="right" if right else "left")
    first = sorted(view.devices.items(), key=lambda item: (not _raised(item[1]), _natural(item[0])))
    for name, device in first[: None if rows is None else max(rows, 1)]:
        status, raised, standing = device.status, _raised(device), _standing(device)
        state = status.state if status else "?"
        phase, base, memory = "-", "-", "-"
        if status:
            phase = _phase(status)
            base = f"{status.base.release_id[:6]}/{status.base.revision}{_head(status)}" if status.base else "-"
            memory = f"{status.peak_rss_mb:.0f}" if status.peak_rss_mb is not None else "-"
        behind = bool(view.head and status and status.base and status.base.revision < view.head.revision)
        table.add_row(
            name,
            Text(state, style={"online": "green", "offline": "red"}.get(state, "")),
            Text(base, style="yellow" if behind else ""),
            phase,
            _age(now - device.heard_at) if device.heard_at is not None else "-",
            Text(_score(device), style="red" if raised else ""),
            Text(standing or "-", style="bold red" if raised else "yellow" if standing else ""),
            memory,
        )
    return table


def _natural(name: str) -> list[str | int]:
    """Sort key that puts bearing-2 before bearing-10."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]


def _raised(device: DeviceView) -> bool:
    """Whether an alarm stands that nobody has acknowledged."""
    return device.alarm is not None and any(alarm.state == "raised" for alarm in device.alarm.standing)


def _standing(device: DeviceView) -> str:
    """The alarms that stand: RAISED is the machine's, SENSOR the sensor's; in small letters once acknowledged."""
    words = {"machine": "raised", "sensor": "sensor"}
    alarms = device.alarm.standing if device.alarm else ()
    return " ".join(words[a.kind].upper() if a.state == "raised" else f"{words[a.kind]} ack" for a in alarms)


def _phase(status: messages.DeviceStatus) -> str:
    """With the share of what it waits for: of the windows to learn, then of those that back the false-alarm promise."""
    if status.phase == "learning":
        return f"learn {status.learned:.0%}"
    if status.phase == "watching" and status.promised < 1:
        return f"watch {status.promised:.0%}"
    return status.phase


def _head(status: messages.DeviceStatus) -> str:
    """What a device scores with in the place of the fleet's head: its own step, or an older one that it kept."""
    return {"personal": " own", "kept": " kept"}.get(status.head.use if status.head else "", "")


def _score(device: DeviceView) -> str:
    threshold = device.status.threshold if device.status else None
    score = None
    if device.score:
        score, threshold = device.score.last, device.score.threshold or threshold
    elif device.alarm:
        score, threshold = device.alarm.score, device.alarm.threshold
    return " / ".join("-" if value is None else f"{value:.3g}" for value in (score, threshold))


def _age(seconds: float) -> str:
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= size:
            return f"{seconds / size:.0f}{unit}"
    return f"{max(seconds, 0):.0f}s"


def _utc(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def plain(text: str) -> str:
    """A peer's text without what could steer a terminal."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
