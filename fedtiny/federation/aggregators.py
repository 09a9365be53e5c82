"""Updates -> a step of the head: the means. Sums are integers on one scale: exact, whatever the order or the split.

An aggregator of kind ``delta`` takes (delta, num_examples) pairs and the state that it returned the last time ({} at
first), and returns the step to add to the head, float32 (outputs, inputs + 1), with its new state. Its keyword-only
arguments are the options of the strategy. One of kind ``statistics`` takes sufficient statistics and the head to
regularise towards, and returns the new head. All raise ValueError on no updates and on an option out of range.

A float sum depends on its order; an int64 sum of numbers rounded once does not. They are rounded to steps of 2^-40,
5e-13, and may be as large as 2^50; 8,000 of those cannot overflow. No more than one delta is held at a time.
"""

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from fedtiny.errors import ProtocolError
from fedtiny.model.head import Statistics, solve

Array = NDArray[np.float32]
Double = NDArray[np.float64]
State = dict[str, Double]
Updates = Iterable[tuple[Array, int]]
STEP_BITS = 40
STEPS = float(1 << STEP_BITS)  # in one
ROOM, LIMIT = float(1 << 22), float(1 << 50)  # the former: of numbers whose steps are added up in one int64


def check_range(name: str, value: float, low: float, high: float) -> None:
    """ValueError unless low <= value < high."""
    if not low <= value < high:
        raise ValueError(f"{name} {value:g}, expected at least {low:g} and below {high:g}")


class ExactSum:
    """The sum of float64 arrays of ``shape``, the same to the bit whatever their order."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._whole, self._steps = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
        self._largest = 0.0  # that the number in steps can be

    def add(self, values: Double) -> None:
        """Add ``values``; ProtocolError for one that is not finite or beyond ``LIMIT``."""
        largest = max(float(values.max()), -float(values.min()))
        if not largest <= LIMIT:  # so that NaN is one of them
            raise ProtocolError(f"update: a weighted number that is not finite or beyond {LIMIT:g}")
        if largest > ROOM:
            whole = np.trunc(values)
            self._whole += whole.astype(np.int64)
            values, largest = values - whole, 1.0
        if self._largest + largest > ROOM:
            self._carry()
        self._steps += np.rint(values * STEPS).astype(np.int64)
        self._largest += largest

    def value(self) -> Double:
        """The sum so far."""
        self._carry()
        return self._whole + self._steps / STEPS

    def _carry(self) -> None:
        self._whole += self._steps >> STEP_BITS
        self._steps &= (1 << STEP_BITS) - 1
        self._largest = 1.0


def weighted_mean(updates: Updates) -> Double:
    """Mean of deltas, weighted by num_examples."""
    total, weight = None, 0
    for delta, count in updates:
        if count <= 0:
            raise ValueError(f"weight {count}, expected a positive number of examples")
        total = total or ExactSum(delta.shape)
        total.add(delta.astype(np.float64) * count)
        weight += count
    if total is None:
        raise ValueError("no updates to aggregate")
    return total.value() / weight


def fedavg(updates: Updates, state: State) -> tuple[Array, State]:
    """The weighted mean (McMahan et al., Communication-Efficient Learning of Deep Networks, AISTATS 2017)."""
    return weighted_mean(updates).astype(np.float32), state


def fedavgm(updates: Updates, state: State, *, server_lr: float = 1.0, momentum: float = 0.3) -> tuple[Array, State]:
    """FedAvg with momentum at the server (Hsu et al., arXiv:1909.06335): v = momentum v + mean, step = server_lr v."""
    check_range("server_lr", server_lr, 1e-6, 100)
    check_range("momentum", momentum, 0, 1)
    mean = weighted_mean(updates)
    velocity = momentum * state.get("velocity", np.zeros_like(mean)) + mean
    return (server_lr * velocity).astype(np.float32), {"velocity": velocity}


def fedadam(
    updates: Updates,
    state: State,
    *,
    server_lr: float = 0.1,
    beta1: float = 0.5,
    beta2: float = 0.99,
    tau: float = 0.03,
) -> tuple[Array, State]:
    """FedAdam (Reddi et al., Adaptive Federated Optimization, ICLR 2021, algorithm 2): v = beta2 v + (1 - beta2) g^2.

    Without bias correction, and with v from tau^2, as there. tau: a weight's own step is adapted where its changes are
    not small beside it; too small a tau diverges (docs/adr/013-aggregators.md).
    """
    return _adaptive(updates, state, server_lr, beta1, beta2, tau, lambda v, squared: beta2 * v + (1 - beta2) * squared)


def fedyogi(
    updates: Updates,
    state: State,
    *,
    server_lr: float = 0.1,
    beta1: float = 0.5,
    beta2: float = 0.99,
    tau: float = 0.03,
) -> tuple[Array, State]:
    """FedYogi (as FedAdam, the same place): v = v - (1 - beta2) g^2 sign(v - g^2)."""
    return _adaptive(
        updates,
        state,
        server_lr,
        beta1,
        beta2,
        tau,
        lambda v, squared: v - (1 - beta2) * squared * np.sign(v - squared),
    )


def _adaptive(
    updates: Updates,
    state: State,
    server_lr: float,
    beta1: float,
    beta2: float,
    tau: float,
    second: Callable[[Double, Double], Double],
) -> tuple[Array, State]:
    """What FedAdam and FedYogi share; ``second``: (v, g^2) -> the next v."""
    check_range("server_lr", server_lr, 1e-6, 100)
    check_range("beta1", beta1, 0, 1)
    check_range("beta2", beta2, 0, 1)
    check_range("tau", tau, 1e-9, 1e3)
    mean = weighted_mean(updates)
    m = beta1 * state.get("m", np.zeros_like(mean)) + (1 - beta1) * mean
    v = second(state.get("v", np.full_like(mean, tau**2)), np.square(mean))
    return (server_lr * m / (np.sqrt(v) + tau)).astype(np.float32), {"m": m, "v": v}


def ridge(updates: Iterable[Statistics], anchor: Array, *, pull: float = 0.01) -> Array:
    """Least squares over all devices' data from the sum of their statistics, pulled towards ``anchor``; float32.

    Ridge regression (Hoerl and Kennard, Technometrics 1970) towards the release's head.
    """
    check_range("pull", pull, 1e-9, 1e9)
    gram = cross = None
    count = 0
    for data in updates:
        gram, cross = gram or ExactSum(data.gram.shape), cross or ExactSum(data.cross.shape)
        gram.add(data.gram)
        cross.add(data.cross)
        count += data.count
    if gram is None or cross is None:
        raise ValueError("no updates to aggregate")
    return solve(Statistics(gram.value(), cross.value(), count), anchor, pull)
