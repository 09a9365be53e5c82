"""The updates that are in -> the next head: screen, weigh, aggregate."""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from fedtiny.errors import ProtocolError, ReleaseError
from fedtiny.federation.aggregators import State
from fedtiny.federation.local import LocalUpdate
from fedtiny.federation.robust import krum
from fedtiny.federation.screening import AGREEMENT, TINY, Cohort, Contribution, Verdict, check_statistics, length
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
    strategy: Strategy,
    entries: Entries,
    head: Head,
    anchor: Array,
    state: State,
    *,
    screening: bool = True,
    cohort: Cohort | None = None,
) -> Combined:
    """The next head from the updates to ``head`` in ``entries``, which is run through several times.

    A delta that is s revisions behind counts for 1 / sqrt(1 + s) of itself, but fully in the weights that the sum is
    divided by (FedBuff: Nguyen et al., AISTATS 2022). Statistics do not depend on the head: they are never stale.
    anchor: the release's own head, towards which ``ridge`` regularises. The output range covers what every device
    reconstructs. cohort: what the screening has noted of some of ``entries`` as they came (see ``check_update``), and
    of nothing else; it notes the others here.

    The head stays where the screening leaves nothing new. Raises ReleaseError or ValueError where numbers make none.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # such a head is refused
        verdict = _screen(strategy, entries, head, cohort or Cohort()) if screening else Verdict()
        kept = _Kept(strategy, entries, head, verdict)
        parts = iter(kept)
        first = next(parts, None)
        if first is None and kept.left_out:
            return Combined(head, state, kept.left_out)
        counted = chain([] if first is None else [first], parts)
        if strategy.kind == "delta":
            step, state = strategy.function(counted, state, **strategy.options)
            if not all(isinstance(value, np.ndarray) and value.dtype.kind == "f" for value in state.values()):
                raise ValueError(f"strategy {strategy.name}: its state must be float arrays by name")
            weights = head.weights + step
        else:
            weights = strategy.function(counted, anchor, **strategy.options)
        for _ in counted:  # what another package's function did not ask for
            pass
        if kept.left_out and not kept.new:
            return Combined(head, state, kept.left_out)
        return Combined(_head(weights, kept.low, kept.high, head, verdict.output), state, kept.left_out)


def _screen(strategy: Strategy, entries: Entries, head: Head, cohort: Cohort) -> Verdict:
    for entry in entries():
        if entry.device not in cohort.devices:
            cohort.add(contribution(strategy, entry, head))
    out = cohort.outliers()
    outliers = (contribution(strategy, entry, head) for entry in entries() if entry.device in out) if out else ()
    return cohort.verdict(outliers, _agreement(strategy))


class _Kept:
    """The updates that count, as far as they may, each as the aggregator takes it.

    Attributes:
        low, high: The output range that covers all of theirs.
        new: How many of them are new.
        left_out: Of the new ones that do not count, by device, why.
    """

    def __init__(self, strategy: Strategy, entries: Entries, head: Head, verdict: Verdict) -> None:
        self._strategy, self._entries, self._head, self._verdict = strategy, entries, head, verdict
        self.low, self.high = math.inf, -math.inf
        self.new = 0
        self.left_out: dict[str, str] = {}

    def __iter__(self) -> Iterator[tuple[Array, int] | Statistics]:
        limited = _limited_delta if self._strategy.kind == "delta" else _limited_statistics
        for entry in self._entries():
            part: tuple[Array, int] | Statistics | str
            part = self._verdict.left_out.get(entry.device) or limited(entry, self._head, self._verdict)
            if not isinstance(part, str):
                self.low = min(self.low, entry.update.output_min)
                self.high = max(self.high, entry.update.output_max)
                self.new += entry.new
                yield part
            elif entry.new:
                self.left_out[entry.device] = part


def _head(weights: Array, low: float, high: float, head: Head, output: float) -> Head:
    """``weights`` with an output range that covers [low, high], stays near that of ``head`` and within ``output``."""
    widest = min(WIDEST * max(-head.output_min, head.output_max), output)
    low, high = min(low, head.output_min / WIDEST), max(high, head.output_max / WIDEST)
    return Head(weights, max(low, -widest), min(high, widest))


def check_update(
    strategy: Strategy, update: LocalUpdate, head: Head, anchor: Array, *, device: str = "", staleness: int = 0
) -> Contribution:
    """What the screening notes of ``update``; ProtocolError when it alone would not make a head.

    Arguments as of ``combine`` and ``Entry``.
    """
    entry = Entry(device, update, staleness)
    if max(update.loss_before, update.loss_after) > WORST:
        raise ProtocolError(f"update: a loss beyond {WORST:g}")
    if update.output_max - update.output_min < NARROWEST:
        raise ProtocolError(f"update: output range [{update.output_min:g}, {update.output_max:g}] is empty")
    try:
        with np.errstate(over="ignore", invalid="ignore"):
            if strategy.kind == "delta":
                found = _of_delta(entry, _delta(entry, head))
                weights = head.weights + found.delta
            else:
                data = _statistics(entry, head)
                check_statistics(data)
                weights = strategy.function([data], anchor, **strategy.options)
                found = _of_statistics(entry, data, head)
                if not np.isfinite(found.delta).all():
                    raise ValueError("its statistics alone ask for numbers that are not finite")
            _head(weights, update.output_min, update.output_max, head, math.inf)
    except (ReleaseError, ValueError) as error:
        raise ProtocolError(f"update: makes no head: {error}") from None
    return found


def contribution(strategy: Strategy, entry: Entry, head: Head) -> Contribution:
    """What the screening notes of an update."""
    if strategy.kind == "delta":
        return _of_delta(entry, _delta(entry, head))
    return _of_statistics(entry, _statistics(entry, head), head)


def _of_delta(entry: Entry, delta: Array) -> Contribution:
    return Contribution(entry.device, delta, _output(entry), float(entry.update.num_examples), 1.0)


def _of_statistics(entry: Entry, data: Statistics, head: Head) -> Contribution:
    energy = float(np.trace(data.gram))
    return Contribution(entry.device, _asked(data, head), _output(entry), energy, energy / data.count)


def _output(entry: Entry) -> float:
    return max(-entry.update.output_min, entry.update.output_max)


def _agreement(strategy: Strategy) -> float:
    """From which agreement on the cohort's direction counts (see ``Cohort.verdict``)."""
    if strategy.kind == "statistics":
        return -1.0  # always: whole heads, and not what is left of them, have much in common
    return 2.0 if strategy.function is krum else AGREEMENT  # krum's head is one machine's: others point away from it


