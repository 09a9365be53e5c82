"""What the coordinator keeps of what devices say: rolled up, deduplicated, bounded, whatever they say."""

import json
import sqlite3
from contextlib import closing
from datetime import UTC, datetime

import pytest

from fedtiny.errors import ProtocolError
from fedtiny.history import History
from fedtiny.intake import RefusedError
from fedtiny.ledger import Ledger
from fedtiny.ledger.history import ALARMS_A_DAY, SCORES_S
from fedtiny.ledger.schema import STEPS
from fedtiny.protocol import codec, topics
from fedtiny.protocol.messages import Alarm, BandShare, DeviceStatus, HealthReport, ScoreSummary

NOON = 1_800_000_000 // 86_400 * 86_400 + 43_200
DAY = 86_400


class Clock:
    now = float(NOON)

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def ledger(tmp_path):
    with closing(Ledger(tmp_path)) as ledger:
        yield ledger


@pytest.fixture
def history(ledger, clock):
    return History(ledger, 400, clock)


def say(history, message, device=None, **how):
    kind = "alarm" if isinstance(message, Alarm) else "score"
    topic = topics.parse(topics.device_topic("plant", device or message.device, kind))
    history.take(topic, codec.encode(message), **how)


def score(device="pump", **changes):
    values = {"first": 1, "count": 10, "over": 1, "last": 1.0, "mean": 2.0, "max": 4.0, "threshold": 8.0}
    return ScoreSummary(device=device, **values | {"largest": 0.5, "level": 1.0} | changes)


def alarm(number=1, state="raised", device="pump", **changes):
    values = {"window": 7, "at_utc": "2020-01-01T00:00:00+00:00", "epoch": "e", "reason": "3 of 5"}
    return Alarm(device=device, number=number, state=state, **values | {"raised_utc": "2020-01-01"} | changes)


def _utc(seconds):
    return datetime.fromtimestamp(seconds, UTC).isoformat()


def everything(ledger, table="alarms"):
    return ledger.execute(f"SELECT * FROM {table} ORDER BY 1, 2")


def test_scores_are_rolled_up_by_five_minutes_in_memory_and_across_writes(history, ledger, clock):
    say(history, score(count=10, mean=1.0, level=1.0))
    assert everything(ledger, "scores") == []
    history.flush()
    clock.now += 70
    say(history, score(count=30, mean=5.0, max=16.0, over=4, largest=2.0, level=3.0, threshold=None))
    say(history, score("other"))
    history.flush()
    clock.now += SCORES_S
    say(history, score())
    history.flush(all_of_it=True)
    first, second = ledger.scores(["pump"], NOON, NOON + DAY)["pump"]
    assert (first.windows, first.over, first.mean, first.largest) == (40, 5, 4.0, 16.0)
    assert (first.share, first.threshold, first.level) == (2.0, 8.0, 2.5)
    assert (first.start, second.start) == (NOON, NOON + SCORES_S)


def test_what_a_device_kept_while_the_broker_was_away_is_placed_by_its_clock_where_that_can_be(history, ledger, clock):
    wrong = ("2027-01-15T23:00:00Z", "1970-01-01T00:00:00Z", "yesterday", "9999-12-31T23:59:59-12:00")
    for at in ("2027-01-15T09:00:00Z", *wrong):
        say(history, score(at_utc=at), late=True)
    say(history, score(at_utc="2027-01-15T09:00:00Z"))
    history.flush(all_of_it=True)
    earlier, now = ledger.scores(["pump"], 0, NOON * 2)["pump"]
    assert (earlier.start, earlier.windows, now.start, now.windows) == (NOON - 3 * 3600, 10, NOON, 50)


