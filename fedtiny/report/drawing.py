"""Pictures as inline SVG, from their smallest parts to a figure with its caption.

All are drawn 360 units wide, about the width of a phone, so that their text is readable there; wider screens show
several side by side.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fedtiny.report.html import text
from fedtiny.report.numbers import short
from fedtiny.report.scale import Scale
from fedtiny.report.values import Array

WIDTH, HEIGHT = 360, 200
LEFT, RIGHT, TOP, BOTTOM = 44, 344, 24, 166  # the plot's edges inside a picture
ROW = 20  # height of a machine's row in a picture with a row a machine


def path_data(x: Array, y: Array) -> str:
    """Path data through the points, interrupted where y is not finite; a lone point becomes a dot."""
    steps, pen = [], "M"
    for a, b in zip(x.tolist(), y.tolist(), strict=True):
        if math.isfinite(b):
            steps.append(f"{pen}{a:.1f} {b:.1f}" + ("h0" if pen == "M" else ""))
            pen = "L"
        else:
            pen = "M"
    return "".join(steps)


def pixel_spans(x: Array, inside: npt.NDArray[np.bool_]) -> list[tuple[float, float]]:
    """Pixel ranges where ``inside`` holds, half-way to the neighbours; those closer than a pixel merge."""
    if not x.size:
        return []
    edges = np.concatenate([x[:1], (x[1:] + x[:-1]) / 2, x[-1:]])
    turns = np.flatnonzero(np.diff(np.concatenate([[False], inside, [False]]).astype(np.int8)))
    spans: list[tuple[float, float]] = []
    for first, last in turns.reshape(-1, 2):
        start, end = float(edges[first]), max(float(edges[last]), float(edges[first]) + 1)
        if spans and start - spans[-1][1] < 1:
            start = spans.pop()[0]
        spans.append((start, end))
    return spans


def axes(
    across: Scale,
    up: Scale | None,
    x_title: str,
    y_title: str,
    show: Any,
    left: float = LEFT,
    bottom: float = BOTTOM,
    *,
    ticks: Sequence[float] | None = None,
    whole: bool = False,
) -> str:
    """Grid lines, tick labels and the axes' titles. up: None where the caller labels rows. ticks: of x."""
    parts = []
    for tick in across.ticks(whole=whole) if ticks is None else ticks:
        at = across(tick)
        if up is None:
            parts.append(f'<path class="grid-line" d="M{at:.1f} {TOP}V{bottom}"/>')
        parts.append(svg_text(at, bottom + 15, show(tick)))
    for tick in up.ticks(4) if up else []:
        at = up(tick) if up else 0.0
        parts.append(f'<path class="grid-line" d="M{left} {at:.1f}H{RIGHT}"/>')
        parts.append(svg_text(left - 6, at + 4, short(tick), "end"))
    parts.append(f'<path class="axis" d="M{left} {bottom}H{RIGHT}"/>')
    parts.append(svg_text((left + RIGHT) / 2, bottom + 30, x_title, "middle", "title"))
    if up:
        parts.append(svg_text(4, 12, y_title + (" (log)" if up.log else ""), "start", "title"))
    return "".join(parts)


def svg_text(x: float, y: float, words: str, anchor: str = "middle", style: str = "") -> str:
    """Words at a place."""
    styled = f' class="{style}"' if style else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{styled}>{text(words)}</text>'


def dot(style: str, x: float, y: float, radius: float) -> str:
    """A circle."""
    return f'<circle class="dot {style}" cx="{x:.1f}" cy="{y:.1f}" r="{radius}"/>'


def rect(style: str, x: float, y: float, width: float, height: float) -> str:
    """A rectangle."""
    return f'<rect class="{style}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"/>'


def figure(title: str, parts: Sequence[str], caption: str, label: str, height: float = HEIGHT, key: str = "") -> str:
    """A picture with its heading, key, and caption; ``label`` is what a screen reader says of it."""
    return (
        f"<figure><h3>{text(title)}</h3>{key}"
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{text(label)}">'
        f"<title>{text(label)}</title>{''.join(parts)}</svg><figcaption>{text(caption)}</figcaption></figure>"
    )


def legend(*entries: tuple[str, str]) -> str:
    """Entries of (SVG drawing 24 x 12, name)."""
    return (
        '<p class="legend">'
        + " ".join(
            f'<span><svg viewBox="0 0 24 12" aria-hidden="true">{drawing}</svg>{text(name)}</span>'
            for drawing, name in entries
        )
        + "</p>"
    )


def label_width(names: Iterable[str]) -> float:
    """Room for the names of rows, left of a picture."""
    return 16 + 6.2 * max(len(clipped(name)) for name in names)


def clipped(name: str) -> str:
    """A name for a picture's margin: its two ends where it is long."""
    return name if len(name) <= 16 else f"{name[:7]}…{name[-8:]}"
