"""A stream of samples from a serial port or on the standard input."""

import logging
import os
import select
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Literal

import numpy as np

from fedtiny.signal.checks import package, reason
from fedtiny.signal.recording import IDLE_S, Recording
from fedtiny.sources.chunks import Chunks
from fedtiny.sources.frames import BinaryFrames, CsvLines, Decoder

BUFFER_BYTES = 1 << 20  # five seconds of two channels of float32 at 25.6 kHz
READ_BYTES = 65_536
MAX_BACKOFF_S = 30.0
Format = Literal["csv", "binary"]

log = logging.getLogger(__name__)


def _decoder(kind: Format, channels: int, scale: float, *, joined: bool) -> Decoder:
    return BinaryFrames(channels, scale=scale) if kind == "binary" else CsvLines(channels, joined=joined)


class Stdin:
    """What another program writes; a pipe that is not read for a while holds its writer up. Ends with the input.

    Args:
        sample_rate_hz: Of the stream.
        channels: Of the stream, in its order.
        kind: Lines of CSV or binary frames: see `fedtiny.sources.frames`.
        scale: Physical units of a step of int16 in binary frames.
        fd: The file descriptor to read.
    """

    live = True
    name = "stdin"

    def __init__(
        self,
        sample_rate_hz: float,
        channels: tuple[str, ...],
        kind: Format,
        *,
        scale: float = 1.0,
        fd: int | None = None,
    ) -> None:
        self.sample_rate_hz, self.channels = sample_rate_hz, channels
        self._decoder = _decoder(kind, len(channels), scale, joined=False)
        self._fd = sys.stdin.fileno() if fd is None else fd

    def recordings(self, after: str = "") -> Iterator[Recording | None]:
        """The stream from now on; a cursor means nothing here."""
        chunks = Chunks(self.name, self.sample_rate_hz, self.channels)
        while True:
            if not select.select([self._fd], [], [], IDLE_S)[0]:
                yield from chunks.flush()
                yield None
                continue
            data = os.read(self._fd, READ_BYTES)
            for samples, fault in self._decoder.feed(data or b"\n"):  # the last line may lack its end
                yield from chunks.add(samples, fault)
            if not data:
                yield from chunks.flush()
                return

    def close(self) -> None:
        """The standard input is left open."""


class Serial:
    """A sensor on a serial port. A port that goes away is opened again when it is back.

    A thread reads the port all the time, as the system keeps no more than some kilobytes for it.

    Args:
        port: Its name, such as /dev/ttyUSB0; better a link below /dev/serial/by-id, which stays the same.
        baud: Bits a second.
        sample_rate_hz: Of the stream.
        channels: Of the stream, in its order.
        kind: Lines of CSV or binary frames: see `fedtiny.sources.frames`.
        scale: Physical units of a step of int16 in binary frames.
    """

    live = True

    def __init__(
        self,
        port: str,
        baud: int,
        sample_rate_hz: float,
        channels: tuple[str, ...],
        kind: Format,
        *,
        scale: float = 1.0,
    ) -> None:
        self.name = f"serial {port}"
        self.sample_rate_hz, self.channels = sample_rate_hz, channels
        self._kind, self._scale = kind, scale
        serial = package("serial", "serial", f"{port}: a serial port")
        self._reader = _Reader(port, lambda: serial.Serial(port, baud, timeout=IDLE_S, exclusive=True))

    def recordings(self, after: str = "") -> Iterator[Recording | None]:
        """The stream from now on; a cursor means nothing here. Never ends."""
        self._reader.start()
        decoder = self._new_decoder()
        chunks = Chunks(self.name, self.sample_rate_hz, self.channels)
        empty = np.empty((0, len(self.channels)), np.float32)
        while True:
            item = self._reader.next(IDLE_S)
            if item is None:
                yield from chunks.flush()
                yield None
            elif isinstance(item, str):
                decoder = self._new_decoder()
                yield from chunks.add(empty, item)
                yield from chunks.flush()
            else:
                for samples, fault in decoder.feed(item):
                    yield from chunks.add(samples, fault)

    def close(self) -> None:
        """Close the port and end the thread."""
        self._reader.stop()

    def _new_decoder(self) -> Decoder:
        return _decoder(self._kind, len(self.channels), self._scale, joined=True)


class _Reader:
    """Reads a port into a bounded buffer; what happens to it comes out in its place, as text."""

    def __init__(self, name: str, open_port: Callable[[], Any]) -> None:
        self._name, self._open = name, open_port
        self._items: deque[bytes | str] = deque()
        self._bytes = self._lost = 0
        self._changed = threading.Condition()  # guards the above
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="serial", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(timeout=2.0)

    def next(self, timeout_s: float) -> bytes | str | None:
        """The oldest unread bytes or fault; None where nothing comes in time."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._items, timeout_s):
                return None
            item = self._items.popleft()
            self._bytes -= len(item)
            return item

    def _run(self) -> None:
        backoff, said = 0.5, False
        while not self._stopping.is_set():
            try:
                with self._open() as port:
                    if said:
                        log.info("%s: open again", self._name)
                    backoff, said = 0.5, False
                    while not self._stopping.is_set():
                        self._put(port.read(max(1, min(port.in_waiting, READ_BYTES))))
            except Exception as error:  # pyserial lets termios.error and ValueError through beside its own
                if not said:
                    log.warning("%s: %s; trying again", self._name, reason(error))
                    self._put(f"disconnected: {reason(error)}")
                said = True
            self._stopping.wait(backoff)
            backoff = min(2 * backoff, MAX_BACKOFF_S)

    def _put(self, item: bytes | str) -> None:
        if not item:
            return
        with self._changed:
            if isinstance(item, bytes) and self._bytes + len(item) > BUFFER_BYTES:
                self._lost += len(item)
                return
            if self._lost:
                self._append(f"dropped: {self._lost} bytes came while the buffer was full")
                self._lost = 0
            self._append(item)
            self._changed.notify()

    def _append(self, item: bytes | str) -> None:
        self._items.append(item)
        self._bytes += len(item)
