"""What a process and all that it starts cost: memory by what is shared fairly (PSS) and by what is resident (RSS), CPU.

PSS divides a page by the processes that map it, RSS counts it for each. MB are 10^6 bytes.
"""

import contextlib
import threading
from dataclasses import dataclass
from types import TracebackType

import psutil

EVERY_S = 0.25


@dataclass(frozen=True)
class Memory:
    """Of all processes of a tree at one time, and how many these were."""

    pss_mb: float = 0.0
    rss_mb: float = 0.0
    processes: int = 0

    def most(self, other: "Memory") -> "Memory":
        """The larger of each."""
        return Memory(*(max(a, b) for a, b in zip(self.__dict__.values(), other.__dict__.values(), strict=True)))


class Tree:
    """The process ``pid`` and its descendants; as a context manager it looks for the ``peak`` four times a second."""

    def __init__(self, pid: int) -> None:
        self._root = psutil.Process(pid)
        self.peak = Memory()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "Tree":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def members(self) -> list[psutil.Process]:
        """Those that live now."""
        return [self._root, *self._root.children(recursive=True)]

    def memory(self) -> Memory:
        """Now."""
        found = []
        for process in self.members():
            with contextlib.suppress(psutil.Error):  # it has ended meanwhile
                found.append(process.memory_full_info())
        return Memory(sum(one.pss for one in found) / 1e6, sum(one.rss for one in found) / 1e6, len(found))

    def cpu_s(self) -> float:
        """Of all that live and of all that have ended, since the tree began."""
        total = 0.0
        for process in self.members():
            with contextlib.suppress(psutil.Error):
                total += sum(process.cpu_times()[:4])  # own user and system, then those of ended children
        return total

    def _watch(self) -> None:
        while not self._stop.wait(EVERY_S):
            with contextlib.suppress(psutil.Error):
                self.peak = self.peak.most(self.memory())


def end(pids: list[int], within_s: float = 10.0) -> None:
    """End processes and all that they have started: asked first, killed when that is not enough."""
    members = []
    for pid in pids:
        with contextlib.suppress(psutil.Error):
            members += Tree(pid).members()
    for process in members:
        with contextlib.suppress(psutil.Error):
            process.terminate()
    _, alive = psutil.wait_procs(members, timeout=within_s)
    for process in alive:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(alive, timeout=within_s)
