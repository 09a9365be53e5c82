"""What the agent knows of its own process and of the computer that it runs on: CPU, memory, heat, disk.

Linux tells all of this in files. What it does not tell is None and never an error: health is reported, not relied on.
"""

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

TEMPERATURES = ("class/thermal/thermal_zone*/temp", "class/hwmon/hwmon*/temp*_input")
SHARE_S = 30.0  # shortest span that a share of CPU time is taken over
THROTTLED = "devices/platform/soc*/soc*:firmware/get_throttled"
# Bits of the Raspberry Pi firmware's answer (its documentation of vcgencmd get_throttled): now, and from 16 since boot.
TROUBLES = ("under-voltage", "frequency capped", "throttled", "soft temperature limit")


@dataclass(frozen=True)
class Health:
    """One measurement; None is not known. MB are 10^6 bytes.

    cpu_share: of one core, over the last span of ``SHARE_S`` or more that has ended. temperature_c: the hottest
    sensor, degrees Celsius. throttled_now, throttled_since_boot: which of ``TROUBLES``. state_bytes: content of the
    state folder.
    """

    cpu_share: float
    rss_mb: float | None
    peak_rss_mb: float | None
    temperature_c: float | None
    throttled_now: tuple[str, ...] | None
    throttled_since_boot: tuple[str, ...] | None
    disk_free_bytes: int | None
    state_bytes: int


class HealthMeter:
    """Measures this process and the disk under ``folder``; ``proc`` and ``sys`` are where the kernel's files stand."""

    def __init__(
        self, folder: Path, *, proc: Path = Path("/proc"), sys: Path = Path("/sys"), share_s: float = SHARE_S
    ) -> None:
        self._folder, self._status, self._share_s = folder, proc / "self/status", share_s
        self._temperatures = [path for pattern in TEMPERATURES for path in sys.glob(pattern)]
        self._throttled = next(iter(sys.glob(THROTTLED)), None)
        self._wall, self._cpu = time.monotonic(), time.process_time()
        self._share: float | None = None

    def measure(self) -> Health:
        """Measure now; takes about a quarter of a millisecond, and 10 us for each file in the state folder."""
        rss, peak = memory_mb(self._status)
        hot = [found / 1000 for path in self._temperatures if (found := _integer(path)) is not None]
        bits = _integer(self._throttled, 16) if self._throttled else None
        return Health(
            cpu_share=self._cpu_share(),
            rss_mb=rss,
            peak_rss_mb=peak,
            temperature_c=max(hot, default=None),
            throttled_now=None if bits is None else _troubles(bits),
            throttled_since_boot=None if bits is None else _troubles(bits >> 16),
            disk_free_bytes=disk_free(self._folder),
            state_bytes=folder_bytes(self._folder),
        )

    def _cpu_share(self) -> float:
        """However often and by whomever it is asked for: the span does not begin anew with each question."""
        wall, cpu = time.monotonic(), time.process_time()
        if self._share is None or wall - self._wall >= self._share_s:
            self._share = (cpu - self._cpu) / max(wall - self._wall, 1e-3)
            self._wall, self._cpu = wall, cpu
        return self._share


def memory_mb(status: Path = Path("/proc/self/status")) -> tuple[float | None, float | None]:
    """Resident memory of this process and its peak, in MB; None where the system does not tell."""
    try:
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
        now, peak = (int(lines[key].split()[0]) * 1024 / 1e6 for key in ("VmRSS", "VmHWM"))
    except (OSError, ValueError, KeyError, IndexError):
        return None, None
    return now, peak


def _integer(path: Path, base: int = 10) -> int | None:
    try:
        return int(path.read_text(), base)
    except (OSError, ValueError):  # a sensor that is asleep answers with an error
        return None


def _troubles(bits: int) -> tuple[str, ...]:
    return tuple(trouble for bit, trouble in enumerate(TROUBLES) if bits >> bit & 1)


def disk_free(folder: Path) -> int | None:
    """Bytes that are free on the disk of ``folder``; None where the system does not tell."""
    try:
        found = os.statvfs(folder)
    except OSError:
        return None
    return found.f_bavail * found.f_frsize


def folder_bytes(folder: Path) -> int:
    """Bytes of all files below ``folder``; those that vanish meanwhile are left out."""
    return sum(_sizes(folder))


def _sizes(folder: Path) -> Iterator[int]:
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                try:
                    if entry.is_dir(follow_symlinks=False):
                        yield from _sizes(Path(entry.path))
                    else:
                        yield entry.stat(follow_symlinks=False).st_size
                except OSError:
                    continue
    except OSError:
        return
