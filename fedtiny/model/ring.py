"""The newest rows, in order, at a fixed place in memory."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


class Ring:
    """At most ``capacity`` rows of ``size`` float32; the oldest go first."""

    def __init__(self, capacity: int, size: int) -> None:
        self._rows = np.zeros((capacity, size), np.float32)
        self._next = self._count = 0

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

    def state(self) -> tuple[Array, int, int]:
        """(all of its memory, the place of the next row, how many rows there are): what ``restore`` takes."""
        return self._rows, self._next, self._count

    def restore(self, rows: Array, next_row: int, count: int) -> None:
        """Be as another ring was; one of another size gives its newest rows."""
        if rows.shape == self._rows.shape:
            self._rows, self._next, self._count = rows, next_row, count
            return
        old = Ring(*rows.shape)
        old.restore(rows, next_row, count)
        self.add(old.rows())