def test_an_alarm_is_kept_once_at_once_with_both_clocks_and_its_largest_bands(history, ledger):
    bands = tuple(BandShare(channel="x" * 500, share=share / 100, low_hz=1.0) for share in range(20))
    for _ in range(3):
        say(history, alarm(reason="r" * 5000, bands=bands))
    say(history, alarm(2, "held"))  # that it goes on is known
    say(history, alarm(3, "cleared"))
    say(history, alarm(2, "held", epoch="another", raised_utc="2021-01-01"))  # the first that is heard of it
    raised, cleared, held = ledger.alarms("", "9")
    assert (raised.received_utc, raised.at_utc) == ("2027-01-15T12:00:00+00:00", "2020-01-01T00:00:00+00:00")
    assert [row.state for row in (raised, cleared, held)] == ["raised", "cleared", "held"]
    assert len(raised.reason) == 300
    kept = json.loads(raised.bands)
    assert [band["share"] for band in kept] == [0.19, 0.18, 0.17, 0.16, 0.15, 0.14]
    assert kept[0]["channel"] == "x" * 64


def test_a_device_that_floods_fills_nothing_and_its_newest_word_stays(history, ledger, clock):
    say(history, alarm(device="quiet"))
    with ledger.transaction():
        for number in range(ALARMS_A_DAY + 50):
            say(history, alarm(number))
    clock.now += DAY
    say(history, alarm(10_000, "cleared"))
    rows = [row for row in ledger.alarms("", "9") if row.device == "pump"]
    assert len(rows) == ALARMS_A_DAY + 1
    assert (rows[0].number, rows[-1].number) == (50, 10_000)
    assert len(list(ledger.alarms("", "9"))) == ALARMS_A_DAY + 2
    assert ledger.lost_alarms("2027-01-15", "2027-01-16") == {"pump": 50}
    assert ledger.lost_alarms("2027-01-16", "2027-01-17") == {}


def test_an_alarm_that_stands_outlives_what_flaps_beside_it_what_is_too_much_and_its_age(
    history, ledger, clock, monkeypatch
):
    monkeypatch.setattr("fedtiny.ledger.history.ALARMS", 50)
    ledger.saw({"pump": ("2027-01-15T12:00:00+00:00", "{}")})
    since = {"raised_utc": "2027-01-15T11:00:00Z"}
    say(history, alarm(1, **since))
    say(history, alarm(2, "acknowledged", **since))
    with ledger.transaction():
        for number in range(3, ALARMS_A_DAY + 103):
            at = {"raised_utc": f"2027-01-15T12:00:{number}Z", "kind": "sensor"}
            say(history, alarm(number, "raised" if number % 2 else "cleared", **at))
        for number in range(ALARMS_A_DAY + 10):  # the operator's button hangs
            say(history, alarm(1000 + number, "acknowledged", **since))
    clock.now += 500 * DAY
    history.flush(all_of_it=True)
    kept = [(row.kind, row.state, row.number) for row in ledger.alarms("", "9")]
    assert kept == [("machine", "raised", 1), ("machine", "acknowledged", 1000 + ALARMS_A_DAY + 9)]
    say(history, alarm(3000, "cleared", **since))
    clock.now += 500 * DAY
    for _ in range(2):
        history.flush(all_of_it=True)
    assert everything(ledger) == []


def test_of_too_many_alarms_the_newest_stay(history, ledger, monkeypatch):
    monkeypatch.setattr("fedtiny.ledger.history.ALARMS", 10)
    for number in range(25):
        say(history, alarm(number, device=f"invented-{number}"))
    history.flush(all_of_it=True)
    assert [row.number for row in ledger.alarms("", "9")] == list(range(15, 25))
    assert ledger.lost_alarms("2027-01-15", "2027-01-16") == {"": 15}


def test_extreme_numbers_stay_numbers(history, ledger):
    for mean in (1.7e308, -1.7e308, 1.7e308):
        for _ in range(3):
            say(history, score(count=2**53, over=2**53, mean=mean, max=mean, largest=mean, level=mean, threshold=mean))
        history.flush(all_of_it=True)
    (row,) = ledger.scores(["pump"], 0, NOON * 2)["pump"]
    assert row.windows == row.over == 9_000_000
    assert abs(row.mean) <= 1e30


