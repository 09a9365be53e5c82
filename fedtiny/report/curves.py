"""Losses over rounds and epochs."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fedtiny.report.drawing import BOTTOM, LEFT, RIGHT, TOP, axes, dot, figure, legend, path_data
from fedtiny.report.html import nothing
from fedtiny.report.numbers import plain
from fedtiny.report.scale import Scale, envelope
from fedtiny.report.values import as_array


def curves(title: str, unit: str, steps: Sequence[float], lines: Mapping[str, tuple[str, Any]], caption: str) -> str:
    """A line or two of losses over whole-numbered steps."""
    x = as_array(steps)
    values = {key: as_array(data, x.size) for key, (_, data) in lines.items()}
    together = np.concatenate(list(values.values()))
    seen = together[np.isfinite(together)]
    if not seen.size:
        return nothing(title, "nothing was recorded")
    log = bool(seen.min() > 0 and seen.max() > 20 * seen.min())
    across = Scale.fit(x, LEFT + 8, RIGHT - 8, margin=0)
    up = Scale.fit(together, BOTTOM, TOP, log=log)
    parts = [axes(across, up, unit, "loss", plain, whole=True)]
    for key, y in values.items():
        parts.append(f'<path class="line {key}" d="{path_data(*envelope(across(x), up(y), RIGHT - LEFT))}"/>')
        if x.size <= 30:
            dots = zip(across(x), up(y), strict=True)
            parts += [dot(key, a, b, 3) for a, b in dots if math.isfinite(b)]
    key_line = legend(*((f'<path class="line {key}" d="M1 6h22"/>', lines[key][0]) for key in lines))
    label = f"{title}, log scale" if log else title
    return figure(title, parts, caption, label, key=key_line)
