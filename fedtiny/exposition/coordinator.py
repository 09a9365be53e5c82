"""What the coordinator shows to Prometheus.

Of a single device there are three figures and no more, whatever it says of itself: a thousand devices are 3,000 series.
"""

from collections.abc import Callable
from functools import partial
from typing import get_args

from fedtiny import __version__
from fedtiny.exposition.coordinator_snapshot import FRUITLESS, CoordinatorSnapshot, DeviceState
from fedtiny.exposition.ledger_disk import LEDGER_DISK
from fedtiny.exposition.series import Series, Table, Values, by_name
from fedtiny.ledger import RoundRow
from fedtiny.protocol.messages import AlarmKind

STATES = {"raised": 2.0, "acknowledged": 1.0}  # an alarm, as a figure


gauge = partial(Series[CoordinatorSnapshot], "gauge")
counter = partial(Series[CoordinatorSnapshot], "counter")


def _each(read: Callable[[CoordinatorSnapshot, DeviceState], float]) -> Callable[[CoordinatorSnapshot], Values]:
    return lambda fleet: {(name,): read(fleet, device) for name, device in fleet.devices.items()}


def _alarms(*states: str) -> Callable[[CoordinatorSnapshot], Values]:
    def count(fleet: CoordinatorSnapshot) -> Values:
        devices = fleet.devices.values()
        return {(kind,): sum(getattr(device, kind) in states for device in devices) for kind in get_args(AlarmKind)}

    return count


def _of_closed(read: Callable[[RoundRow], float | None]) -> Callable[[CoordinatorSnapshot], float | None]:
    return lambda fleet: read(fleet.closed) if fleet.closed else None


COORDINATOR = Table(
    age="fedtiny_coordinator_snapshot_age_seconds",
    series=(
        gauge(
            "fedtiny_coordinator_info",
            "1; its labels say what runs.",
            lambda fleet: {(__version__, fleet.base.release_id[:12], fleet.strategy, fleet.mode): 1},
            ("version", "release", "strategy", "mode"),
        ),
        gauge("fedtiny_coordinator_broker_connected", "1 while the broker is there.", lambda fleet: fleet.online),
        gauge(
            "fedtiny_coordinator_revision",
            "Newest revision of the head of the current release.",
            lambda fleet: fleet.base.revision,
        ),
        gauge(
            "fedtiny_coordinator_head_pinned",
            "1 while an operator keeps the head from changing.",
            lambda fleet: fleet.pinned,
        ),
        gauge(
            "fedtiny_coordinator_devices",
            "Devices that have told of themselves and are not blocked.",
            lambda fleet: len(fleet.devices),
        ),
        gauge(
            "fedtiny_coordinator_devices_online",
            "Those of them that are online.",
            lambda fleet: fleet.count(lambda device: True),
        ),
        gauge(
            "fedtiny_coordinator_devices_learning",
            "Those online that still learn what is normal.",
            lambda fleet: fleet.count(lambda device: device.phase == "learning"),
        ),
        gauge(
            "fedtiny_coordinator_devices_watching",
            "Those online that watch their machine.",
            lambda fleet: fleet.count(lambda device: device.phase == "watching"),
        ),
        gauge(
            "fedtiny_coordinator_devices_behind",
            "Those online that are not at the newest head.",
            lambda fleet: fleet.count(fleet.behind),
        ),
        gauge(
            "fedtiny_coordinator_devices_quarantined",
            "Devices whose updates stood apart too often; they are refused.",
            lambda fleet: fleet.quarantined,
        ),
        gauge(
            "fedtiny_coordinator_devices_blocked",
            "Devices that an operator has blocked.",
            lambda fleet: fleet.blocked,
        ),
        gauge(
            "fedtiny_coordinator_alarms_standing",
            "Devices with such an alarm, acknowledged or not.",
            _alarms("raised", "acknowledged"),
            ("kind",),
        ),
        gauge(
            "fedtiny_coordinator_alarms_unacknowledged",
            "Devices with such an alarm that nobody has acknowledged.",
            _alarms("raised"),
            ("kind",),
        ),
        gauge(
            "fedtiny_coordinator_round_number",
            "Number of the open round, or of the last one.",
            lambda fleet: fleet.round_number,
        ),
        gauge("fedtiny_coordinator_round_open", "1 while a round is open.", lambda fleet: fleet.round_open),
        gauge(
            "fedtiny_coordinator_round_wanted",
            "1 while enough devices are ready for a round and one is open or would be, and no pause is kept.",
            lambda fleet: fleet.wanted,
        ),
        gauge(
            "fedtiny_coordinator_rounds_without_head",
            f"Rounds in a row, up to {FRUITLESS}, that closed without a head: the last ones.",
            lambda fleet: fleet.fruitless,
        ),
        gauge(
            "fedtiny_coordinator_round_updates_waiting",
            "Updates of the open round so far.",
            lambda fleet: fleet.waiting,
        ),
        gauge(
            "fedtiny_coordinator_round_duration_seconds",
            "For how long the last closed round was open.",
            lambda fleet: fleet.round_seconds,
        ),
        gauge(
            "fedtiny_coordinator_round_update_bytes",
            "Payloads of the updates of the last closed round.",
            _of_closed(lambda last: last.bytes_up),
        ),
        gauge(
            "fedtiny_coordinator_round_loss_before",
            "Mean loss on windows kept out, before the fine-tuning, in the last closed round if it made a head.",
            _of_closed(lambda last: last.loss_before),
        ),
        gauge(
            "fedtiny_coordinator_round_loss_after",
            "The same after the fine-tuning.",
            _of_closed(lambda last: last.loss_after),
        ),
        counter(
            "fedtiny_coordinator_updates",
            "Updates by what became of them: used, left out, refused, abandoned.",
            lambda fleet: by_name(fleet.fates),
            ("fate",),
        ),
        counter(
            "fedtiny_coordinator_rejected",
            "Messages that were refused, by reason.",
            lambda fleet: by_name(fleet.rejected),
            ("reason",),
        ),
        counter(
            "fedtiny_coordinator_received_bytes",
            "Topics and payloads received.",
            lambda fleet: fleet.bytes_down,
        ),
        counter("fedtiny_coordinator_sent_bytes", "Topics and payloads sent.", lambda fleet: fleet.bytes_up),
        gauge(
            "fedtiny_device_up",
            "1 while the device is online: it says so, and has said something within 5 minutes.",
            _each(lambda fleet, device: device.online),
            ("device",),
        ),
        gauge(
            "fedtiny_device_behind",
            "1 while the device is not at the newest head.",
            _each(lambda fleet, device: fleet.behind(device)),
            ("device",),
        ),
        gauge(
            "fedtiny_device_alarm",
            "The machine's alarm: 0 none, 1 acknowledged, 2 not acknowledged.",
            _each(lambda fleet, device: STATES.get(device.machine or "", 0.0)),
            ("device",),
        ),
    ),
    always=LEDGER_DISK,
)
