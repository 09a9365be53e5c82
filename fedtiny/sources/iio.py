"""A Linux IIO accelerometer through buffered capture: sysfs sets it up, /dev/iio:deviceN gives the scans.

Written for the kernel's files rather than on libiio: its Python package is a shell around a C library that pip does
not bring, for what here is a dozen small files. Unit: m/s2, as the kernel's ABI states it.
"""

import logging
import os
import select
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fedtiny.errors import DataError
from fedtiny.signal.checks import reason
from fedtiny.signal.recording import IDLE_S, Recording, Samples
from fedtiny.sources.chunks import Chunks, limit_of
from fedtiny.sources.iio_sysfs import SYSFS, TIMESTAMP, Buffer, find_device, set_up
from fedtiny.sources.rate import RateCheck

DEV = Path("/dev")
BUFFER_S = 4.0  # what the kernel keeps for us while we are busy
RETRY_S = 5.0
GAP = 1.75  # usual intervals between two timestamps: something is missing
ENOUGH = 8  # intervals, to tell which one is usual

log = logging.getLogger(__name__)
Indices = NDArray[np.int64]


class Iio:
    """One accelerometer. It never ends; a device that goes away is set up again when it is back.

    Args:
        device: Its name, as in the file ``name`` ("adxl345"), or its folder's ("iio:device0").
        sample_rate_hz: Asked of the device; refused where the device does not offer it.
        channels: Axes ("x"), or names of scan elements ("in_accel_x").
        trigger: For a device that has none of its own; None leaves it as it is.
        sysfs: Folder of the devices.
        dev: Folder of the device nodes.
    """

    live = True

    def __init__(
        self,
        device: str,
        sample_rate_hz: float,
        channels: tuple[str, ...],
        *,
        trigger: str | None = None,
        sysfs: Path = SYSFS,
        dev: Path = DEV,
    ) -> None:
        self.name = f"iio {device}"
        self.sample_rate_hz, self.channels = sample_rate_hz, channels
        self._device, self._trigger, self._sysfs, self._dev = device, trigger, sysfs, dev
        self.rate = RateCheck(self.name, sample_rate_hz)
        self._node, self._buffer = self._set_up()

    def recordings(self, after: str = "") -> Iterator[Recording | None]:
        """The stream from now on; a cursor means nothing here. DataError where the rate is past its limit."""
        chunks = Chunks(self.name, self.sample_rate_hz, self.channels)
        while True:
            try:
                fd = os.open(self._node, os.O_RDONLY | os.O_NONBLOCK)
                try:
                    with self._buffer.enabled():
                        yield from self._read(fd, chunks)
                finally:
                    os.close(fd)
            except OSError as error:
                log.warning("%s: %s; trying again", self.name, reason(error))
                yield from chunks.add(self._empty(), f"disconnected: {reason(error)}")
                yield from chunks.flush()
            yield from self._come_back()

    def close(self) -> None:
        """The capture ends with the iterator."""

    def _set_up(self) -> tuple[Path, Buffer]:
        folder = find_device(self._device, self._sysfs)
        buffer = set_up(
            folder,
            self.sample_rate_hz,
            self.channels,
            scans=max(2, int(BUFFER_S * self.sample_rate_hz)),
            watermark=limit_of(self.sample_rate_hz),
            trigger=self._trigger,
        )
        node = self._dev / folder.name
        if not os.access(node, os.R_OK):
            raise DataError(f"{node}: not there or not to be read by this user, expected the device of {folder}")
        return node, buffer

    def _come_back(self) -> Iterator[None]:
        """Wait until the device is there and set up again."""
        while True:
            until = time.monotonic() + RETRY_S
            while (left := until - time.monotonic()) > 0:
                time.sleep(min(left, IDLE_S))
                yield None
            try:
                self._node, self._buffer = self._set_up()
            except DataError as error:
                log.debug("%s: %s", self.name, error)
                continue
            self.rate.restart()
            return

    def _read(self, fd: int, chunks: Chunks) -> Iterator[Recording | None]:
        layout, rest, last, full = self._buffer.layout, b"", None, ""
        while True:
            if not select.select([fd], [], [], IDLE_S)[0]:
                yield from chunks.flush()
                yield None
                continue
            try:
                data = os.read(fd, self._buffer.scans * layout.size)
            except BlockingIOError:
                continue
            if not data:
                raise OSError("the device has ended the capture")
            now = time.monotonic()
            whole = len(rest + data) // layout.size * layout.size
            data, rest = (rest + data)[:whole], (rest + data)[whole:]
            if not data:
                continue
            samples = layout.values(data, self._buffer.elements)
            stamps = layout.integers(data, TIMESTAMP) if self._buffer.timed else np.zeros(len(samples), np.int64)
            intervals = np.diff(stamps, prepend=stamps[0] if last is None else last)
            usual = float(np.median(intervals)) if len(intervals) >= ENOUGH else 1e9 / self.sample_rate_hz
            if self._buffer.timed and usual > 0:
                gaps = np.flatnonzero(intervals > GAP * usual)
                self.rate.timed(np.delete(intervals, gaps if last is not None else [0, *gaps]))
                yield from _split(chunks, samples, gaps, np.rint(intervals[gaps] / usual).astype(int) - 1)
            else:  # no timestamps, or a driver that stamps a whole burst alike
                self.rate.untimed(len(samples), now)
                yield from chunks.add(samples, full)
                full = ""
                if len(samples) >= self._buffer.scans:
                    full = "dropped: the kernel's buffer was full"
                    self.rate.restart()
            last = int(stamps[-1])

    def _empty(self) -> Samples:
        return np.empty((0, len(self.channels)), np.float32)


def _split(chunks: Chunks, samples: Samples, gaps: Indices, missing: Indices) -> Iterator[Recording]:
    """Samples with something missing before those at ``gaps``."""
    fault, start = "", 0
    for at, count in zip(gaps.tolist(), missing.tolist(), strict=True):
        yield from chunks.add(samples[start:at], fault)
        fault, start = f"dropped: {count} sample{'' if count == 1 else 's'} missing", at
    yield from chunks.add(samples[start:], fault)