def test_what_is_too_old_goes_in_steps(history, ledger, clock):
    say(history, alarm())
    for device in range(2_500):
        say(history, score(f"d{device}"))
    history.flush(all_of_it=True)
    clock.now += 36 * DAY
    kept = []
    for _ in range(3):
        history.flush(all_of_it=True)
        kept.append(len(everything(ledger, "scores")))
    assert kept == [500, 0, 0]
    assert len(everything(ledger)) == 1
    clock.now += 365 * DAY
    history.flush(all_of_it=True)
    assert everything(ledger) == []


def test_what_a_whole_fleet_has_spooled_is_kept_however_much_comes_at_once(history, ledger, clock, monkeypatch):
    monkeypatch.setattr("fedtiny.history.GATHERED", 100)
    fleet, slots = [f"d{number}" for number in range(30)], 12
    with ledger.transaction():  # as the coordinator takes a batch
        for slot in range(slots):
            for device in fleet:
                say(history, score(device, at_utc=_utc(NOON - slot * SCORES_S)), late=True)
                history.take_status(DeviceStatus(device=device + f"-{slot}", state="online", peak_rss_mb=60.0))
    say(history, score("another"))
    history.flush(all_of_it=True)
    assert len(everything(ledger, "scores")) == len(fleet) * slots + 1
    assert sum(row[2] for row in everything(ledger, "scores")) == 10 * (len(fleet) * slots + 1)
    assert len(everything(ledger, "resources")) == len(fleet) * slots


def test_a_device_that_asks_for_more_times_than_there_are_is_refused_and_nobody_else(
    history, ledger, clock, monkeypatch
):
    monkeypatch.setattr("fedtiny.history.LATE", 3)
    for slot in range(3):
        for _ in range(2):  # in a row that is there already there is room
            say(history, score(at_utc=_utc(NOON - slot * SCORES_S)), late=True)
    with pytest.raises(RefusedError, match="pump has summaries of more times than there are in 35 days") as refused:
        say(history, score(at_utc=_utc(NOON - 3 * SCORES_S)), late=True)
    assert refused.value.kind == "flood"
    say(history, score())
    say(history, score("other", at_utc=_utc(NOON - 3 * SCORES_S)), late=True)
    clock.now += 61
    history.flush()
    say(history, score(at_utc=_utc(NOON - 3 * SCORES_S)), late=True)
    history.flush(all_of_it=True)
    assert [(row.start - NOON) // SCORES_S for row in ledger.scores(["pump"], 0, NOON * 2)["pump"]] == [-3, -2, -1, 0]


def test_resources_are_the_largest_of_the_hour(history, ledger):
    for rss, hot, now in ((60.0, None, ()), (71.5, 55.0, ("under-voltage",)), (65.0, 50.0, ())):
        health = HealthReport(temperature_c=hot, throttled_now=now, cpu_share=0.5)
        history.take_status(DeviceStatus(device="pump", state="online", peak_rss_mb=rss, health=health))
    history.take_status(DeviceStatus(device="pump", state="offline"))
    history.flush(all_of_it=True)
    assert everything(ledger, "resources") == [(NOON, "pump", 71.5, 0.5, 55.0, None, 1)]


def test_a_message_of_another_device_or_none_is_refused(history, ledger):
    with pytest.raises(ProtocolError, match="another device"):
        say(history, alarm(), device="other")
    with pytest.raises(ProtocolError, match="not JSON"):
        history.take(topics.parse("fedtiny/v1/plant/device/pump/score"), b"{")
    assert everything(ledger) == []


def test_a_ledger_without_a_history_gets_one(tmp_path, history, ledger):
    old = tmp_path / "old"
    old.mkdir()
    with closing(sqlite3.connect(old / "ledger.sqlite")) as db:
        for number, step in enumerate(STEPS[:2], 1):
            db.executescript(f"BEGIN; {step} PRAGMA user_version = {number}; COMMIT;")
        db.execute("INSERT INTO devices (device, status) VALUES ('pump', '{}')")
        db.commit()
    with closing(Ledger(old)) as ledger:
        assert [row.device for row in ledger.devices()] == ["pump"]
        say(new := History(ledger, 400, lambda: NOON), score())
        say(new, alarm())
        new.flush(all_of_it=True)
        assert (len(everything(ledger)), len(everything(ledger, "scores"))) == (1, 1)
