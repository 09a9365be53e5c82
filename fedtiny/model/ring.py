"""The newest rows, in order, at a fixed place in memory."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


class Ring:
    """At most ``capacity`` rows of ``size`` float32; the oldest go first."""

    def __init__(self, capacity: int, size: int, rows: Array | None = None) -> None:
        self._rows = np.empty((capacity, size), np.float32)
        self._next = self._count = 0
        if rows is not None:
            self.add(rows)

    def __len__(self) -> int:
        return self._count

    def add(self, rows: Array) -> None:
        """Append (n, size)."""
        capacity = len(self._rows)
        rows = rows[-capacity:]
        first = min(len(rows), capacity - self._next)
        self._rows[self._next : self._next + first] = rows[:first]
        self._rows[: len(rows) - first] = rows[first:]
        self._next = (self._next + len(rows)) % capacity
        self._count = min(self._count + len(rows), capacity)

    def rows(self) -> Array:
        """All rows, oldest first; a copy."""
        if self._count < len(self._rows):
            return self._rows[: self._count].copy()
        return np.concatenate([self._rows[self._next :], self._rows[: self._next]])
