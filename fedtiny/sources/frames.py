r"""The bytes of a stream -> samples: lines of CSV, or binary frames.

A binary frame, little-endian::

    b"FT"   uint8 version   uint8 channels   uint16 seq   uint16 count   samples   uint16 CRC

version 1: float32 samples, physical units; 2: int16, times the configured scale. ``count`` samples, the channels of
each side by side. ``seq`` counts frames, modulo 65,536. The CRC is CRC-16/CCITT-FALSE (polynomial 0x1021, from
0xFFFF, not reflected) over all before it. Bytes that are no frame are passed over to the next one.
"""

import struct
from binascii import crc_hqx
from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np

from fedtiny.signal.recording import Samples

Piece = tuple[Samples, str]  # samples (n, channels), and what was lost right before them
MAGIC, HEADER, CRC = b"FT", struct.Struct("<2sBBHH"), struct.Struct("<H")
TYPES: dict[int, np.dtype[Any]] = {1: np.dtype("<f4"), 2: np.dtype("<i2")}
MAX_VALUES = 16_384  # of a frame: samples times channels
MAX_LINE = 4096
_BLANKS = bytes.maketrans(b",;\t\r", b"    ")


class Decoder(Protocol):
    """Bytes in, pieces out, in order; what is incomplete is kept for the next call."""

    def feed(self, data: bytes) -> Iterator[Piece]:
        """The samples that are complete with ``data``."""


class CsvLines:
    """A sample a line, its values between commas, semicolons, tabs or blanks; a header is passed over.

    Args:
        channels: Values of a line.
        joined: The stream was joined somewhere: its first line may lack its beginning, and is not used.
    """

    def __init__(self, channels: int, *, joined: bool) -> None:
        self._channels, self._rest = channels, b""
        self._first, self._joined = True, joined

    def feed(self, data: bytes) -> Iterator[Piece]:
        """The samples of all lines that end in ``data``."""
        *lines, self._rest = (self._rest + data).translate(_BLANKS).split(b"\n")
        if len(self._rest) > MAX_LINE:
            lines, self._rest = [*lines, self._rest], b""
        if lines and self._first:
            self._first = False
            if self._joined or not self._numbers(lines[:1]).size:
                del lines[0]
        rows = [line for line in lines if line.strip()]
        values = self._numbers(rows)
        if len(values) == len(rows):
            if rows:
                yield values, ""
            return
        bad = 0
        for row in rows:  # rare: find the lines to blame
            values = self._numbers([row])
            bad += not len(values)
            if len(values):
                yield values, self._blame(bad)
                bad = 0
        if bad:
            yield np.empty((0, self._channels), np.float32), self._blame(bad)

    def _numbers(self, rows: list[bytes]) -> Samples:
        """(n, channels), all of ``rows`` or none."""
        try:
            with np.errstate(over="ignore"):
                values = np.array([row.split() for row in rows], np.float32)
        except (ValueError, UnicodeDecodeError):
            values = np.empty((0, 0), np.float32)
        return values if values.shape == (len(rows), self._channels) else np.empty((0, self._channels), np.float32)

    def _blame(self, bad: int) -> str:
        expected = f"expected {self._channels} numbers"
        return f"dropped: {bad} line{'' if bad == 1 else 's'} cannot be read, {expected}" if bad else ""


class BinaryFrames:
    """Frames as at the top of this file.

    Args:
        channels: Of a frame; frames with another number are no frames.
        scale: Physical units of a step of int16.
    """

    def __init__(self, channels: int, *, scale: float) -> None:
        self._channels, self._scale = channels, np.float32(scale)
        self._rest = bytearray()
        self._next: int | None = None  # the seq that is due
        self._damage = 0  # bytes passed over

    def feed(self, data: bytes) -> Iterator[Piece]:
        """The samples of all frames that end in ``data``."""
        self._rest += data
        while (size := self._sync()) and len(self._rest) >= size:
            frame = bytes(self._rest[:size])
            if crc_hqx(frame[: -CRC.size], 0xFFFF) != CRC.unpack_from(frame, size - CRC.size)[0]:
                self._skip(1)
                continue
            del self._rest[:size]
            _, version, channels, seq, count = HEADER.unpack_from(frame)
            values = np.frombuffer(frame, TYPES[version], count * channels, HEADER.size).reshape(count, channels)
            samples = values.astype(np.float32) if version == 1 else values * self._scale
            fault = self._gap(seq)
            self._next, self._damage = (seq + 1) % 65_536, 0
            yield samples, fault

    def _sync(self) -> int:
        """Bytes of the frame that the buffer begins with, once it begins with one; 0: not enough is there to tell."""
        while True:
            at = self._rest.find(MAGIC)
            if at < 0:  # its first byte may be the last here
                self._skip(len(self._rest) - self._rest.endswith(MAGIC[:1]))
                return 0
            self._skip(at)
            if len(self._rest) < HEADER.size:
                return 0
            _, version, channels, _, count = HEADER.unpack_from(self._rest)
            if version in TYPES and channels == self._channels and 0 < count * channels <= MAX_VALUES:
                return int(HEADER.size + count * channels * TYPES[version].itemsize + CRC.size)
            self._skip(1)

    def _skip(self, size: int) -> None:
        self._damage += size
        del self._rest[:size]

    def _gap(self, seq: int) -> str:
        """What is missing before frame ``seq``; before the first frame nothing is."""
        missing = 0 if self._next is None else (seq - self._next) % 65_536
        damage = f" ({self._damage} damaged bytes)" if self._damage else ""
        if missing >= 32_768:
            return f"dropped: frame {seq} came where {self._next} was due{damage}"
        return f"dropped: {missing} frame{'' if missing == 1 else 's'} missing{damage}" if missing else ""
