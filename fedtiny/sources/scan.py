"""What lies in a Linux IIO buffer: scans, one sample of each enabled channel side by side.

The form of an element is told by its ``type`` file, such as ``le:s13/16>>3``: byte order, sign, valid bits, stored
bits, repeats (``X2``), shift. Elements lie in the order of their index, each aligned to its own size, the scan to its
largest element (Linux, Documentation/driver-api/iio/buffers.rst; iio_compute_scan_bytes in industrialio-buffer.c).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedtiny.errors import DataError

_TYPE = re.compile(r"(be|le):([su])(\d+)/(\d+)(?:X(\d+))?>>(\d+)")


@dataclass(frozen=True)
class Element:
    """One enabled channel of a scan; ``(raw + offset) * scale`` is in physical units."""

    name: str
    index: int
    big_endian: bool
    signed: bool
    bits: int
    stored: int
    repeat: int
    shift: int
    scale: float = 1.0
    offset: float = 0.0

    @classmethod
    def parse(cls, name: str, index: int, text: str, *, scale: float = 1.0, offset: float = 0.0) -> "Element":
        """From the text of its ``type`` file."""
        found = _TYPE.fullmatch(text.strip())
        if found is None:
            raise DataError(f"{name}: type {text.strip()!r}, expected one like le:s13/16>>3")
        order, sign, *numbers = found.groups()
        bits, stored, repeat, shift = (int(number or 1) for number in numbers)
        if stored not in (8, 16, 32, 64) or not 0 < bits <= stored - shift:
            raise DataError(f"{name}: type {text.strip()!r} holds {bits} bits in {stored}, shifted by {shift}")
        return cls(name, index, order == "be", sign == "s", bits, stored, max(repeat, 1), shift, scale, offset)

    @property
    def size(self) -> int:
        """Bytes in a scan."""
        return self.stored // 8 * self.repeat


class ScanLayout:
    """Where each element lies in a scan of ``size`` bytes."""

    def __init__(self, elements: Sequence[Element]) -> None:
        at = 0
        self._elements = {}
        places: list[tuple[str, str, int]] = []
        for one in sorted(elements, key=lambda one: one.index):
            at = _aligned(at, one.size)
            form = f"{'>' if one.big_endian else '<'}u{one.stored // 8}"
            places.append((one.name, form, at))
            self._elements[one.name] = one
            at += one.size
        self.size = _aligned(at, max(one.size for one in elements))
        names, forms, offsets = zip(*places, strict=True)
        self._dtype = np.dtype(
            {"names": list(names), "formats": list(forms), "offsets": list(offsets), "itemsize": self.size}
        )

    def integers(self, data: bytes, name: str) -> NDArray[np.int64]:
        """An element's raw values, (scans,), sign-extended; of a repeated element the first."""
        one = self._elements[name]
        raw = np.frombuffer(data, self._dtype)[name].astype(np.uint64) >> np.uint64(one.shift)
        unused = np.uint64(64 - one.bits)
        wide = raw << unused  # the valid bits to the top, then back down with the sign, or without
        return wide.view(np.int64) >> np.int64(unused) if one.signed else (wide >> unused).view(np.int64)

    def values(self, data: bytes, names: Sequence[str]) -> NDArray[np.float32]:
        """Elements in physical units, (scans, names)."""
        columns = []
        for name in names:
            one = self._elements[name]
            columns.append(((self.integers(data, name) + one.offset) * one.scale).astype(np.float32))
        return np.stack(columns, axis=1)


def _aligned(at: int, size: int) -> int:
    return -(-at // size) * size
