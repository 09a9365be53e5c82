"""Operating points: speeds and loads under which a machine is normal in different ways.

Where the source names them (a tag, a shaft speed), they are taken as named. Where it does not, and the configuration
allows more than one, clusters are found once, in the windows that are learned first: the set is split in two again and
again, across the direction in which a part varies most (Boley, Principal direction divisive partitioning, Data Mining
and Knowledge Discovery 2, 1998), and parts that do not lie far apart are joined again. A later window belongs to the
nearest centre. It is of an **unknown** operating point, and then no fault, where it is off all clusters in the
directions in which operating points differ and as usual in all others; what is unusual in the others may be a fault
and is scored. A machine that stands still is unknown, too.
"""

from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
MOST = 8
SAME_SPEED = 0.05  # speeds within this share of each other are one operating point
APART = 4.0  # standard deviations between two clusters, on the line between their centres
SMALLEST = 0.1  # share of the windows that a cluster has at least
REACH = 1.5  # times the largest distance from a centre that was seen while learning
STILL = float(np.log(100))  # 20 dB below the quietest normal window: in nats of power


@dataclass
class Clusters:
    """centres (k, features) in standardised features; what is needed to tell unknown windows; k = 1: all one."""

    centres: Array
    axes: Array = field(default_factory=lambda: np.empty((0, 0), np.float32))  # (features, k - 1), orthonormal
    along: float = 0.0  # farthest from a centre in the directions of ``axes``, and across them
    across: float = 0.0

    def __call__(self, z: Array) -> NDArray[np.int64]:
        """Number of the cluster of each z (n, features), -1 for an unknown one."""
        if len(self.centres) == 1:
            return np.zeros(len(z), np.int64)
        label, along, across = _distances(z, self.centres, self.axes)
        unknown = (along > REACH * self.along) & (across <= REACH * self.across)
        return np.where(unknown, -1, label)


def find_clusters(z: Array, most: int) -> Clusters:
    """At most ``most`` clusters of z (n, features)."""
    parts = [z]
    while len(parts) < 2 * MOST:
        widest = max(range(len(parts)), key=lambda i: float(parts[i].var(axis=0).sum()) * len(parts[i]))
        if len(parts[widest]) < 2:
            break
        parts[widest : widest + 1] = _split(parts[widest])
    while len(parts) > 1:
        pairs = {(i, j): _apart(parts[i], parts[j], len(z)) for j in range(len(parts)) for i in range(j)}
        i, j = min(pairs, key=lambda pair: pairs[pair])
        if pairs[i, j] > (APART, 0) and len(parts) <= most:
            break
        parts[i] = np.concatenate([parts[i], parts.pop(j)])
    centres = np.array([part.mean(axis=0) for part in parts])
    if len(centres) == 1:
        return Clusters(centres)
    axes = np.linalg.svd(centres - centres.mean(axis=0), full_matrices=False)[2][: len(centres) - 1].T
    _, along, across = _distances(z, centres, axes)
    return Clusters(centres, np.ascontiguousarray(axes), float(along.max()), float(across.max()))


def _distances(z: Array, centres: Array, axes: Array) -> tuple[NDArray[np.int64], Array, Array]:
    """Nearest centre of each window; its distance from it along and across ``axes``."""
    label = np.square(z[:, None] - centres).sum(axis=2).argmin(axis=1)
    away = z - centres[label]
    along = away @ axes
    return label, np.linalg.norm(along, axis=1), np.linalg.norm(away - along @ axes.T, axis=1)


def _split(part: Array) -> tuple[Array, Array]:
    """Two parts, cut across the principal direction where that leaves least variance within them."""
    spread = part - part.mean(axis=0)
    along = spread @ np.linalg.svd(spread, full_matrices=False)[2][0]
    order = along.argsort(kind="stable")
    first = np.arange(1, len(part))
    between = np.square(along[order].cumsum()[:-1]) / (first * first[::-1])
    at = int(between.argmax()) + 1
    return part[np.sort(order[:at])], part[np.sort(order[at:])]


def _apart(one: Array, other: Array, total: int) -> tuple[float, float]:
    """Distance of two parts: in their standard deviations, on the line between their centres, and as it is.

    The centres are those of every other window, and the windows between these are measured: in many features, any few
    windows lie far apart on the line that they drew themselves. A part too small to be a cluster is not apart.
    """
    distance = float(np.linalg.norm(one.mean(axis=0) - other.mean(axis=0)))
    if min(len(one), len(other)) < max(2, SMALLEST * total):
        return 0.0, distance
    gaps, squares = [], 0.0
    for start in (0, 1):
        line = other[1 - start :: 2].mean(axis=0) - one[1 - start :: 2].mean(axis=0)
        line /= max(float(np.linalg.norm(line)), 1e-9)
        low, high = one[start::2] @ line, other[start::2] @ line
        gaps.append(float(high.mean() - low.mean()))
        squares += float(low.var()) * len(low) + float(high.var()) * len(high)
    width = np.sqrt(squares / (len(one) + len(other)))
    return float(np.mean(gaps) / max(width, 1e-6)), distance


def name_of(point: str, speed_hz: float | None, known: list[str]) -> str:
    """Name of a tagged operating point: as the source names it, or by its speed ("24.9 Hz"); empty: no tag."""
    if point or speed_hz is None:
        return point
    for name in known:
        with suppress(ValueError):  # a name that the source gave
            value = float(name.removesuffix(" Hz"))
            if name.endswith(" Hz") and abs(value - speed_hz) <= SAME_SPEED * value:
                return name
    return f"{speed_hz:.4g} Hz"
