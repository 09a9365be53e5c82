"""Operating points: speeds and loads under which a machine is normal in different ways.

Where the source names them (a tag, a shaft speed), they are taken as named. Where it does not, and the configuration
allows more than one, clusters are found once, in the windows that are learned first: the set is split in two by k-means
as long as the halves lie far apart on the line between their centres (in the manner of G-means, Hamerly and Elkan,
NIPS 2003). A later window belongs to the nearest centre. It is of an **unknown** operating point, and then no
fault, where it is off all clusters in the directions in which operating points differ and as usual in all others;
what is unusual in the others may be a fault and is scored. A machine that stands still is unknown, too.
"""

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
    groups = [z]
    while len(groups) < most:
        halves = {i: pair for i, group in enumerate(groups) if (pair := _split(group, len(z))) is not None}
        if not halves:
            break
        i = max(halves, key=lambda i: len(groups[i]))
        groups[i : i + 1] = halves[i]
    centres = np.array([group.mean(axis=0) for group in groups])
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


def _split(group: Array, total: int) -> tuple[Array, Array] | None:
    """Two clusters of ``group``, where it has two."""
    if len(group) < 4:
        return None
    spread = group - group.mean(axis=0)
    second = spread @ np.linalg.svd(spread, full_matrices=False)[2][0] > 0
    for _ in range(20):
        if not second.any() or second.all():
            return None
        first_centre, second_centre = group[~second].mean(axis=0), group[second].mean(axis=0)
        line = second_centre - first_centre
        before, second = second, (group - (first_centre + second_centre) / 2) @ line > 0
        if (before == second).all():
            break
    halves = group[~second], group[second]
    if min(map(len, halves)) < max(2, SMALLEST * total):
        return None
    line /= np.linalg.norm(line)
    first, last = halves[0] @ line, halves[1] @ line
    width = np.sqrt((first.var() * len(first) + last.var() * len(last)) / len(group))
    return halves if last.mean() - first.mean() > APART * width else None


def name_of(point: str, speed_hz: float | None, known: list[str]) -> str:
    """Name of a tagged operating point: as the source names it, or by its speed ("24.9 Hz"); empty: no tag."""
    if point or speed_hz is None:
        return point
    for name in known:
        value = name.removesuffix(" Hz")
        if value != name and abs(float(value) - speed_hz) <= SAME_SPEED * float(value):
            return name
    return f"{speed_hz:.4g} Hz"
