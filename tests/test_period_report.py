"""The report of a span of time: what a ledger tells, in the order in which somebody needs it, bounded."""

import json
import re
import sys
import time
from contextlib import closing
from datetime import UTC, datetime

import pytest
from click.testing import CliRunner
from made_fleet import DAY, HOUR, NOON, Fleet, iso
from page_parser import Page

from fedtiny.cli import main
from fedtiny.ledger import Ledger, ScoreRow
from fedtiny.ledger.history import ALARMS_A_DAY
from fedtiny.report import Span, gather, render_report

NOW = datetime.fromtimestamp(NOON, UTC)


@pytest.fixture
def ledger(tmp_path):
    with closing(Ledger(tmp_path / "state")) as ledger:
        yield ledger


@pytest.fixture
def fleet(ledger):
    fleet = Fleet(ledger)
    fleet.publish()
    return fleet


def facts(ledger, since="24h", until=None, devices=()):
    return gather(ledger, Span.parse(since, until, NOW), NOW, devices)


def page(*arguments, **how):
    return Page(render_report(facts(*arguments, **how)))


def test_an_empty_ledger_says_so(ledger):
    text = page(ledger).text
    assert "Nothing was heard in this span. The ledger knows no device yet." in text
    assert "No release was published yet." in text


def test_a_span_without_data_says_when_the_last_word_was(ledger, fleet):
    fleet.status("pump", ago=2 * DAY)
    said = "Nothing was heard in this span. The newest word of a device is of 13 Jan 12:00."
    assert said in page(ledger, since="9d", until="5d").text


def test_a_fleet_that_is_dead_is_not_well(ledger, fleet):
    fleet.scores(["pump", "fan"])
    fleet.status("pump", ago=2 * DAY)
    fleet.status("fan", ago=2 * DAY + 60)
    assert {one["state"] for one in facts(ledger)["fleet"]} == {"silent"}
    text = page(ledger).text
    said = (
        "These need attention. No device was heard since 13 Jan 12:00, 2 d: is the coordinator there, and the broker?"
    )
    assert said in text
    assert "offline or silent" not in text
    assert "No device was heard since 13 Jan 12:00, 1 d:" in page(ledger, since="3d", until="1d").text


def test_a_last_word_of_a_day_to_come_makes_only_its_own_device_silent(ledger, fleet):
    fleet.scores(["pump", "fan"])
    fleet.status("pump")
    fleet.status("fan", ago=-13 * 365 * DAY)
    text = page(ledger).text
    assert "1 device offline or silent: fan." in text
    assert "fan silent – 0" in text


