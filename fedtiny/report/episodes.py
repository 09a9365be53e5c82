"""From what devices said of their alarms to the alarms themselves: since when, until when, seen by somebody, why."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, get_args

from fedtiny.ledger import AlarmRow
from fedtiny.protocol.messages import AlarmKind

LATE_S = 120.0  # between a device's clock and ours: beyond it both are told


@dataclass
class Episode:
    """One alarm. Times are ours, ISO 8601; ``device_utc``: when it was raised by the device's clock.

    since_utc: None where the first that was heard of it is not its beginning. ended: why nothing more is heard of one
    that was not cleared. late: the device's clock says something else than ours.
    """

    device: str
    kind: str
    epoch: str
    device_utc: str
    reason: str
    since_utc: str | None = None
    acknowledged_utc: str | None = None
    cleared_utc: str | None = None
    ended: str | None = None
    late: bool = False
    score: float | None = None
    threshold: float | None = None
    point: str = ""
    bands: list[dict[str, Any]] = field(default_factory=list)
    stands: bool = True


def episodes(rows: Iterable[AlarmRow]) -> list[Episode]:
    """The alarms that ``rows`` tell of, in the order in which they were heard of."""
    found: list[Episode] = []
    open_ones: dict[tuple[str, str], Episode] = {}
    for row in rows:
        for key in [(row.device, kind) for kind in get_args(AlarmKind)]:
            if key in open_ones and open_ones[key].epoch != row.epoch:
                _end(open_ones.pop(key), row.received_utc, "the device began anew")
        key = (row.device, row.kind)
        one = open_ones.get(key)
        if one is not None and one.device_utc != row.raised_utc:
            _end(open_ones.pop(key), row.received_utc, "another was raised")
            one = None
        if one is None:
            one = Episode(row.device, row.kind, row.epoch, row.raised_utc, row.reason)
            open_ones[key] = one
            found.append(one)
        _tell(one, row)
        if row.state == "cleared":
            open_ones.pop(key)
    return found


def _tell(one: Episode, row: AlarmRow) -> None:
    if row.state == "raised":
        one.since_utc, one.late = row.received_utc, _far(row.at_utc, row.received_utc)
        one.reason, one.point = row.reason, row.point
        one.bands = json.loads(row.bands)
    elif row.state == "acknowledged":
        one.acknowledged_utc = row.received_utc
    elif row.state == "cleared":
        one.cleared_utc, one.stands = row.received_utc, False
    if row.score is not None and (one.score is None or row.score > one.score):
        one.score, one.threshold = row.score, row.threshold


def _end(one: Episode, now: str, why: str) -> None:
    one.ended, one.stands, one.cleared_utc = why, False, now


def _far(device_utc: str, received_utc: str) -> bool:
    try:
        gap = datetime.fromisoformat(device_utc) - datetime.fromisoformat(received_utc)
    except (ValueError, TypeError):  # no time at all, or one without a zone
        return True
    return abs(gap.total_seconds()) > LATE_S
