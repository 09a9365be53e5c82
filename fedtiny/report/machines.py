"""Each machine's score over time, with its threshold and where alarms stood."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from fedtiny.ledger.history import SCORES_S
from fedtiny.report.alarms import bands
from fedtiny.report.drawing import BOTTOM, LEFT, RIGHT, TOP, axes, dot, figure, legend, path_data, rect
from fedtiny.report.html import grid, paragraph
from fedtiny.report.numbers import counted, number_text, short
from fedtiny.report.scale import Scale, envelope
from fedtiny.report.times import parsed, tick_text, ticks
from fedtiny.report.values import Array, as_array, as_dicts, as_number, dig, word

WIDE = 5.0  # times the smallest score: beyond it the axis is logarithmic
FEW = 40  # scores, which are marked one by one
GAP = 4.0  # usual steps between two scores; beyond it there were none


def machines(report: Mapping[str, Any]) -> tuple[str, ...]:
    """A picture a machine, as many as were gathered, and how many there are besides."""
    shown = as_dicts(report, "machines")
    more = as_number(dig(report, "counts", "scored")) - len(shown)
    said = "Higher is more anomalous; 1 is the machine's own threshold, whatever it was at the time."
    if more > 0:
        said += f" Not drawn: {counted(more, 'machine')} with less to say; name one with --device to see it."
    if not shown:
        return (paragraph("No scores came in this span.", "note"),)
    key = legend(
        ('<path class="line federated" d="M1 6h22"/>', "highest score of 5 minutes"),
        ('<path class="line frozen" d="M1 6h22"/>', "mean score"),
        ('<path class="limit federated" d="M1 6h22"/>', "threshold"),
        ('<rect class="anomalous" width="24" height="12"/>', "an alarm stood"),
        ('<path class="alarm" d="M7 1h10l-5 9z"/>', "raised"),
    )
    return (paragraph(said, "note"), key, grid([_machine(report, one) for one in shown], "small"))


def _machine(report: Mapping[str, Any], one: Mapping[str, Any]) -> str:
    name = word(one.get("device"))
    start, end = (parsed(report.get(key)) for key in ("since_utc", "until_utc"))
    x = as_array(one.get("start")) + SCORES_S / 2
    left = start.timestamp() if start else float(x[0])
    right = end.timestamp() if end else float(x[-1])
    if x.size and x[0] - left > 0.9 * (right - left):  # all of it in the last tenth: closer
        left = float(x[0]) - SCORES_S
    across = Scale(left, right, LEFT, RIGHT)
    largest, mean = as_array(one.get("largest"), x.size), as_array(one.get("mean"), x.size)
    seen = np.concatenate([largest, mean, [1.0]])
    seen = seen[np.isfinite(seen)]
    up = Scale.fit(seen, BOTTOM, TOP, log=bool(seen.min() > 0 and seen.max() > WIDE * seen.min()))
    raised = [alarm for alarm in as_dicts(report, "alarms") if word(alarm.get("device")) == name]
    parts = [_stood(across, alarm, right) for alarm in raised]
    parts.append(axes(across, up, "UTC", "score / threshold", tick_text(left, right), ticks=ticks(left, right)))
    for style, values in (("frozen", mean), ("federated", largest)):
        data = path_data(*envelope(*_with_gaps(across(x), up(values)), RIGHT - LEFT))
        parts.append(f'<path class="line {style}" d="{data}"/>')
        if x.size <= FEW:
            dots = zip(across(x), up(values), strict=True)
            parts += [dot(f"fill {style}", a, b, 2.5) for a, b in dots if np.isfinite(b)]
    parts.append(f'<path class="limit federated" d="M{LEFT} {float(up(1.0)):.1f}H{RIGHT}"/>')
    parts += [_raised(across, alarm) for alarm in raised]
    highest = np.nanmax(largest) if np.isfinite(largest).any() else np.nan
    words = [f"highest {number_text(highest, 2)} × threshold ({short(one.get('threshold'))})"]
    words.append(counted(len(raised), "alarm") if raised else "no alarm")
    if stood_out := next((alarm["bands"] for alarm in raised if alarm.get("bands")), None):
        words.append(f"stood out: {bands(stood_out)}")
    label = f"Score of {name} over time: highest {number_text(highest, 2)} times its threshold, {words[1]}"
    return figure(name, parts, "; ".join(words), label)


def _stood(across: Scale, alarm: Mapping[str, Any], until: float) -> str:
    start = parsed(alarm.get("since_utc") or alarm.get("device_utc"))
    end = parsed(alarm.get("cleared_utc"))
    first = across(start.timestamp() if start else across.low)
    last = across(end.timestamp() if end else until)
    return rect("anomalous", first, TOP, max(last - first, 1.0), BOTTOM - TOP)


def _raised(across: Scale, alarm: Mapping[str, Any]) -> str:
    at = parsed(alarm.get("since_utc"))
    if at is None or not across.low <= at.timestamp() <= across.high:
        return ""
    x = float(across(at.timestamp()))
    return f'<path class="alarm" d="M{x - 5:.1f} {TOP - 9}h10l-5 9z"/>'


def _with_gaps(x: Array, y: Array) -> tuple[Array, Array]:
    """The curve with a gap wherever much more than the usual step lies between two points."""
    if x.size < 3:
        return x, y
    steps = np.diff(x)
    gaps = np.flatnonzero(steps > GAP * np.median(steps))
    return np.insert(x, gaps + 1, x[gaps]), np.insert(y, gaps + 1, np.nan)
