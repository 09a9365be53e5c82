"""Trial before trust: a device measures a head on its own healthy windows before it scores with it.

What is compared are mean squared reconstruction errors on windows that were kept out of all fitting. A new global head
that is worse than the best of those known to be good, by more than ``MARGIN``, is not used. A personal head, the
device's own proximal step from the global one (FedProx's local problem: Li et al., MLSys 2020), is used where it is
better than the global one by ``GAIN``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fedtiny.federation.local import fit_head
from fedtiny.model.head import Head, loss, output_range

Array = NDArray[np.float32]
MARGIN, GAIN = 0.1, 0.02
Use = Literal["global", "personal", "kept"]


@dataclass(frozen=True)
class Choice:
    """The head to score with, None: the one in use; which kind it is, and the losses that decided.

    ``loss_known``: of the best head that was known to be good; ``loss_personal`` None: not tried.
    """

    head: Head | None
    use: Use
    loss_known: float
    loss_global: float
    loss_personal: float | None = None


def choose_head(
    new: Head, known: Sequence[Head], hidden: Array, targets: Array, split: int, proximal: float | None
) -> Choice:
    """Decide between a ``new`` global head, a personal one made from it, and going on with what is in use.

    known: heads that are known to be good, at least one: the release's and the last that passed. hidden: (n, inputs)
    dequantised int8 activations, targets: (n, outputs) standardised features; the first ``split`` windows may be fitted
    on, the rest is kept out. proximal: weight of the personal step; None: no personal head.
    """
    kept_hidden, kept_targets = hidden[split:], targets[split:]
    before = min(_loss(head, kept_hidden, kept_targets) for head in known)
    after = _loss(new, kept_hidden, kept_targets)
    if after > (1 + MARGIN) * before:
        return Choice(None, "kept", before, after)
    if proximal is None:
        return Choice(new, "global", before, after)
    weights = fit_head(new.weights, hidden, targets, split, proximal)
    personal = loss(weights, kept_hidden, kept_targets)
    if personal > (1 - GAIN) * after:
        return Choice(new, "global", before, after, personal)
    low, high = output_range(Head(weights, -1.0, 1.0).forward(hidden))
    return Choice(Head(weights, low, high), "personal", before, after, personal)


def _loss(head: Head, hidden: Array, targets: Array) -> float:
    """Mean squared error of what ``head`` can say: its output range is part of it."""
    outputs = np.clip(head.forward(hidden), head.output_min, head.output_max)
    return float(np.mean(np.square(outputs - targets)))
