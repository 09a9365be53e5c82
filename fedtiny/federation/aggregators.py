"""Updates -> a new head. Sums are integers on one scale: exact, whatever the order and however they are split.

A float sum depends on its order; an int64 sum of numbers rounded once does not. Whole parts and fractions, these in
steps of 2^-40, are summed apart: a rounding of 5e-13 beside whole parts of up to 2^50, which 8,000 addends cannot
overflow.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedtiny.errors import ProtocolError
from fedtiny.model.head import Statistics, solve

Array = NDArray[np.float32]
FRACTION = float(1 << 40)
LIMIT = float(1 << 50)


def _exact(values: NDArray[np.floating[Any]]) -> NDArray[np.int64]:
    """Whole parts and fractions of ``values``, stacked in front: (2, ...)."""
    if not np.isfinite(values).all() or np.abs(values).max() > LIMIT:
        raise ProtocolError(f"update: a weighted number that is not finite or beyond {LIMIT:g}")
    fractions, whole = np.modf(values.astype(np.float64))
    return np.stack([whole, np.rint(fractions * FRACTION)]).astype(np.int64)


def _value(total: NDArray[np.int64]) -> NDArray[np.float64]:
    return total[0] + total[1] / FRACTION


def weighted_mean(updates: Iterable[tuple[Array, int]]) -> Array:
    """FedAvg (McMahan et al., AISTATS 2017): mean of deltas, weighted by num_examples; float32."""
    total, weight = None, 0
    for delta, count in updates:
        if count <= 0:
            raise ValueError(f"weight {count}, expected a positive number of examples")
        addend = _exact(delta.astype(np.float64) * count)
        total = addend if total is None else total + addend
        weight += count
    if total is None:
        raise ValueError("no updates to aggregate")
    return (_value(total) / weight).astype(np.float32)


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
    return solve(Statistics(_value(gram), _value(cross), count), anchor, pull)