def test_what_was_not_kept_is_said(ledger, fleet):
    fleet.status("pump")
    with ledger.transaction():
        for number in range(ALARMS_A_DAY + 50):
            state = "cleared" if number % 2 else "raised"
            fleet.alarm("pump", number, state, ago=HOUR - number, raised=HOUR - number // 2 * 2, kind="sensor")
    text = page(ledger).text
    assert "pump 50 alarm messages of this device were not kept: too many in a day." in text
    assert "Not kept: 50 messages of alarms that were too many." in text
    assert facts(ledger)["fleet"][0]["alarms_lost"] == 50


def test_a_report_on_the_past_keeps_the_present_out_of_its_verdict(ledger, fleet):
    fleet.scores(["calm", "gone", "bad", "lost"], since=5 * DAY)
    fleet.round(1, ["calm"], ago=4 * HOUR)
    fleet.status("calm", "bad", revision=1)
    fleet.status("lost", revision=0)
    fleet.status("gone", revision=1, state="offline", ago=3 * HOUR)
    ledger.set_standing("bad", "quarantined", "3 updates were refused")
    now, past = page(ledger).text, page(ledger, since="3d", until="2d").text
    assert "gone since 15 Jan 09:00" in now
    assert "not of the span" not in now
    assert "Nothing needs attention. 4 machines of 4 were scored" in past
    assert past.count("as of 15 Jan 2027 12:00, not of the span.") == 3


def test_of_many_alarms_those_that_nobody_has_seen_and_the_newest_are_listed(ledger, fleet, monkeypatch):
    monkeypatch.setattr(sys.modules["fedtiny.report.gather"], "ALARMS", 4)
    for number in range(6):
        raised = (20 - 2 * number) * HOUR
        fleet.alarm("pump", 3 * number, "raised", ago=raised)
        if number in (1, 4):
            fleet.alarm("pump", 3 * number + 1, "acknowledged", ago=raised - 60, raised=raised)
        fleet.alarm("pump", 3 * number + 2, "cleared", ago=raised - HOUR, raised=raised)
    fleet.alarm("fan", 1, "raised", ago=HOUR)
    told = facts(ledger)
    assert [one["since_utc"][11:13] for one in told["alarms"]] == ["11", "20", "22", "02"]
    assert (told["counts"]["alarms"], told["fleet"][0]["device"]) == (7, "fan")
    assert [one["device"] for one in facts(ledger, devices=["fan"])["alarms"]] == ["fan"]


def test_a_fleet_that_is_well_says_so(ledger, fleet):
    fleet.scores(["pump", "fan"])
    fleet.round(1, ["pump", "fan"], ago=5 * HOUR)
    fleet.status("pump", "fan", revision=1)
    text = page(ledger).text
    assert "Nothing needs attention. 2 machines of 2 were scored; no alarm was raised." in text
    assert "1 round, of which 1 made a head." in text
    assert "2 of 2: all" in text
    assert "litert 2.3.0 2 of 2 devices" in text


def test_what_needs_somebody_comes_first_and_says_why(ledger, fleet):
    names = ["calm", "gone", "mute", "lost", "bad", "sick", "weak"]
    fleet.scores(names)
    fleet.scores(["sick"], share=3.25, since=2 * HOUR, step=7)
    fleet.alarm("sick", 1, "raised", ago=2 * HOUR)
    fleet.round(1, names, ago=5 * HOUR)
    fleet.round(2, names[:3], ago=4 * HOUR, outcome="no quorum")
    fleet.status("calm", "bad", "sick", "weak", revision=1)
    fleet.status("lost", revision=0)
    fleet.status("gone", revision=1, state="offline", ago=3 * HOUR)
    fleet.status("mute", revision=1, ago=2 * HOUR)
    ledger.set_standing("bad", "quarantined", "3 updates were refused")
    ledger.execute("UPDATE resources SET throttled = 1 WHERE device = 'weak'")
    told = facts(ledger)
    assert [one["device"] for one in told["fleet"]][:2] == ["sick", "bad"]
    assert told["fleet"][-1]["device"] == "calm"
    text = Page(render_report(told)).text
    for words in (
        "sick machine alarm since 15 Jan 10:00, 2 h so far, not acknowledged: 3 of the last 5 windows; "
        "score 1.3 × threshold; stood out: vertical 1180–1503 Hz, order 47.2–60.1: 41 %.",
        "2 devices offline or silent: gone, mute.",
        "bad quarantined: 3 updates were refused; its updates do not count.",
        "1 device not at the newest head: lost 1 revision behind.",
        "1 computer slowed down: weak.",
        "The last round made no head: no quorum.",
        "3 of 7: calm, gone, mute",
        "3 abandoned no quorum 3 devices",
    ):
        assert words in text, words


def test_alarms_have_a_beginning_an_end_and_somebody_who_has_seen_them(ledger, fleet):
    fleet.alarm("old", 1, "raised", ago=3 * DAY)
    fleet.alarm("over", 1, "raised", ago=2 * DAY)
    fleet.alarm("over", 2, "cleared", ago=2 * DAY - HOUR, raised=2 * DAY)
    fleet.alarm("seen", 1, "raised", ago=5 * HOUR)
    fleet.alarm("seen", 2, "acknowledged", ago=4 * HOUR, raised=5 * HOUR)
    fleet.alarm("seen", 3, "cleared", ago=2 * HOUR, raised=5 * HOUR)
    fleet.alarm("wrong", 1, "raised", ago=3 * HOUR, clock=-1000 * DAY)
    fleet.alarm("held", 9, "held", ago=2 * HOUR, raised=9 * HOUR)
    fleet.alarm("anew", 1, "raised", ago=4 * HOUR)
    fleet.alarm("anew", 1, "raised", ago=1 * HOUR, epoch="f", kind="sensor")
    told = {(one["device"], one["kind"]): one for one in facts(ledger)["alarms"]}
    assert len(told) == 6 == len(facts(ledger)["alarms"])
    assert {device for (device, _), one in told.items() if one["stands"]} == {"old", "wrong", "held", "anew"}
    assert told["anew", "machine"]["ended"] == "the device began anew"
    assert told["seen", "machine"]["acknowledged_utc"] == iso(NOON - 4 * HOUR)
    text = page(ledger).text
    assert "old machine 12 Jan 12:00 3 d so far stands, not acknowledged" in text
    assert "seen machine 15 Jan 07:00 3 h cleared 15 Jan 10:00, acknowledged 15 Jan 08:00" in text
    assert "wrong machine 15 Jan 09:00 (device's clock: 20 Apr 09:00) 3 h so far" in text
    assert "held machine 15 Jan 03:00 (device's clock) 9 h so far" in text
    assert page(ledger, until="1h").text.count("so far stands") == 4  # before it began anew


def test_a_thousand_devices_give_a_page_that_can_be_read(ledger, fleet):
    names = [f"pump-{number:04d}" for number in range(1000)]
    fleet.scores(names)
    for number in range(0, 1000, 4):
        fleet.alarm(names[number], 1, "raised", ago=3 * HOUR)
    fleet.round(1, names[1:], ago=5 * HOUR)
    fleet.status(*names, revision=1)
    began = time.process_time()
    told = facts(ledger)
    html = render_report(told)
    assert time.process_time() - began < 10
    assert len(html) < 600_000
    assert len(json.dumps(told)) < 2_000_000
    text = Page(html).text
    assert "pump-0000 machine alarm since" in text
    assert "240 more alarms: pump-0040, pump-0044," in text
    assert "Not listed: 50 more alarms" in text
    assert "Not listed: 850 more devices" in text
    assert "Not drawn: 976 machines" in text
    assert "999 of 1000: all but pump-0000" in text
    assert html.count("<figure>") == 24 + 3
    assert [one["device"] for one in facts(ledger, devices=["pump-0777"])["fleet"]] == ["pump-0777"]


@pytest.mark.parametrize("word", ["<script>alert(1)</script>", '"><img src=x onerror=1>', "</style><b>a & b"])
def test_hostile_words_stay_words(ledger, fleet, word):
    fleet.scores(["pump"])
    bands = ({"channel": word, "share": 0.5},)
    fleet.alarm("pump", 1, "raised", ago=HOUR, reason=word, bands=bands, at_utc=word, raised_utc=word, point=word)
    fleet.round(1, ["pump"], ago=HOUR, outcome=word)
    fleet.status("pump", interpreter=word, source=word)
    ledger.set_standing("pump", "blocked", word)
    ledger.refuse(fleet.update("pump", 1, 7, HOUR), word)
    ledger.give_order(word, iso(NOON - HOUR))
    html = render_report(facts(ledger) | {"title": word})
    assert Page(html).text.count(word) >= 6
    assert word not in html


def test_words_that_would_turn_the_page_around_are_marked(ledger, fleet):
    fleet.alarm("pump", 1, "raised", ago=HOUR, reason="a\u202eb\x1bc\nd")
    fleet.status("pump", interpreter="litert\u2066")
    text = page(ledger).text
    assert "a\ufffdb\ufffdc\ufffdd" in text
    assert "litert\ufffd" in text


def test_numbers_beyond_all_sense_stay_short_and_out_of_json(ledger, fleet):
    huge = {"low_hz": 1e300, "high_hz": 1e300, "low_order": 1e300, "high_order": 1e300}
    fleet.alarm("pump", 1, "raised", ago=HOUR, threshold=5e-324, bands=({"channel": "x", "share": 1.0, **huge},))
    ledger.add_scores([ScoreRow(NOON - HOUR, "pump", 300, 0, 3.0, 4.0, 1e30, 5e-324, 2.0)])
    fleet.status("pump")
    told = facts(ledger)
    json.dumps(told, allow_nan=False)
    assert told["machines"][0]["mean"] == [None]
    assert not re.search(r"\d[\d,]{20}", page(ledger).text)


def test_scores_that_stopped_for_a_while_leave_a_gap(ledger, fleet):
    fleet.scores(["pump"], since=20 * HOUR, step=300)
    ledger.execute("DELETE FROM scores WHERE start BETWEEN ? AND ?", NOON - 12 * HOUR, NOON - 8 * HOUR)
    (_, curve) = page(ledger).paths("line federated")
    assert curve.count("M") == 2


@pytest.mark.parametrize(
    ("since", "until", "start", "end"),
    [
        ("24h", None, NOON - DAY, NOON),
        ("7d", "1d", NOON - 7 * DAY, NOON - DAY),
        ("90m", None, NOON - 5400, NOON),
        ("2027-01-14", "2027-01-15T06:00Z", NOON - 36 * HOUR, NOON - 6 * HOUR),
        ("2027-01-15T06:00+02:00", None, NOON - 8 * HOUR, NOON),
    ],
)
def test_spans_are_written_as_people_write_them(since, until, start, end):
    assert Span.parse(since, until, NOW).seconds == (start, end)


def run(*arguments):
    return CliRunner().invoke(main, ["report", *map(str, arguments)])


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--since", "a week"], 2, "--since 'a week': expected 24h, 7d, 2026-11-01 or 2026-11-01T06:00Z"),
        (["--until", "999999d"], 2, "--until '999999d': expected 24h, 7d"),
        (["--since", "2026-11-02", "--until", "2026-11-01"], 2, "expected a time before 2026-11-01T00:00:00+00:00"),
        (["--state", "nowhere"], 1, "nowhere: no ledger here"),
        (["--device", "fan"], 1, "device 'fan': unknown; the ledger has pump"),
        (["--out", "state"], 1, "state: cannot be written"),
    ],
)
def test_mistakes_are_one_clear_line(fleet, arguments, code, words):
    fleet.status("pump")
    found = run("--state", "state", *arguments)
    assert (found.exit_code, words in found.output) == (code, True), found.output
    assert "Traceback" not in found.output


def test_the_command_writes_page_and_facts_while_the_coordinator_writes(fleet, ledger, tmp_path):
    fleet.status("pump")
    with ledger.transaction():
        ledger.set_setting("busy", "1")
        found = run("--state", "state", "--out", "out/page.html", "--json", "out/facts.json")
    assert found.output == "out/page.html: 1 device, 0 alarms, 0 rounds\n"
    assert Page((tmp_path / "out" / "page.html").read_text()).text.startswith("Fleet report")
    assert json.loads((tmp_path / "out" / "facts.json").read_text())["fleet"][0]["device"] == "pump"
