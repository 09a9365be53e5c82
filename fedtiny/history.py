"""What devices say over time, gathered by the coordinator into its ledger.

Alarms are kept at once. Scores and statuses are rolled up in memory, scores by five minutes and resources by the hour,
and written once a minute, or as soon as there are many: what a kill takes is at most a minute of messages that nobody
promised to deliver.

Rows are placed by the coordinator's clock. Only a summary of scores that was kept on the device while the broker was
away is placed by the device's, as far as that can be true; a device that asks for more rows than are kept is refused.
"""

import json
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from fedtiny.errors import ProtocolError
from fedtiny.intake import RefusedError
from fedtiny.ledger import AlarmRow, Ledger, ResourceRow, ScoreRow
from fedtiny.ledger.history import RESOURCES_S, SCORES_S
from fedtiny.protocol import codec
from fedtiny.protocol.messages import Alarm, BandShare, DeviceStatus, ScoreSummary
from fedtiny.protocol.topics import Topic

SCORE_DAYS = 35  # scores and resources are kept so long: a report of a month has all of it
WRITE_EVERY_S = 60.0
DAY_S = 86_400
GATHERED = 2_000  # rows in memory, of scores and of resources; as many are written at once, in 0.2 s
LATE = (
    SCORE_DAYS * DAY_S // SCORES_S
)  # rows of a device, placed by its clock, from one write to the next: all there are
WORD, REASON, BANDS = 64, 300, 6  # characters, characters, bands that are kept of an alarm
LARGEST = 1e30  # numbers beyond it are cut: sums of them must stay numbers
WINDOWS = 1_000_000  # that one summary can stand for


@dataclass
class _Scores:
    windows: int = 0
    over: int = 0
    total: float = 0.0
    largest: float = -LARGEST
    share: float | None = None
    threshold: float | None = None
    levels: float | None = None

    def add(self, message: ScoreSummary) -> None:
        count = min(max(message.count, 1), WINDOWS)
        self.windows += count
        self.over += min(message.over, count)
        self.total += count * _cut(message.mean)
        self.largest = max(self.largest, _cut(message.max))
        self.share = _larger(self.share, message.largest)
        if message.threshold is not None:
            self.threshold = _cut(message.threshold)
        if message.level is not None:
            self.levels = (self.levels or 0.0) + count * _cut(message.level)

    def row(self, start: int, device: str) -> ScoreRow:
        mean, level = self.total / self.windows, None if self.levels is None else self.levels / self.windows
        return ScoreRow(start, device, self.windows, self.over, mean, self.largest, self.share, self.threshold, level)


