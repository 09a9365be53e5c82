"""The way from a loop that owns its state to another thread that wants to look at it.

The state is never read from the other thread. That asks, and the loop answers at its next turn with an immutable
snapshot; while nobody asks, a turn costs one look at a flag.
"""

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Latest(Generic[T]):
    """The newest snapshot that a loop has given."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._asked = False
        self._count = 0
        self._snapshot: T | None = None
        self._at = time.monotonic()

    def offer(self, make: Callable[[], T]) -> None:
        """The loop's turn: give a snapshot where somebody waits for one."""
        if not self._asked:
            return
        self._asked = False
        snapshot = make()
        with self._changed:
            self._snapshot, self._at = snapshot, time.monotonic()
            self._count += 1
            self._changed.notify_all()

    def ask(self, timeout_s: float) -> tuple[T | None, float]:
        """(snapshot, its age in seconds): a new one, or the last one where the loop does not come round in time.

        None before the first; the age is counted from the beginning then.
        """
        with self._changed:
            before = self._count
            self._asked = True
            self._changed.wait_for(lambda: self._count != before, timeout_s)
            return self._snapshot, time.monotonic() - self._at
