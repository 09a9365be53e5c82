"""Labelled machines over their life, and what each gained."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from fedtiny.report.drawing import (
    BOTTOM,
    LEFT,
    RIGHT,
    ROW,
    TOP,
    axes,
    clipped,
    dot,
    figure,
    label_width,
    legend,
    path_data,
    pixel_spans,
    rect,
    svg_text,
)
from fedtiny.report.html import grid, nothing, paragraph
from fedtiny.report.numbers import auc_text, percent0, plain
from fedtiny.report.scale import Scale, envelope
from fedtiny.report.values import DASH, as_array, as_dicts, as_number, dig, word


def lives(run: Mapping[str, Any]) -> tuple[str, ...]:
    """Small multiples: a machine's score over its life, before and after."""
    key = legend(
        ('<path class="line frozen" d="M1 6h22"/>', "score, frozen base"),
        ('<path class="line federated" d="M1 6h22"/>', "score, federated"),
        ('<path class="limit frozen" d="M1 3h22"/><path class="limit federated" d="M1 9h22"/>', "thresholds"),
        ('<rect class="anomalous" width="24" height="12"/>', "true anomaly"),
        ('<path class="alarm" d="M7 1h10l-5 9z"/>', "alarm"),
    )
    how = paragraph(
        "Higher is more anomalous. A good detector stays below its threshold, then crosses it early in the "
        "shaded span or just before. Each machine has its own scale.",
        "note",
    )
    figures = [life(device) for device in as_dicts(run, "devices")]
    return (key, how, grid(figures, "small")) if figures else (paragraph("No machine reported scores.", "note"),)


def life(device: Mapping[str, Any]) -> str:
    """One machine's life."""
    name, share = machine(device), is_share(device)
    x = as_array(device.get("position"))
    scores = {key: as_array(device.get(key), x.size) for key in ("frozen", "federated")}
    labels = as_array(device.get("label"), x.size)
    order = np.argsort(x, kind="stable")[: np.isfinite(x).sum()]
    x, labels = x[order], labels[order]
    limits = {key: as_number(dig(device, "threshold", key)) for key in scores}
    alarm = as_number(device.get("alarm_position"))
    across = Scale.fit([*x, alarm], LEFT, RIGHT, margin=0)
    up = Scale.fit(np.concatenate([*scores.values(), list(limits.values())]), BOTTOM, TOP, log=True)
    parts = [rect("anomalous", a, TOP, b - a, BOTTOM - TOP) for a, b in pixel_spans(across(x), labels == 1)]
    unit, show = ("share of life", percent0) if share else ("window", plain)
    parts.append(axes(across, up, unit, "score", show))
    for key, values in scores.items():
        path = path_data(*envelope(across(x), up(values[order]), RIGHT - LEFT))
        parts.append(f'<path class="line {key}" d="{path}"/>')
    for key, limit in limits.items():
        if math.isfinite(limit):
            parts.append(f'<path class="limit {key}" d="M{LEFT} {up(limit):.1f}H{RIGHT}"/>')
    if math.isfinite(alarm):
        at = across(alarm)
        parts.append(f'<path class="alarm" d="M{at - 5:.1f} {TOP - 9}h10l-5 9z"/>')
        parts.append(f'<path class="alarmline" d="M{at:.1f} {TOP}V{BOTTOM}"/>')
    where = f"alarm at {place(alarm, share)}" if math.isfinite(alarm) else "no alarm"
    before, after = (auc_text(dig(device, "auc", key)) for key in scores)
    gain = "no labelled fault" if before == after == DASH else f"AUC {before} → {after}"
    label = f"Anomaly score of {name} over its life: {where}"
    return figure(name, parts, f"{gain}, {where}", label)


def gains_figure(run: Mapping[str, Any]) -> str:
    """Dumbbells: AUC before and after, largest gain first."""
    rows = gain_by_machine(run)
    left_out = len(as_dicts(run, "devices")) - len(rows)
    if not rows:
        return nothing("AUC before and after", "no machine has labelled faults")
    yardsticks = [as_number(dig(device, "auc", "zscore")) for *_, device in rows]
    ends = [[as_number(dig(device, "auc", key)) for key in ("frozen", "federated")] for *_, device in rows]
    left, bottom = label_width(name for name, *_ in rows), TOP + ROW * len(rows)
    across = Scale.fit([*yardsticks, *(v for pair in ends for v in pair), 1.0], left, RIGHT)
    parts = [axes(across, None, "AUC (1 is perfect)", "", plain, left, bottom)]
    for i, (name, *_) in enumerate(rows):
        y, (a, b), z = TOP + ROW * (i + 0.5), across(ends[i]), across(yardsticks[i])
        worse = " worse" if ends[i][1] < ends[i][0] else ""
        parts.append(svg_text(left - 8, y + 4, clipped(name), "end"))
        parts.append(f'<path class="bar{worse}" d="M{a:.1f} {y}H{b:.1f}"/>')
        if math.isfinite(yardsticks[i]):
            parts.append(f'<path class="tick" d="M{z:.1f} {y - 6}v12"/>')
        parts += [dot("frozen", a, y, 4), dot("federated", b, y, 4.5)]
    key = legend(
        (dot("frozen", 12, 6, 4), "before"),
        (dot("federated", 12, 6, 4.5), "after"),
        ('<path class="bar worse" d="M2 6h20"/>', "lost"),
        ('<path class="tick" d="M12 0v12"/>', "z-score, no model"),
    )
    caption = "Further right is better; the longest gain is on top."
    if left_out:
        caption += f" Not shown: {left_out} without labelled faults."
    label = "AUC of each machine before and after"
    return figure("AUC before and after", parts, caption, label, bottom + 34, key)


def machine(device: Mapping[str, Any]) -> str:
    """Its name."""
    return word(device.get("device"))


def is_share(device: Mapping[str, Any]) -> bool:
    """Whether positions are shares of life (0..1) rather than window numbers."""
    x = as_array(device.get("position"))
    return not np.isfinite(x).any() or float(np.nanmax(x)) <= 1


def place(value: Any, share: bool) -> str:
    """A position in a life: share, or window number."""
    if not share:
        return "window " + plain(value) if math.isfinite(as_number(value)) else DASH
    return percent0(value)


def gain_by_machine(run: Mapping[str, Any]) -> list[tuple[str, float, Mapping[str, Any]]]:
    """(name, AUC after - before, device) of the machines that have both, largest gain first."""
    found = []
    for device in as_dicts(run, "devices"):
        gain = as_number(dig(device, "auc", "federated")) - as_number(dig(device, "auc", "frozen"))
        if math.isfinite(gain):
            found.append((machine(device), gain, device))
    return sorted(found, key=lambda row: (-row[1], row[0]))