class History:
    """The way of scores, alarms and statuses into ``ledger``.

    days: that alarms are kept; scores and resources are for as many, at most ``SCORE_DAYS``. clock: seconds since 1970.
    """

    def __init__(self, ledger: Ledger, days: int, clock: Callable[[], float] = time.time) -> None:
        self._ledger, self._days, self._clock = ledger, days, clock
        self._scores: dict[tuple[int, str], _Scores] = {}
        self._resources: dict[tuple[int, str], ResourceRow] = {}
        self._late: Counter[str] = Counter()  # device -> rows that its clock asked for
        self._due = 0.0

    def take(self, topic: Topic, payload: bytes, *, late: bool = False) -> None:
        """Note an alarm or a summary of scores; ``late``: it was kept on the device for a while.

        Raises ProtocolError for a message that cannot be read or names another device than its topic, RefusedError for
        one of a device that has asked for ``LATE`` rows within a minute.
        """
        message: Alarm | ScoreSummary
        message = codec.decode(Alarm, payload) if topic.kind == "alarm" else codec.decode(ScoreSummary, payload)
        if message.device != topic.device:
            raise ProtocolError(f"the {topic.kind} names another device than its topic")
        if isinstance(message, Alarm):
            self._ledger.add_alarm(_alarm_row(message, _iso(self._clock())))
            return
        at = self._placed(message.at_utc) if late else self._clock()
        key = (int(at) // SCORES_S * SCORES_S, message.device)
        if key not in self._scores:
            if late:
                self._admit(message.device)
            self._make_room()
        self._scores.setdefault(key, _Scores()).add(message)

    def take_status(self, status: DeviceStatus) -> None:
        """Note what a device says of its computer."""
        health, start = status.health, int(self._clock()) // RESOURCES_S * RESOURCES_S
        key = (start, status.device)
        if (health is None and status.peak_rss_mb is None) or status.state == "offline":
            return
        if key not in self._resources:
            self._make_room()
        old = self._resources.get(key) or ResourceRow(start, status.device, None, None, None, None, 0)
        self._resources[key] = ResourceRow(
            start,
            status.device,
            _larger(old.peak_rss_mb, status.peak_rss_mb),
            _larger(old.cpu_share, health.cpu_share if health else None),
            _larger(old.temperature_c, health.temperature_c if health else None),
            _larger(old.lag_s, health.lag_s if health else None),
            max(old.throttled, bool(health and health.throttled_now)),
        )

    def flush(self, *, all_of_it: bool = False) -> None:
        """Once a minute, or now: write what was gathered, and forget some of what is too old."""
        now = self._clock()
        if not all_of_it and abs(now - self._due) < WRITE_EVERY_S:
            return
        self._due = now
        self._late.clear()
        with self._ledger.transaction():
            self._write()
            self._ledger.drop_history(
                alarms_before=_iso(now - self._days * DAY_S),
                others_before=int(now) - min(self._days, SCORE_DAYS) * DAY_S,
            )

    def _write(self) -> None:
        with self._ledger.transaction():
            self._ledger.add_scores(scores.row(*key) for key, scores in sorted(self._scores.items(), key=_key))
            self._ledger.add_resources(row for _, row in sorted(self._resources.items(), key=_key))
        self._scores.clear()
        self._resources.clear()

    def _make_room(self) -> None:
        if max(len(self._scores), len(self._resources)) >= GATHERED:
            self._write()

    def _admit(self, device: str) -> None:
        """Let a device have one more row that its own clock asks for."""
        if self._late[device] >= LATE:
            raise RefusedError("flood", f"{device} has summaries of more times than there are in {SCORE_DAYS} days")
        self._late[device] += 1

    def _placed(self, at_utc: str) -> float:
        """When a summary was made, by a device's word where that can be true, else now."""
        now = self._clock()
        try:
            at = datetime.fromisoformat(at_utc).astimezone(UTC).timestamp()
        except (ValueError, OverflowError):
            return now
        return at if now - min(self._days, SCORE_DAYS) * DAY_S < at <= now else now


def _key(item: tuple[tuple[int, str], object]) -> tuple[int, str]:
    return item[0]


def _cut(value: float) -> float:
    return min(max(value, -LARGEST), LARGEST)


def _larger(old: float | None, new: float | None) -> float | None:
    if new is None:
        return old
    return _cut(new) if old is None else max(old, _cut(new))


def _iso(seconds: float) -> str:
    """As ``clock.utc_now`` writes it."""
    return (datetime.fromtimestamp(0, UTC) + timedelta(seconds=int(seconds))).isoformat()


def _alarm_row(message: Alarm, now: str) -> AlarmRow:
    bands = sorted(message.bands, key=lambda band: -band.share)[:BANDS]
    return AlarmRow(
        device=message.device,
        received_utc=now,
        at_utc=message.at_utc[:WORD],
        raised_utc=message.raised_utc[:WORD] or message.at_utc[:WORD],
        epoch=message.epoch[:WORD],
        number=message.number,
        kind=message.kind,
        state=message.state,
        reason=message.reason[:REASON],
        window=message.window,
        score=message.score,
        threshold=message.threshold,
        point=message.point[:WORD],
        bands=json.dumps([_band(band) for band in bands]),
    )


def _band(band: BandShare) -> dict[str, object]:
    return band.model_copy(update={"channel": band.channel[:WORD]}).model_dump(exclude_none=True)
