"""The devices in one table, those that need somebody first, and what their computers do."""

from collections.abc import Mapping, Sequence
from typing import Any

from fedtiny.report.html import grid, paragraph, table
from fedtiny.report.memory import memory_figure
from fedtiny.report.numbers import counted, number_text, percent, percent0, plain, seconds_text
from fedtiny.report.times import when
from fedtiny.report.values import DASH, as_dicts, as_number, word

LISTED = 150
COMPUTERS = 12


def fleet(report: Mapping[str, Any]) -> tuple[str, ...]:
    """The table, and how many are not in it."""
    devices = as_dicts(report, "fleet")
    rows = [
        (
            word(one.get("device")),
            state(one),
            when(one.get("last_seen_utc")),
            _alarms(one),
            _over(one),
            number_text(one.get("share"), 2),
            plain(one.get("revision")) + (f", {one['behind']}" if one.get("behind") else ""),
            _updates(one.get("updates") or {}),
        )
        for one in devices[:LISTED]
    ]
    head = ("Device", "State", "Last heard", "Alarms", "Windows over", "Highest / threshold", "Revision", "Updates")
    more = len(devices) - LISTED
    said = f"Not listed: {counted(more, 'more device')} with less to say than these; fedtiny report --json has all."
    return (table(head, rows, nothing_said="No device was heard."), *([paragraph(said, "note")] if more > 0 else []))


def state(one: Mapping[str, Any]) -> str:
    """How it stands and what it does, in a word or two."""
    standing, heard = one.get("standing"), one.get("state")
    does = str(heard) if heard != "online" else word(one.get("phase"))
    if does == "learning":
        does += f" {percent0(one.get('learned'))}"
    return does if standing == "active" else f"{standing}, {does}"


def _alarms(one: Mapping[str, Any]) -> str:
    standing = one.get("standing_alarms") or ()
    return f"{plain(one.get('alarms'))}{' (stands)' if standing else ''}"


def _over(one: Mapping[str, Any]) -> str:
    windows, over = as_number(one.get("windows")), as_number(one.get("over"))
    if not windows > 0:
        return DASH
    return f"{number_text(over, 0)} of {number_text(windows, 0)} ({percent(over / windows)})"


def _updates(fates: Mapping[str, Any]) -> str:
    return ", ".join(f"{plain(number)} {word(fate)}" for fate, number in fates.items()) or DASH


def computers(report: Mapping[str, Any]) -> tuple[str, ...]:
    """Memory, load and heat of the devices' computers: the largest."""
    devices = [one for one in as_dicts(report, "fleet") if _told(one)]
    largest = sorted(devices, key=lambda one: -max(as_number(one.get("peak_rss_mb")), 0.0))[:COMPUTERS]
    worst = sorted(devices, key=_worst)[:COMPUTERS]
    more = len(devices) - COMPUTERS
    said = f"The {COMPUTERS} largest of each; {counted(more, 'other device')} had less." if more > 0 else ""
    if not devices:
        return (paragraph("No device told of its computer.", "note"),)
    note = [paragraph(said, "note")] if said else []
    return (*note, grid([memory_figure(largest), f"<div><h3>Load and heat</h3>{_load(worst)}</div>"]))


def _told(one: Mapping[str, Any]) -> bool:
    return any(one.get(name) is not None for name in ("peak_rss_mb", "cpu_share", "temperature_c"))


def _worst(one: Mapping[str, Any]) -> tuple[bool, float, str]:
    load = max((value for value in (as_number(one.get("cpu_share")),) if value == value), default=0.0)
    heat = max((value for value in (as_number(one.get("temperature_c")),) if value == value), default=0.0)
    return not one.get("throttled"), -max(heat / 80, load), str(one.get("device"))


def _load(devices: Sequence[Mapping[str, Any]]) -> str:
    rows = [
        (
            word(one.get("device")),
            percent0(one.get("cpu_share")),
            number_text(one.get("temperature_c"), 0, "\u00a0°C") + (", slowed down" if one.get("throttled") else ""),
            seconds_text(one.get("lag_s")),
        )
        for one in devices
    ]
    return table(("Device", "CPU", "Hottest", "Behind its source"), rows)
