"""What a device says of itself: the fields of its status that come from what it knows, and one line for people."""

import math
import time
from dataclasses import asdict
from typing import Any

from fedtiny import __version__
from fedtiny.device import Device
from fedtiny.health import Health
from fedtiny.protocol.messages import DeviceStatus, HealthReport, PointStatus


def device_status(
    device: Device, health: Health, *, lag_s: float | None, backlog: int, lost: int, **rest: Any
) -> DeviceStatus:
    """The status of ``device``; ``rest``: the fields that only its agent knows."""
    watch = device.watch
    points = {
        name: PointStatus(
            learned=d.learned, promised=d.promised, threshold=d.threshold, drift=d.drift.used if d.threshold else 0.0
        )
        for name, d in (watch.detectors.items() if watch else ())
    }
    thresholds = [point.threshold for point in points.values() if point.threshold is not None]
    measured = asdict(health)
    peak = measured.pop("peak_rss_mb")
    return DeviceStatus(
        device=device.name,
        phase=device.participant.phase.value,
        learned=watch.learned if watch else 0.0,
        promised=watch.promised if watch else 0.0,
        base=device.participant.base,
        head=device.in_use,
        windows=device.counters.windows,
        examples=device.examples,
        fresh=device.counters.fresh,
        unknown=device.counters.unknown,
        sensor_faults=device.counters.sensor_faults,
        alarms={kind: alarm.state for kind, alarm in device.book.standing.items()},
        threshold=thresholds[0] if len(thresholds) == 1 else None,
        points=points,
        interpreter=device.network.interpreter if device.network else "",
        version=__version__,
        peak_rss_mb=peak,
        health=HealthReport(**measured, lag_s=lag_s, backlog=backlog, lost=lost),
        **rest,
    )


def in_words(device: Device, *, online: bool) -> str:
    """One line for ``systemctl status``."""
    phase = device.participant.phase.value
    if device.watch is not None:
        share = device.watch.promised if device.watch.watching else device.watch.learned
        phase += f" {share:.0%}"
    alarms = ", ".join(f"{kind} alarm {alarm.state}" for kind, alarm in device.book.standing.items())
    link = "online" if online else "broker away"
    return f"{phase}, {device.counters.windows} windows, {alarms or 'no alarm'}, {link}"


class Lag:
    """How far an agent has fallen behind a live source, beyond the least of the last minute.

    A sensor's clock and this computer's are never quite alike; over a minute that does not matter.
    """

    def __init__(self) -> None:
        self.seconds: float | None = None
        self._least = [math.inf, math.inf]  # of the half minute before, of this one
        self._until = time.monotonic() + 30

    def add(self, behind: float) -> None:
        """``behind``: seconds since the stream began, less the seconds of samples that were taken since."""
        if time.monotonic() > self._until:
            self._least, self._until = [self._least[1], math.inf], time.monotonic() + 30
        self._least[1] = min(self._least[1], behind)
        self.seconds = behind - min(self._least)
