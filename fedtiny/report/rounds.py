"""The rounds: what they gained, cost, and who answered; and the updates that did not count."""

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np

from fedtiny.report.curves import curves
from fedtiny.report.drawing import BOTTOM, LEFT, RIGHT, TOP, axes, figure, legend, rect
from fedtiny.report.html import grid, nothing, paragraph, table
from fedtiny.report.numbers import bytes_text, counted, loss_text, plain, seconds_text
from fedtiny.report.scale import Scale
from fedtiny.report.times import when
from fedtiny.report.values import DASH, as_array, as_dicts, as_number, dig, word

LISTED = 60  # rounds in the table


def rounds(report: Mapping[str, Any]) -> tuple[str, ...]:
    """All of the section."""
    entries = as_dicts(report, "rounds")
    if not entries:
        return (paragraph("No round was opened.", "note"),)
    total = as_number(dig(report, "counts", "rounds"))
    left_out = "" if not total > len(entries) else f" The pictures show the newest {len(entries)} of {plain(total)}."
    listed = "" if len(entries) <= LISTED else f" The newest {LISTED} are listed."
    made = sum(entry.get("revision") is not None for entry in entries)
    said = f"{counted(len(entries), 'round')}, of which {made} made a head.{left_out}{listed}"
    return (
        paragraph(said, "note"),
        grid([loss_figure(entries), bytes_figure(entries)]),
        rounds_table(entries[-LISTED:]),
    )


def refusals(report: Mapping[str, Any]) -> tuple[str, ...]:
    """Updates that were left out or refused, by why."""
    entries = as_dicts(report, "updates")
    rows = [
        (
            plain(entry.get("updates")),
            word(entry.get("fate")),
            word(entry.get("reason")),
            word(entry.get("one")) if entry.get("devices") == 1 else counted(entry.get("devices"), "device"),
            when(entry.get("last_utc")),
        )
        for entry in entries
    ]
    more = as_number(dig(report, "counts", "refusals")) - len(entries)
    note = [paragraph(f"Not listed: {counted(more, 'rarer reason')}.", "note")] if more > 0 else []
    head = ("Updates", "Fate", "Why", "From", "Last")
    return (table(head, rows, nothing_said="Every update counted."), *note)


def loss_figure(entries: Sequence[Mapping[str, Any]]) -> str:
    """Loss before and after each round."""
    lines = {
        "frozen": ("before the round", [entry.get("loss_before") for entry in entries]),
        "federated": ("after the round", [entry.get("loss_after") for entry in entries]),
    }
    caption = "Lower is better; the gap is what the devices' fine-tuning gained on windows kept out of it."
    return curves("Loss by round", "round", round_numbers(entries), lines, caption)


def bytes_figure(entries: Sequence[Mapping[str, Any]]) -> str:
    """Bytes up and down of each round."""
    x = as_array(round_numbers(entries))
    totals = {key: as_array([entry.get(f"bytes_{key}") for entry in entries]) for key in ("up", "down")}
    together = np.concatenate(list(totals.values()))
    if not np.isfinite(together).any():
        return nothing("Bytes by round", "nothing was sent")
    divisor, unit = (1e6, "MB") if np.nanmax(together) >= 1e6 else (1e3, "kB")
    step = (RIGHT - LEFT) / (float(np.ptp(x)) + 1)
    across = Scale.fit(x, LEFT + step / 2, RIGHT - step / 2, margin=0)
    up = Scale.fit([0.0, *together / divisor], BOTTOM, TOP)
    width = min(step * 0.36, 24.0)
    parts = [axes(across, up, "round", f"{unit}, whole fleet", plain, whole=True)]
    for key, offset, style in (("up", -width, "federated"), ("down", 0.0, "frozen")):
        for at, top in zip(across(x), up(totals[key] / divisor), strict=True):
            if math.isfinite(top):
                parts.append(rect(f"fill {style}", at + offset, top, max(width - 1, 0.5), BOTTOM - top))
    key_line = legend(
        ('<rect class="fill federated" width="24" height="12"/>', "up, from the devices"),
        ('<rect class="fill frozen" width="24" height="12"/>', "down, to the devices"),
    )
    caption = "Shorter is cheaper; the sum over all devices that took part."
    return figure("Bytes by round", parts, caption, "Bytes up and down in each round", key=key_line)


def round_numbers(entries: Sequence[Mapping[str, Any]]) -> list[float]:
    """The x of both pictures."""
    numbers = [as_number(entry.get("round")) for entry in entries]
    return [n if math.isfinite(n) else i + 1.0 for i, n in enumerate(numbers)]


def rounds_table(entries: Sequence[Mapping[str, Any]]) -> str:
    """A row a round, newest first."""
    rows = [
        (
            plain(entry.get("round")),
            when(entry.get("opened_utc")),
            f"{plain(entry.get('answered'))} of {plain(entry.get('devices'))}{_who(entry)}",
            word(entry.get("outcome")) if entry.get("closed_utc") else "open",
            loss_text(entry.get("loss_before")),
            loss_text(entry.get("loss_after")),
            bytes_text(entry.get("bytes_up")),
            bytes_text(entry.get("bytes_down")),
            _time(entry),
        )
        for entry in reversed(entries)
    ]
    head = ("Round", "Opened", "Who answered", "Outcome", "Loss before", "Loss after", "Up", "Down", "Time")
    return table(head, rows)


def _who(entry: Mapping[str, Any]) -> str:
    """Names, as far as they are few."""
    here, missing = entry.get("participants") or [], entry.get("missing") or []
    answered, asked = as_number(entry.get("answered")), as_number(entry.get("devices"))
    if not here:
        return ""
    if answered >= asked:
        return ": all"
    if missing and len(missing) == asked - answered and len(missing) < answered:
        return ": all but " + ", ".join(map(word, missing))
    more = answered - len(here)
    return ": " + ", ".join(map(word, here)) + (f" and {plain(more)} more" if more > 0 else "")


def _time(entry: Mapping[str, Any]) -> str:
    """Measured, where somebody did; else between the ledger's whole seconds."""
    if entry.get("seconds") is not None:
        return seconds_text(entry["seconds"])
    try:
        took = datetime.fromisoformat(entry["closed_utc"]) - datetime.fromisoformat(entry["opened_utc"])
    except (KeyError, TypeError, ValueError):
        return DASH
    return seconds_text(took.total_seconds()) if took.total_seconds() >= 1 else "under 1\u00a0s"
