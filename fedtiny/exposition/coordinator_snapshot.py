"""The coordinator at one instant, as its loop hands it over."""

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import takewhile
from typing import NamedTuple

from fedtiny.config import Config
from fedtiny.federation.rounds import State
from fedtiny.ledger import Ledger, RoundRow
from fedtiny.protocol.messages import Base, DeviceStatus
from fedtiny.round_keeper import RoundKeeper
from fedtiny.transport import Connection

SILENT_S = 300.0  # an agent speaks every 60 s: one that was not heard for so long is away, whatever it said
FRUITLESS = 10  # rounds without a head are counted up to here


class DeviceState(NamedTuple):
    """What counts of a device's newest status, as small as it can be kept for each of thousands.

    heard: when it came, monotonic seconds. One that the broker has retained counts: it comes once a connection, and
    what the device does after that decides.
    """

    heard: float
    online: bool
    phase: str
    release_id: str
    revision: int
    machine: str | None
    sensor: str | None

    @classmethod
    def of(cls, status: DeviceStatus, now: float) -> "DeviceState":
        """Of a status that comes ``now``."""
        release_id, revision = ("", 0) if status.base is None else (status.base.release_id, status.base.revision)
        online, machine, sensor = status.state == "online", status.alarms.get("machine"), status.alarms.get("sensor")
        return cls(now, online, status.phase, sys.intern(release_id), revision, machine, sensor)

    def at(self, now: float) -> "DeviceState":
        """As it is with the broker there: a broker that lost its power knows no wills, and says "online" for ever."""
        return self._replace(online=False) if now - self.heard > SILENT_S else self


@dataclass(frozen=True)
class CoordinatorSnapshot:
    """The coordinator at one instant.

    devices: those that were seen and are not blocked. round_seconds: for how long the last closed round was open.
    closed: the last closed round. fruitless: rounds in a row, up to ``FRUITLESS``, that closed without a head. fates:
    how many updates met which fate. rejected: messages, by reason. wanted: whether a round is open or would open with
    what devices have. waiting: updates of the open round. bytes_up and bytes_down: sent and received. All counts are
    from the start of the process.
    """

    strategy: str
    mode: str
    base: Base
    pinned: bool
    online: bool
    devices: Mapping[str, DeviceState]
    quarantined: int
    blocked: int
    round_number: int
    round_open: bool
    wanted: bool
    waiting: int
    closed: RoundRow | None
    fruitless: int
    round_seconds: float | None
    fates: Mapping[str, int]
    rejected: Mapping[str, int]
    bytes_up: int
    bytes_down: int

    def behind(self, device: DeviceState) -> bool:
        """Whether a device is not at the newest head of the current release."""
        return device.revision != self.base.revision or device.release_id != self.base.release_id

    def count(self, holds: Callable[[DeviceState], bool]) -> int:
        """Devices that are online and for which ``holds``."""
        return sum(device.online and holds(device) for device in self.devices.values())


def take_snapshot(
    config: Config,
    ledger: Ledger,
    keeper: RoundKeeper,
    connection: Connection,
    devices: Mapping[str, DeviceState],
    rejected: Mapping[str, int],
    *,
    online: bool,
) -> CoordinatorSnapshot:
    """Of a coordinator's parts; called by its own loop, as the ledger belongs to that."""
    settings, rounds, standings = config.coordinator, keeper.rounds, ledger.standings()
    is_open, now = rounds.state is State.OPEN, time.monotonic()
    closed = [row for row in ledger.rounds(FRUITLESS + 1) if row.outcome is not None]
    known = {name: device for name, device in devices.items() if standings.get(name) != "blocked"}
    return CoordinatorSnapshot(
        strategy=settings.strategy,
        mode=settings.mode,
        base=rounds.base,
        pinned=rounds.pinned,
        online=online,
        devices={name: device.at(now) for name, device in known.items()} if online else known,
        quarantined=sum(standing == "quarantined" for standing in standings.values()),
        blocked=sum(standing == "blocked" for standing in standings.values()),
        round_number=rounds.number,
        round_open=is_open,
        wanted=rounds.wanted(now),
        waiting=len(rounds.answered) if is_open else 0,
        closed=closed[0] if closed else None,
        fruitless=sum(1 for _ in takewhile(lambda row: row.made is None, closed[:FRUITLESS])),
        round_seconds=keeper.lasted_s,
        fates=dict(ledger.fates),
        rejected=dict(rejected),
        bytes_up=connection.bytes_up,
        bytes_down=connection.bytes_down,
    )
