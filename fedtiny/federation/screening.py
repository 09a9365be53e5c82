"""Which updates stand apart from the others: hostile ones, broken ones, learners of a fault.

An update is judged by the others that it would be aggregated with, as long as they are ``FEWEST`` together: fewer
cannot tell who is apart, and all pass. More than half of them are taken to be honest. Two things are done, by multiples
of the cohort's median that were chosen on honest fleets (docs/adr/014-screening.md):

- Limited: norm, output range and weight count up to a multiple. No honest update is lost by that, and no device moves
  the head much further than an honest one.
- Left out: what is beyond anything that an honest device sends, and what points away from the others. The latter can
  be said of deltas only where these agree on a direction, as they do until the head is where the fleet wants it: from
  then on deltas are what makes each machine different, and honest ones point away from each other.

The direction is that of the cohort's geometric median: the sum of the deltas' unit vectors, in which every update
counts the same whatever its norm. No more than two deltas are held at a time.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import inf
from statistics import median

import numpy as np
from numpy.typing import NDArray

from fedtiny.errors import ProtocolError
from fedtiny.model.head import Statistics

Array = NDArray[np.float32]
Double = NDArray[np.float64]
FEWEST = 4
LIMIT = 3.0  # times the cohort's median: norm, output and weight count up to that
APART = 8.0  # times the cohort's median: norm, output or power beyond that is left out
AGREEMENT = 0.04  # mean cosine between two deltas from which on a cohort has a direction
AWAY = -0.1  # cosine to the direction of the others
TINY = 1e-30  # instead of a norm of 0
TARGET = 1e3  # root mean square of a standardised feature, of order 1, that cannot be


@dataclass(frozen=True)
class Contribution:
    """What is judged of one update.

    delta: as it would count, float32 (outputs, inputs + 1); of kind ``statistics`` the head that they alone ask for.
    output: the largest that it claims, absolute. weight: its num_examples; of kind ``statistics`` the sum of squared
    activations. power: weight over num_examples.
    """

    device: str
    delta: Array
    output: float
    weight: float
    power: float


@dataclass(frozen=True)
class Verdict:
    """left_out: device -> why. The others: what may count at most."""

    left_out: dict[str, str]
    norm: float = inf
    output: float = inf
    weight: float = inf


def screen(cohort: Callable[[], Iterable[Contribution]], agreement: float = AGREEMENT) -> Verdict:
    """Judge the updates of ``cohort``, which is run through up to three times.

    agreement: the mean cosine between two of them from which on it is judged where one points.
    """
    seen, total = [], np.zeros(1)
    for c in cohort():
        length = norm(c.delta)
        seen.append((c.device, length, c.output, c.power, c.weight))
        total = total + _unit(c.delta, length)
    if len(seen) < FEWEST:
        return Verdict({})
    devices, norms, outputs, powers, weights = zip(*seen, strict=True)
    left_out: dict[str, str] = {}
    for what, values in (("norm", norms), ("output", outputs), ("power of the activations", powers)):
        middle = median(values)
        for device, value in zip(devices, values, strict=True):
            if value > APART * middle > 0:
                left_out.setdefault(device, f"{what} {value:.4g}, the cohort's median {middle:.4g}")
    rest = len(seen)
    if left_out:
        rest, total = _sum_of_units(c for c in cohort() if c.device not in left_out)
    if rest >= FEWEST and (float(total @ total) / rest - 1) / (rest - 1) >= agreement:  # mean over all pairs
        left_out |= _astray((c for c in cohort() if c.device not in left_out), total)
    return Verdict(left_out, *(LIMIT * (median(values) or inf) for values in (norms, outputs, weights)))


def _sum_of_units(cohort: Iterable[Contribution]) -> tuple[int, Double]:
    """How many they are, and the sum of their unit vectors."""
    count, total = 0, np.zeros(1)
    for c in cohort:
        count, total = count + 1, total + _unit(c.delta, norm(c.delta))
    return count, total


def _astray(cohort: Iterable[Contribution], total: Double) -> dict[str, str]:
    """Those of ``cohort`` that point away from where the others together point; total: of their unit vectors."""
    found = {}
    for c in cohort:
        own = _unit(c.delta, norm(c.delta))
        others = total - own
        cosine = float(own @ others) / max(float(np.linalg.norm(others)), TINY)
        if cosine < AWAY:
            found[c.device] = f"points away from the others: cosine {cosine:.2f}"
    return found


def norm(delta: Array) -> float:
    """Of a whole matrix, whatever the size of its numbers."""
    return float(np.linalg.norm(delta.astype(np.float64)))


def _unit(delta: Array, length: float) -> Double:
    return delta.astype(np.float64).ravel() / max(length, TINY)


def check_statistics(data: Statistics) -> None:
    """ProtocolError unless there can be activations and targets that have these sufficient statistics."""
    diagonal = np.diag(data.gram)
    if not np.isclose(diagonal[-1], data.count, rtol=1e-9, atol=0):
        raise ProtocolError(f"update: statistics of {diagonal[-1]:g} windows, said to be {data.count}")
    lowest = float(np.linalg.eigvalsh(data.gram)[0])
    if lowest < -1e-9 * diagonal.sum():
        raise ProtocolError(f"update: a Gram matrix with the eigenvalue {lowest:.3g}")
    bound = TARGET * np.sqrt(np.maximum(diagonal, 0) * data.count)  # Cauchy-Schwarz, for every pair of columns
    if (np.abs(data.cross) > bound[:, None]).any():
        raise ProtocolError(f"update: a cross-product of targets with a root mean square beyond {TARGET:g}")
