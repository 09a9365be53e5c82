"""What processes cost while they work: CPU seconds and memory, looked at twenty times a second."""

import threading
import time
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from types import TracebackType

import psutil

EVERY_S = 0.05


class Meter:
    """Watches groups of processes from __enter__ to __exit__; MB are 10^6 bytes.

    groups: process ids by name.
    """

    def __init__(self, groups: Mapping[str, Sequence[int]]) -> None:
        self._groups = {name: [psutil.Process(pid) for pid in pids] for name, pids in groups.items()}
        self._times: list[float] = []
        self._cpu: dict[str, list[float]] = {name: [] for name in groups}
        self.peak_mb = dict.fromkeys(groups, 0.0)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "Meter":
        self._look()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def cpu_s(self, name: str, begin: float, end: float) -> float:
        """CPU seconds of a group between two times of time.monotonic(), exact to ``EVERY_S``."""
        return self._until(name, end) - self._until(name, begin)

    def memory_mb(self, name: str) -> dict[str, float]:
        """RSS and PSS of a group now."""
        now = [process.memory_full_info() for process in self._groups[name]]
        return {"rss_mb": sum(one.rss for one in now) / 1e6, "pss_mb": sum(one.pss for one in now) / 1e6}

    def _until(self, name: str, when: float) -> float:
        return self._cpu[name][min(bisect_left(self._times, when), len(self._times) - 1)]

    def _watch(self) -> None:
        while not self._stop.wait(EVERY_S):
            try:
                self._look()
            except psutil.Error:  # one has ended: nothing is measured any more
                return

    def _look(self) -> None:
        found = {}
        for name, processes in self._groups.items():
            cpu = sum(sum(process.cpu_times()[:2]) for process in processes)
            found[name] = cpu, sum(process.memory_info().rss for process in processes) / 1e6
        for name, (cpu, memory) in found.items():
            self._cpu[name].append(cpu)
            self.peak_mb[name] = max(self.peak_mb[name], memory)
        self._times.append(time.monotonic())
