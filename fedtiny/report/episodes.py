"""From what devices said of their alarms to the alarms themselves: since when, until when, seen by somebody, why."""

import heapq
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, get_args

from fedtiny.ledger import AlarmRow
from fedtiny.protocol.messages import AlarmKind

KINDS: tuple[str, ...] = get_args(AlarmKind)
LATE_S = 120.0  # between a device's clock and ours: beyond it both are told


@dataclass
class Episode:
    """One alarm. Times are ours, ISO 8601; ``device_utc``: when it was raised by the device's clock.

    since_utc: None where the first that was heard of it is not its beginning. ended: why nothing more is heard of one
    that was not cleared. late: the device's clock says something else than ours. bands: JSON, as the ledger has them.
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
    bands: str = "[]"
    stands: bool = True


class Tally(NamedTuple):
    """counts: alarms of each device. standing: all that stand. over: some that do not; both in the order they began."""

    counts: Mapping[str, int]
    standing: Sequence[Episode]
    over: Sequence[Episode]


def tally(rows: Iterable[AlarmRow], most: int, wanted: Collection[str] = ()) -> Tally:
    """The alarms that ``rows`` tell of, row by row: memory grows with the devices, not with their alarms.

    most: beyond so many in all, those that are over are dropped, the acknowledged first, then the oldest. wanted: the
    devices whose alarms are kept, all where it is empty.
    """
    counts: Counter[str] = Counter()
    standing: dict[tuple[str, str], tuple[int, Episode]] = {}
    over: list[tuple[bool, int, Episode]] = []  # a heap: what goes first is on top

    def end(key: tuple[str, str]) -> None:
        number, one = standing.pop(key)
        if not wanted or one.device in wanted:
            heapq.heappush(over, (one.acknowledged_utc is None, number, one))
            if len(over) > most:
                heapq.heappop(over)

    for number, row in enumerate(rows):
        key = (row.device, row.kind)
        for other in [(row.device, kind) for kind in KINDS]:
            if other not in standing:
                continue
            one = standing[other][1]
            if one.epoch != row.epoch:
                _end(one, row.received_utc, "the device began anew")
                end(other)
            elif other == key and one.device_utc != row.raised_utc:
                _end(one, row.received_utc, "another was raised")
                end(other)
        if key not in standing:
            standing[key] = number, Episode(row.device, row.kind, row.epoch, row.raised_utc, row.reason)
            counts[row.device] += 1
        _tell(standing[key][1], row)
        if row.state == "cleared":
            end(key)
    kept = [one for _, one in standing.values() if not wanted or one.device in wanted]
    while over and len(kept) + len(over) > most:
        heapq.heappop(over)
    return Tally(counts, kept, [one for _, _, one in sorted(over, key=lambda entry: entry[1])])


def _tell(one: Episode, row: AlarmRow) -> None:
    if row.state == "raised":
        one.since_utc, one.late = row.received_utc, _far(row.at_utc, row.received_utc)
        one.reason, one.point = row.reason, row.point
        one.bands = row.bands
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