def _delta(entry: Entry, head: Head) -> Array:
    """The delta of ``entry``, damped by its staleness."""
    delta = unpack_delta(entry.update.payload, head.weights.shape)
    return delta / np.float32(math.sqrt(1 + entry.staleness)) if entry.staleness else delta


def _limited_delta(entry: Entry, head: Head, verdict: Verdict) -> tuple[Array, int] | str:
    """The delta as far as it may count, or why it does not at all."""
    delta = _delta(entry, head)
    if why := verdict.astray(delta):
        return why
    if (size := length(delta)) > verdict.norm:
        delta = delta * np.float32(verdict.norm / size)
    return delta, int(min(entry.update.num_examples, verdict.weight))


def _statistics(entry: Entry, head: Head) -> Statistics:
    return unpack_statistics(entry.update.payload, head.weights.shape, entry.update.num_examples)


def _asked(data: Statistics, head: Head) -> Array:
    """The head that statistics ask for by themselves; it is linear in the targets."""
    return solve(data, np.zeros_like(head.weights), ALONE)


def _limited_statistics(entry: Entry, head: Head, verdict: Verdict) -> Statistics | str:
    """Those of as many of the device's windows, all of them alike, and of targets as large as may count; or why not."""
    data = _statistics(entry, head)
    smaller = 1.0
    if verdict.norm < math.inf or verdict.direction is not None:
        asked = _asked(data, head)
        if why := verdict.astray(asked):
            return why
        smaller = min(1.0, verdict.norm / max(length(asked), TINY))
    count = max(1, int(data.count * min(1.0, verdict.weight / max(np.trace(data.gram), TINY))))
    share = count / data.count
    return Statistics(data.gram * share, data.cross * share * smaller, count)
