"""Memory of the agents beside what is promised."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from fedtiny.report.drawing import RIGHT, ROW, TOP, axes, clipped, figure, label_width, rect, svg_text
from fedtiny.report.html import nothing
from fedtiny.report.numbers import mb, number_text, plain
from fedtiny.report.scale import Scale
from fedtiny.report.values import as_number, word

PROMISE_MB = 75.0


def memory_figure(devices: Sequence[Mapping[str, Any]]) -> str:
    """Bars, the largest on top."""
    rows = [(word(device.get("device")), as_number(device.get("peak_rss_mb"))) for device in devices]
    if not any(math.isfinite(value) for _, value in rows):
        return nothing("Memory of each agent", "no agent reported its memory")
    left, bottom = label_width(name for name, _ in rows), TOP + ROW * len(rows)
    across = Scale.fit([0.0, PROMISE_MB, *(value for _, value in rows)], left, RIGHT, margin=0)
    parts = [axes(across, None, "peak resident memory, MB", "", plain, left, bottom)]
    for i, (name, value) in enumerate(rows):
        y = TOP + ROW * i
        parts.append(svg_text(left - 8, y + 14, clipped(name), "end"))
        width = float(across(value)) - left
        if math.isfinite(value):
            style = "over" if value > PROMISE_MB else "federated"
            parts.append(rect(f"fill {style}", left, y + 4, width, ROW - 8))
        parts.append(svg_text(left + 6, y + 14, number_text(value, 0), "start", "inside" if width > 30 else ""))
    line = across(PROMISE_MB)
    parts.append(f'<path class="promise" d="M{line:.1f} {TOP - 4}V{bottom}"/>')
    parts.append(svg_text(line + 4, TOP - 9, f"promise: {mb(PROMISE_MB)}", "end"))
    caption = "Shorter is better; a bar past the dashed line breaks the promise."
    return figure("Memory of each agent", parts, caption, "Peak memory of each agent in MB", bottom + 34)
