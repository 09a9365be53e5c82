"""The values of a run as a page can use them: what is missing, foreign or not finite becomes NaN or nothing."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

DASH = "–"
LARGEST = 1e100  # what is beyond (or, on a log axis, below its inverse) is drawn at the edge


def dig(node: Any, *keys: str) -> Any:
    """What is in nested mappings under ``keys``; None where there is no such thing."""
    for key in keys:
        node = node.get(key) if isinstance(node, Mapping) else None
    return node


def as_dict(node: Any, *keys: str) -> Mapping[str, Any]:
    """The mapping under ``keys``; an empty one where there is none."""
    found = dig(node, *keys)
    return found if isinstance(found, Mapping) else {}


def as_dicts(run: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    """The mappings in the list under ``key``."""
    return [entry for entry in run.get(key) or [] if isinstance(entry, Mapping)]


def as_number(value: Any) -> float:
    """The value as a float; NaN when it is missing, not a number or not finite."""
    if isinstance(value, int | float | np.number) and math.isfinite(value):
        return min(max(float(value), -LARGEST), LARGEST)
    return math.nan


def as_array(values: Any, size: int | None = None) -> Array:
    """(n,) float64; null and non-finite become NaN; cut or padded with NaN to ``size``."""
    data = np.array(values if values is not None else [], dtype=np.float64).ravel()
    data[~np.isfinite(data)] = np.nan
    data = np.clip(data, -LARGEST, LARGEST)
    if size is None:
        return data
    return np.concatenate([data[:size], np.full(max(0, size - data.size), np.nan)])


def finite(node: Any) -> Any:
    """``node`` with nothing (None) in the place of every number that JSON cannot hold."""
    if isinstance(node, Mapping):
        return {key: finite(value) for key, value in node.items()}
    if isinstance(node, list):
        return [finite(value) for value in node]
    return None if isinstance(node, float) and not math.isfinite(node) else node


def word(value: Any) -> str:
    """Any value as text, a dash for none."""
    return DASH if value is None or value == "" else str(value)
