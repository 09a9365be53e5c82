"""The alarms: since when, how long, seen by whom, why, and which bands stood out."""

from collections.abc import Mapping, Sequence
from typing import Any

from fedtiny.report.html import paragraph, table
from fedtiny.report.numbers import counted, number_text, percent0, plain, short
from fedtiny.report.times import between, when
from fedtiny.report.values import DASH, as_dicts, as_number, dig, word


def alarms(report: Mapping[str, Any]) -> tuple[str, ...]:
    """All of the section."""
    entries = as_dicts(report, "alarms")
    until = report.get("until_utc")
    rows = [
        (
            word(one.get("device")),
            word(one.get("kind")),
            began(one),
            lasted(one, until),
            _fate(one),
            times_threshold(one),
            word(one.get("reason")),
            bands(one.get("bands") or ()),
        )
        for one in entries
    ]
    more = as_number(dig(report, "counts", "alarms")) - len(entries)
    notes = [f"Not listed: {counted(more, 'more alarm')}; the devices' table counts all."] if more > 0 else []
    if lost := as_number(dig(report, "counts", "alarms_lost")) + sum(
        one.get("alarms_lost") or 0 for one in as_dicts(report, "fleet")
    ):
        notes.append(f"Not kept: {counted(lost, 'message')} of alarms that were too many.")
    head = ("Device", "Alarm", "Since", "Lasted", "State", "Score", "Why", "Bands that stood out")
    found = table(head, rows, nothing_said="No alarm stood or was raised.")
    return (found, *(paragraph(said, "note") for said in notes))


def began(one: Mapping[str, Any]) -> str:
    """When it was raised by our clock, and by the device's where that says something else."""
    ours, theirs = one.get("since_utc"), one.get("device_utc")
    if ours is None:
        return f"{when(theirs)} (device's clock)"
    return f"{when(ours)} (device's clock: {when(theirs)})" if one.get("late") else when(ours)


def lasted(one: Mapping[str, Any], until: Any) -> str:
    """From its beginning to its end, or until now."""
    start = one.get("since_utc") or one.get("device_utc")
    took = between(start, one.get("cleared_utc") or until)
    return f"{took} so far" if one.get("stands") and took != DASH else took


def _fate(one: Mapping[str, Any]) -> str:
    seen = f"acknowledged {when(one['acknowledged_utc'])}" if one.get("acknowledged_utc") else "not acknowledged"
    if one.get("stands"):
        return f"stands, {seen}"
    ended = f"over: {one['ended']}" if one.get("ended") else f"cleared {when(one.get('cleared_utc'))}"
    return f"{ended}, {seen}"


def times_threshold(one: Mapping[str, Any]) -> str:
    """The highest score that was told with it, beside its threshold."""
    score, threshold = as_number(one.get("score")), as_number(one.get("threshold"))
    return f"{number_text(score / threshold, 1)} × threshold" if threshold > 0 else short(score)


def bands(entries: Sequence[Mapping[str, Any]], most: int = 3) -> str:
    """The bands with the largest shares of the score, in words."""
    return "; ".join(_band(band) for band in entries[:most]) or DASH


def _band(band: Mapping[str, Any]) -> str:
    low, high = as_number(band.get("low_hz")), as_number(band.get("high_hz"))
    where = f" {plain(round(low))}–{plain(round(high))}\u00a0Hz" if low == low and high == high else ""
    order = as_number(band.get("low_order"))
    orders = f", order {number_text(order, 1)}–{number_text(band.get('high_order'), 1)}" if order == order else ""
    return f"{word(band.get('channel'))}{where}{orders}: {percent0(band.get('share'))}"
