"""The updates that are in -> the next head: screen, weigh, aggregate."""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedtiny.errors import ProtocolError, ReleaseError
from fedtiny.federation.aggregators import State
from fedtiny.federation.local import LocalUpdate
from fedtiny.federation.robust import krum
from fedtiny.federation.screening import AGREEMENT, TINY, Contribution, Verdict, check_statistics, norm, screen
from fedtiny.federation.strategies import Strategy
from fedtiny.federation.updates import unpack_delta, unpack_statistics
from fedtiny.model.head import NARROWEST, Head, Statistics, solve

Array = NDArray[np.float32]
WIDEST = 4.0  # by which a head may widen or narrow the output range: one wild update must not blind all devices
ALONE = 0.1  # pull towards zero of the head that statistics are judged by
WORST = 1e12  # a loss, mean squared error of numbers of order 1: beyond it a round's mean would be infinite


@dataclass(frozen=True)
class Entry:
    """One update as the coordinator holds it.

    staleness: revisions between its base and the head. new: False for an older one of kind ``statistics`` that still
    counts: each device's newest stay in the sum until they are replaced or forgotten.
    """

    device: str
    update: LocalUpdate
    staleness: int = 0
    new: bool = True


@dataclass(frozen=True)
class Combined:
    """The next head, the aggregator's state for the next time, and of each new update left out, by its device, why."""

    head: Head
    state: State
    left_out: dict[str, str]


Entries = Callable[[], Iterable[Entry]]


def combine(
    strategy: Strategy, entries: Entries, head: Head, anchor: Array, state: State, *, screening: bool = True
) -> Combined:
    """The next head from the updates to ``head`` in ``entries``, which is run through several times.

    A delta that is s revisions behind counts for 1 / sqrt(1 + s) of itself, but fully in the weights that the sum is
    divided by (FedBuff: Nguyen et al., AISTATS 2022). Statistics do not depend on the head: they are never stale.
    anchor: the release's own head, towards which ``ridge`` regularises. The output range covers what every device
    reconstructs.

    The head stays where the screening leaves nothing new. Raises ReleaseError or ValueError where numbers make none.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # such a head is refused
        verdict = Verdict({})
        if screening:
            verdict = screen(lambda: _contributions(strategy, entries(), head), _agreement(strategy))

        def kept() -> Iterator[Entry]:
            return (entry for entry in entries() if entry.device not in verdict.left_out)

        ranges = [(entry.update.output_min, entry.update.output_max) for entry in kept()]
        new = {entry.device for entry in entries() if entry.new}
        left_out = {device: why for device, why in verdict.left_out.items() if device in new}
        if left_out and len(left_out) == len(new):
            return Combined(head, state, left_out)
        if strategy.kind == "delta":
            deltas = (_limited_delta(entry, head, verdict) for entry in kept())
            step, state = strategy.function(deltas, state, **strategy.options)
            if not all(isinstance(value, np.ndarray) and value.dtype.kind == "f" for value in state.values()):
                raise ValueError(f"strategy {strategy.name}: its state must be float arrays by name")
            weights = head.weights + step
        else:
            parts = (_limited_statistics(entry, head, verdict) for entry in kept())
            weights = strategy.function(parts, anchor, **strategy.options)
        return Combined(_head(weights, ranges, head, verdict.output), state, left_out)


def _head(weights: Array, ranges: list[tuple[float, float]], head: Head, output: float) -> Head:
    """``weights`` with an output range that covers ``ranges`` and stays near that of ``head`` and within ``output``."""
    widest = min(WIDEST * max(-head.output_min, head.output_max), output)
    low = min(*(low for low, _ in ranges), head.output_min / WIDEST)
    high = max(*(high for _, high in ranges), head.output_max / WIDEST)
    return Head(weights, max(low, -widest), min(high, widest))


def check_update(strategy: Strategy, update: LocalUpdate, head: Head, anchor: Array) -> None:
    """Raise ProtocolError when ``update`` alone would not make a head; arguments as of ``combine``."""
    entry = Entry("", update)
    if max(update.loss_before, update.loss_after) > WORST:
        raise ProtocolError(f"update: a loss beyond {WORST:g}")
    if update.output_max - update.output_min < NARROWEST:
        raise ProtocolError(f"update: output range [{update.output_min:g}, {update.output_max:g}] is empty")
    try:
        if strategy.kind == "statistics":
            check_statistics(_statistics(entry, head))
            combine(strategy, lambda: [entry], head, anchor, {}, screening=False)
        else:
            _head(head.weights + _delta(entry, head), [(update.output_min, update.output_max)], head, math.inf)
    except (ReleaseError, ValueError) as error:
        raise ProtocolError(f"update: makes no head: {error}") from None


def _agreement(strategy: Strategy) -> float:
    """From which agreement on the cohort's direction counts (see ``screen``)."""
    if strategy.kind == "statistics":
        return -1.0  # always: whole heads, and not what is left of them, have much in common
    return 2.0 if strategy.function is krum else AGREEMENT  # krum's head is one machine's: others point away from it


def _delta(entry: Entry, head: Head) -> Array:
    """The delta of ``entry``, damped by its staleness."""
    return unpack_delta(entry.update.payload, head.weights.shape) / np.float32(math.sqrt(1 + entry.staleness))


def _limited_delta(entry: Entry, head: Head, verdict: Verdict) -> tuple[Array, int]:
    delta = _delta(entry, head)
    shorter = np.float32(min(1.0, verdict.norm / max(norm(delta), TINY)))
    return delta * shorter, int(min(entry.update.num_examples, verdict.weight))


def _statistics(entry: Entry, head: Head) -> Statistics:
    return unpack_statistics(entry.update.payload, head.weights.shape, entry.update.num_examples)


def _asked(data: Statistics, head: Head) -> Array:
    """The head that statistics ask for by themselves; it is linear in the targets."""
    return solve(data, np.zeros_like(head.weights), ALONE)


def _limited_statistics(entry: Entry, head: Head, verdict: Verdict) -> Statistics:
    """Those of as many of the device's windows, all of them alike, and of targets as large as may count."""
    data = _statistics(entry, head)
    count = max(1, int(data.count * min(1.0, verdict.weight / max(np.trace(data.gram), TINY))))
    smaller = 1.0 if verdict.norm == math.inf else min(1.0, verdict.norm / max(norm(_asked(data, head)), TINY))
    share = count / data.count
    return Statistics(data.gram * share, data.cross * share * smaller, count)


def _contributions(strategy: Strategy, entries: Iterable[Entry], head: Head) -> Iterator[Contribution]:
    """What the screening looks at."""
    for entry in entries:
        update = entry.update
        weight = float(update.num_examples)
        if strategy.kind == "delta":
            step = _delta(entry, head)
        else:
            data = _statistics(entry, head)
            step, weight = _asked(data, head), float(np.trace(data.gram))
        output = max(-update.output_min, update.output_max)
        yield Contribution(entry.device, step, output, weight, weight / update.num_examples)
