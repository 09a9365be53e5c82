"""The raw windows around an alarm, kept on disk so that a person can look at them and `fedtiny edge score` again.

An alarm's file holds the windows before it at once, and is written anew when the windows after it have come. Memory and
disk are bounded. What cannot be written is a warning in the log: it never keeps an alarm from being raised.
"""

import io
import logging
import math
import os
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fedtiny.errors import StorageError
from fedtiny.store import atomic_write

log = logging.getLogger(__name__)
Array = NDArray[np.float32]
MOST_MEMORY = 2_000_000  # bytes of windows held, before and after the alarm together


@dataclass(frozen=True, eq=False)
class _Window:
    number: int
    samples: Array
    at: float
    score: float


class Evidence:
    """A ring of the last windows, and the files made of it in ``folder``.

    Args:
        folder: Made when the first file is written.
        sample_rate_hz: Of the windows.
        channels: Their names.
        before: Windows kept up to the alarm, its own included; fewer where they would take over 1 MB.
        after: Windows kept behind it; fewer likewise.
        most_files: The oldest files go first; 0 keeps none.
        most_bytes: Of all files together; the newest stays in any case.
    """

    def __init__(
        self,
        folder: Path,
        sample_rate_hz: float,
        channels: Sequence[str],
        *,
        before: int = 8,
        after: int = 8,
        most_files: int = 16,
        most_bytes: float = 64e6,
    ) -> None:
        self._folder, self._rate, self._channels = folder, sample_rate_hz, tuple(channels)
        self._before, self._after = before, after
        self._most_files, self._most_bytes = most_files, most_bytes
        self._recent: deque[_Window] = deque()
        self._open: list[_Window] = []
        self._path: Path | None = None
        self._missing = 0
        for draft in folder.glob("*.new"):  # of a process that was killed while it wrote
            draft.unlink(missing_ok=True)

    def add(self, number: int, samples: Array, at: float | None = None, score: float | None = None) -> None:
        """Remember window ``number``: samples float32 (window, channels), Unix time (s) of its start, its score.

        Samples that are not finite make a file that cannot be scored again: leave such windows out.
        """
        window = _Window(number, samples.copy(), math.nan if at is None else at, math.nan if score is None else score)
        limit = max(1, MOST_MEMORY // (2 * window.samples.nbytes))
        self._recent.append(window)
        while len(self._recent) > min(self._before, limit):
            self._recent.popleft()
        if self._path is not None:
            self._open.append(window)
            self._missing = min(self._missing, limit) - 1
            if self._missing <= 0:
                self.close()

    def keep(self, name: str) -> bool:
        """An alarm: write what is remembered to ``name``.npz; False where there is nothing or it cannot be written."""
        self.close()
        path = self._folder / f"{name}.npz"
        self._open = list(self._recent)
        if not self._open or not self._most_files or not self._write(path):
            return False
        if self._after:
            self._path, self._missing = path, self._after
        return True

    def close(self) -> None:
        """Finish the file under way with the windows that have come so far."""
        if self._path is not None and self._missing < self._after:
            self._write(self._path)
        self._path, self._open = None, []

    def _write(self, path: Path) -> bool:
        data = self._packed()
        try:
            newest = self._make_room(path, len(data))
            atomic_write(path, data)
            if path.stat().st_mtime_ns <= newest:  # the oldest is told by time: a clock set back must not matter
                os.utime(path, ns=(newest + 1, newest + 1))
        except (StorageError, OSError) as error:
            log.warning("the windows around the alarm are not kept: %s", error)
            return False
        return True

    def _packed(self) -> bytes:
        windows, file = self._open, io.BytesIO()
        np.savez(
            file,
            x=np.stack([window.samples for window in windows]),
            first_window=np.int64(windows[0].number),
            at=np.array([window.at for window in windows]),
            score=np.array([window.score for window in windows], np.float32),
            sample_rate_hz=np.float64(self._rate),
            channels=np.array(self._channels),
        )
        return file.getvalue()

    def _make_room(self, path: Path, size: int) -> int:
        """Remove the oldest files for ``path`` to come with ``size`` bytes; the time (ns) of the newest one left."""
        found = [(file.stat(), file) for file in self._folder.glob("*.npz") if file != path]
        files = sorted(((stat.st_mtime_ns, stat.st_size, file) for stat, file in found), reverse=True)
        total = size
        for number, (_, taken, file) in enumerate(files, 2):
            total += taken
            if number > self._most_files or total > self._most_bytes:
                file.unlink()
        return files[0][0] if files else 0
