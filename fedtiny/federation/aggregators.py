"""Updates -> a new head. Sums are integers on one scale: exact, whatever the order and however they are split.

A float sum depends on its order; an int64 sum of numbers rounded once to multiples of ``1 / SCALE`` does not. One
rounding is off by 5e-7 at most, far below float32's resolution of the sums it enters.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedtiny.errors import ProtocolError
from fedtiny.model.head import Statistics, solve

Array = NDArray[np.float32]
SCALE = float(1 << 20)
LIMIT = float(1 << 50)  # of one addend on that scale: 8,000 of them cannot overflow


def _exact(values: NDArray[np.floating[Any]]) -> NDArray[np.int64]:
    scaled = np.rint(values.astype(np.float64) * SCALE)
    if not np.isfinite(scaled).all() or np.abs(scaled).max() > LIMIT:
        raise ProtocolError(f"update: a weighted number beyond {LIMIT / SCALE:g}")
    return scaled.astype(np.int64)


def weighted_mean(updates: Iterable[tuple[Array, int]]) -> Array:
    """FedAvg (McMahan et al., AISTATS 2017): mean of deltas, weighted by num_examples; float32."""
    total, weight = None, 0
    for delta, count in updates:
        if count <= 0:
            raise ValueError(f"weight {count}, expected a positive number of examples")
        addend = _exact(delta * np.float64(count))
        total = addend if total is None else total + addend
        weight += count
    if total is None:
        raise ValueError("no updates to aggregate")
    return (total / SCALE / weight).astype(np.float32)


def ridge(updates: Iterable[Statistics], anchor: Array, pull: float) -> Array:
    """Least squares over all devices' data from the sum of their statistics, pulled towards ``anchor``; float32."""
    gram = cross = None
    count = 0
    for data in updates:
        g, c = _exact(data.gram), _exact(data.cross)
        gram, cross = (g, c) if gram is None or cross is None else (gram + g, cross + c)
        count += data.count
    if gram is None or cross is None:
        raise ValueError("no updates to aggregate")
    return solve(Statistics(gram / SCALE, cross / SCALE, count), anchor, pull)
