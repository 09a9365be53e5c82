"""What is known of a device in few words: the cells of the tables, and the orders that they can stand in."""

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from fedtiny.monitor.view import DeviceView
from fedtiny.protocol import messages

ALARMS = {"machine": "raised", "sensor": "sensor"}
Order = Callable[[str, DeviceView], Any]


@lru_cache(maxsize=20_000)
def natural(name: str) -> tuple[str | int, ...]:
    """Sort key that puts bearing-2 before bearing-10."""
    return tuple(int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name))


def raised(device: DeviceView) -> bool:
    """Whether an alarm stands that nobody has acknowledged."""
    return device.alarm is not None and any(alarm.state == "raised" for alarm in device.alarm.standing)


def standing(device: DeviceView) -> str:
    """The alarms that stand: RAISED is the machine's, SENSOR the sensor's; in small letters once acknowledged."""
    alarms = device.alarm.standing if device.alarm else ()
    return " ".join(ALARMS[a.kind].upper() if a.state == "raised" else f"{ALARMS[a.kind]} ack" for a in alarms)


def state(device: DeviceView) -> str:
    """Online, offline, or "?" where it has not said."""
    return device.status.state if device.status else "?"


def phase(status: messages.DeviceStatus) -> str:
    """With the share of what it waits for: of the windows to learn, then of those that back the false-alarm promise."""
    if status.phase == "learning":
        return f"learn {status.learned:.0%}"
    if status.phase == "watching" and status.promised < 1:
        return f"watch {status.promised:.0%}"
    return status.phase


def base(status: messages.DeviceStatus, digits: int = 6) -> str:
    """Release and revision, and what stands in the place of the fleet's head: its own step, or an older one kept.

    digits: of the release's id.
    """
    if status.base is None:
        return "-"
    own = {"personal": " own", "kept": " kept"}.get(status.head.use if status.head else "", "")
    return f"{status.base.release_id[:digits]}/{status.base.revision}{own}"


def score(device: DeviceView) -> tuple[float | None, float | None]:
    """Its last score, and the threshold that it stands under."""
    threshold = device.status.threshold if device.status else None
    if device.score:
        return device.score.last, device.score.threshold or threshold
    if device.alarm:
        return device.alarm.score, device.alarm.threshold
    return None, threshold


def pair(values: tuple[float | None, float | None]) -> str:
    """Score / threshold."""
    return " / ".join("-" if value is None else f"{value:.3g}" for value in values)


def heard(device: DeviceView, now: float) -> str:
    """How long ago it said something."""
    return age(now - device.heard_at) if device.heard_at is not None else "-"


def memory(device: DeviceView) -> str:
    """Its process's peak, MB."""
    peak = device.status.peak_rss_mb if device.status else None
    return "-" if peak is None else f"{peak:.0f}"


def age(seconds: float) -> str:
    """A duration in its largest unit."""
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= size:
            return f"{seconds / size:.0f}{unit}"
    return f"{max(seconds, 0):.0f}s"


def _ratio(device: DeviceView) -> float:
    last, threshold = score(device)
    return last / threshold if last is not None and threshold else -1.0


ORDERS: dict[str, Order] = {
    "alarms first": lambda name, device: (not raised(device), not standing(device), natural(name)),
    "name": lambda name, _: natural(name),
    "score / threshold": lambda name, device: (-_ratio(device), natural(name)),
    "longest silent": lambda name, device: (device.heard_at or 0.0, natural(name)),
    "memory": lambda name, device: (-((device.status and device.status.peak_rss_mb) or 0.0), natural(name)),
}


def fits(text: str, name: str, device: DeviceView) -> bool:
    """Whether a device's name, state, phase or alarms hold ``text``, in capital or small letters."""
    said = f"{name} {state(device)} {standing(device)} {device.status.phase if device.status else ''}"
    return text.lower() in said.lower()
