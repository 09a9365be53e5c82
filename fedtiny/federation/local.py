"""A device's part in a round: fine-tune the head on local windows and say what changed."""

from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedtiny.federation.updates import pack_delta, pack_statistics
from fedtiny.model.head import LARGEST, loss, output_range, solve, statistics
from fedtiny.protocol.messages import Kind

Array = NDArray[np.float32]
PULLS = (1.0, 10.0, 100.0)  # times the round's: few windows need a stronger hold on the global head


@dataclass(frozen=True)
class LocalUpdate:
    """Payload and figures of one update; losses are mean squared errors on the windows kept out."""

    payload: bytes
    num_examples: int
    output_min: float
    output_max: float
    loss_before: float
    loss_after: float


def fit_head(head: Array, hidden: Array, targets: Array, split: int, proximal: float) -> Array:
    """The proximal step from ``head`` with weight ``proximal`` (see ``fedtiny.model.head.solve``).

    Where that loses less on the windows kept out, the step with one of ``PULLS`` times as much; ``head`` itself where
    none of them makes a head, because ``proximal`` is next to nothing. Arguments as in ``compute_update``.
    """
    data = statistics(hidden[:split], targets[:split])
    candidates = []
    for pull in PULLS:
        with suppress(np.linalg.LinAlgError), np.errstate(over="ignore", invalid="ignore"):
            weights = solve(data, head, pull * proximal)
            if (np.abs(weights) <= LARGEST).all():
                candidates.append(weights)
    return min(candidates or [head], key=lambda weights: loss(weights, hidden[split:], targets[split:]))


def compute_update(kind: Kind, head: Array, hidden: Array, targets: Array, split: int, proximal: float) -> LocalUpdate:
    """One device's update to ``head`` (outputs, inputs + 1).

    hidden: (n, inputs) dequantised int8 activations, targets: (n, outputs) standardised features; the first ``split``
    windows are fitted, the rest is kept out. Kind ``delta`` is the one that ``fit_head`` makes; ``statistics`` are the
    sufficient ones of the windows fitted.
    """
    data = statistics(hidden[:split], targets[:split])
    local = fit_head(head, hidden, targets, split, proximal)
    reconstructed = hidden @ local[:, :-1].T + local[:, -1]
    low, high = output_range(reconstructed)
    return LocalUpdate(
        payload=pack_delta(local - head) if kind == "delta" else pack_statistics(data),
        num_examples=data.count,
        output_min=low,
        output_max=high,
        loss_before=loss(head, hidden[split:], targets[split:]),
        loss_after=loss(local, hidden[split:], targets[split:]),
    )
