"""A folder that recordings are put into, read in the natural order of their names.

A file is read once its size and time of change have stood still for `SETTLE_S`; hidden ones and those ending in
``.part`` or ``.tmp`` are left alone until they are renamed. What cannot be read is tried once more, then passed over.
"""

import logging
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from fedtiny.errors import DataError
from fedtiny.signal.checks import listing, natural
from fedtiny.signal.files import FEMTO_TEMPERATURES, IMS_FILE, KINDS, ims_time, kinds, read_alone, skipped
from fedtiny.signal.recording import IDLE_S, Recording

MOST_BYTES = 64_000_000  # a recording is held in memory whole
SETTLE_S = 1.0
UNFINISHED = (".part", ".tmp")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Look:
    """What a file was like (size, time of change), since when, and whether reading it failed."""

    state: tuple[int, int]
    since: float
    failed: bool = False


class Folder:
    """Files of a folder, those there and those to come; it never ends.

    Args:
        path: The folder; folders in it are not entered.
        sample_rate_hz: Of every file; one that states another rate is unreadable.
        channels: Of every file; a CSV whose header names them may hold other columns too.
        poll_s: Seconds between two looks.

    Attributes:
        late: Files that came with a name before those already read; they are left out.
    """

    live = False

    def __init__(self, path: Path, sample_rate_hz: float, channels: tuple[str, ...], *, poll_s: float = 1.0) -> None:
        if path.is_file():
            raise DataError(f"{path}: a file, expected a folder")
        listing(path)  # raises where it is not there
        self._path, self._poll_s = path, poll_s
        self.name = f"folder {path.resolve()}"
        self.sample_rate_hz, self.channels = sample_rate_hz, channels
        self.late = 0
        self._last, self._done = "", 0  # the file last begun, and how many recordings it has given
        self._finished: set[str] = set()
        self._looks: dict[str, _Look] = {}
        self._ignored: set[str] = set()

    def recordings(self, after: str = "") -> Iterator[Recording | None]:
        """What the files hold; ``after`` is "2 b.npz" behind the second recording of b.npz, "all b.npz" behind it."""
        done, _, self._last = after.partition(" ")
        self._done = int(done) if done.isdecimal() else 0
        started = gone = False
        while True:
            try:
                fresh = self._fresh()
            except DataError as error:
                if not gone:
                    log.warning("%s", error)
                    cursor = f"{self._done} {self._last}" if self._last else ""
                    yield self._fault(self._path.name, f"disconnected: {error}", cursor)
                gone = True
            else:
                gone = False
                if not started:  # what is already there is not late: it was read before a restart
                    self._finished = {one for one in fresh if self._before(one) or (one, done) == (self._last, "all")}
                    fresh = [name for name in fresh if name not in self._finished]
                    started = True
                yield from self._read_settled(fresh)
            until = time.monotonic() + self._poll_s
            while (left := until - time.monotonic()) > 0:
                time.sleep(min(left, IDLE_S))
                yield None

    def close(self) -> None:
        """Nothing is held open."""

    def _fresh(self) -> list[str]:
        """Files that are not finished with, in natural order."""
        try:
            with os.scandir(self._path) as entries:
                names = {entry.name for entry in entries}
        except OSError as error:
            raise DataError(f"{self._path}: cannot be read ({error.strerror})") from None
        if names:  # an empty one may be a share that has gone for a while
            self._finished &= names
        return sorted(filter(self._wanted, names - self._finished), key=natural)

    def _wanted(self, name: str) -> bool:
        path = Path(name)
        if name.startswith(".") or name.endswith(UNFINISHED) or skipped(path) or FEMTO_TEMPERATURES.fullmatch(name):
            return False
        if path.suffix.lower() in KINDS or IMS_FILE.fullmatch(name):
            return True
        if path.suffix not in self._ignored:
            self._ignored.add(path.suffix)
            log.warning("%s: left alone, and all of its kind; expected %s files", self._path / name, kinds())
        return False

    def _before(self, name: str) -> bool:
        return natural(name) < natural(self._last)

    def _read_settled(self, fresh: list[str]) -> Iterator[Recording | None]:
        """New files in order, up to the first that is still being written."""
        for name in [name for name in fresh if self._before(name)]:
            self._finished.add(name)
            fresh.remove(name)
            self.late += 1
            log.warning("%s: came after %s was read and is left out", self._path / name, self._last)
        self._looks = {name: look for name in fresh if (look := self._look(name)) is not None}
        for name, look in self._looks.copy().items():
            if time.monotonic() - look.since < SETTLE_S:
                return
            if name != self._last:
                self._last, self._done = name, 0
            try:
                yield from self._read(name, look.state[1] / 1e9)
            except DataError as error:
                if not look.failed:  # perhaps it is still being written, slowly
                    self._looks[name] = _Look(look.state, time.monotonic(), failed=True)
                    return
                log.warning("%s", error)
                yield self._fault(name, f"unreadable: {error}", f"all {name}")
            self._finished.add(name)

    def _look(self, name: str) -> _Look | None:
        """What is known of a file now; None where it has gone."""
        try:
            found = (self._path / name).stat()
        except OSError:
            return None
        state, known = (found.st_size, found.st_mtime_ns), self._looks.get(name)
        return known if known is not None and known.state == state else _Look(state, time.monotonic())

    def _read(self, name: str, changed: float) -> Iterator[Recording]:
        at = ims_time(name) or changed
        if (size := (self._path / name).stat().st_size) > MOST_BYTES:
            raise DataError(
                f"{self._path / name}: {size} bytes, at most {MOST_BYTES} are read: cut it into shorter ones"
            )
        stretches = read_alone(self._path / name, self.channels, self.sample_rate_hz)
        for samples in islice(stretches, self._done, None):
            self._done += 1
            title = name if self._done == 1 else f"{name} snapshot {self._done}"
            yield Recording(title, samples, at=at, cursor=f"{self._done} {name}")

    def _fault(self, name: str, fault: str, cursor: str) -> Recording:
        return Recording(name, np.empty((0, len(self.channels)), np.float32), fault=fault, cursor=cursor)
