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
counts the same whatever its norm. That sum and a few numbers of each update are all that is held of a cohort: they are
taken as updates come in, in any order, and no delta is looked at again but to see where it points.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from math import inf, sqrt
from statistics import median

import numpy as np
from numpy.typing import NDArray

from fedtiny.errors import ProtocolError
from fedtiny.federation.aggregators import ExactSum
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
    """left_out: device -> why. The others: what may count at most.

    direction: of the others together, the sum of their unit vectors; None where it is not judged where one points.
    """

    left_out: dict[str, str] = field(default_factory=dict)
    norm: float = inf
    output: float = inf
    weight: float = inf
    direction: Double | None = None

    def astray(self, delta: Array) -> str | None:
        """Why one of the others is to be left out, which points away from where the rest of them point; or None."""
        if self.direction is None:
            return None
        # of unit = delta / size and rest = direction - unit, without either of them
        size = length(delta)
        unit_norm = size / max(size, TINY)
        along = float(np.vdot(delta, self.direction)) / max(size, TINY)
        rest_norm = sqrt(max(self._squared - 2 * along + unit_norm**2, 0.0))
        cosine = (along - unit_norm**2) / max(rest_norm, TINY)
        return f"points away from the others: cosine {cosine:.2f}" if cosine < AWAY else None

    @cached_property
    def _squared(self) -> float:
        """Of the direction's norm."""
        return 0.0 if self.direction is None else float(np.vdot(self.direction, self.direction))


class Cohort:
    """The updates that one head is to be made of, an update a device."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[float, float, float, float]] = {}  # norm, output, power, weight
        self._direction: ExactSum | None = None

    @property
    def devices(self) -> Collection[str]:
        """Whose updates have been added."""
        return self._seen.keys()

    def add(self, one: Contribution) -> None:
        """Take note of an update; ProtocolError where it points nowhere, for a number that is not finite."""
        size, unit = _polar(one.delta)
        self._seen[one.device] = size, one.output, one.power, one.weight
        self._direction = self._direction or ExactSum(one.delta.shape)
        self._direction.add(unit)

    def outliers(self) -> dict[str, str]:
        """Those that are left out whatever the direction of the others, and why."""
        if len(self._seen) < FEWEST:
            return {}
        left_out: dict[str, str] = {}
        norms, outputs, powers, _ = zip(*self._seen.values(), strict=True)
        for what, values in (("norm", norms), ("output", outputs), ("power of the activations", powers)):
            middle = median(values)
            for device, value in zip(self._seen, values, strict=True):
                if value > APART * middle > 0:
                    left_out.setdefault(device, f"{what} {value:.4g}, the cohort's median {middle:.4g}")
        return left_out

    def verdict(self, outliers: Iterable[Contribution], agreement: float = AGREEMENT) -> Verdict:
        """What becomes of them. ``outliers``: the updates of those that are left out.

        agreement: the mean cosine between two of the others from which on it is judged where one points.
        """
        if len(self._seen) < FEWEST or self._direction is None:
            return Verdict()
        left_out, direction = self.outliers(), self._direction.value()
        apart = ExactSum(direction.shape)
        for one in outliers:
            apart.add(_polar(one.delta)[1])
        direction -= apart.value()
        rest = len(self._seen) - len(left_out)
        agree = rest >= FEWEST and (float(np.vdot(direction, direction)) / rest - 1) / (rest - 1) >= agreement
        norms, outputs, _, weights = zip(*self._seen.values(), strict=True)
        norm, output, weight = (LIMIT * (median(values) or inf) for values in (norms, outputs, weights))
        return Verdict(left_out, norm, output, weight, direction if agree else None)


def length(delta: Array) -> float:
    """Its norm as one vector, whatever the size of its numbers."""
    return float(np.linalg.norm(delta.astype(np.float64)))


def _polar(delta: Array) -> tuple[float, Double]:
    """Norm and unit vector, in the shape of ``delta``."""
    exact = delta.astype(np.float64)
    size = float(np.linalg.norm(exact))
    return size, np.divide(exact, max(size, TINY), out=exact)


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
