"""One round's updates -> the next head, by strategy."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from fedtiny.errors import ProtocolError, ReleaseError
from fedtiny.federation.aggregators import ridge, weighted_mean
from fedtiny.federation.local import LocalUpdate, Strategy
from fedtiny.federation.updates import unpack_delta, unpack_statistics
from fedtiny.model.head import Head

WIDEST = 4.0  # by which a round may widen the output range: one wild update must not blind all devices


def check_update(
    strategy: Strategy, update: LocalUpdate, head: Head, anchor: NDArray[np.float32], ridge_pull: float
) -> None:
    """Raise ProtocolError when ``update`` alone would not make a head; arguments as of ``aggregate``."""
    try:
        aggregate(strategy, [update], head, anchor, ridge_pull)
    except (ReleaseError, np.linalg.LinAlgError) as error:
        raise ProtocolError(f"update: makes no head: {error}") from None


def aggregate(
    strategy: Strategy,
    updates: Iterable[LocalUpdate],
    head: Head,
    anchor: NDArray[np.float32],
    ridge_pull: float,
) -> Head:
    """The new head from ``updates`` to ``head``; its output range covers what every device reconstructs.

    anchor: the release's own head, towards which ``ridge`` regularises with weight ``ridge_pull``.
    """
    updates = list(updates)
    shape = head.weights.shape[0], head.weights.shape[1]
    if strategy == "fedavg":
        deltas = ((unpack_delta(u.payload, shape), u.num_examples) for u in updates)
        weights = head.weights + weighted_mean(deltas)
    else:
        parts = (unpack_statistics(u.payload, shape, u.num_examples) for u in updates)
        weights = ridge(parts, anchor, ridge_pull)
    widest = WIDEST * max(-head.output_min, head.output_max)
    low, high = min(u.output_min for u in updates), max(u.output_max for u in updates)
    return Head(weights, max(low, -widest), min(high, widest))
