"""Just enough of the FlatBuffers format to find a TFLite model's dense layers and metadata in its bytes.

A table is an offset; its fields are looked up through its vtable by their number in TensorFlow's schema.fbs. All
offsets come from a file that may be truncated or hostile: every read is bounds-checked and fails as ReleaseError.
"""

import struct
from collections.abc import Iterator

from fedtiny.errors import ReleaseError

MODEL_CODES, MODEL_SUBGRAPHS, MODEL_BUFFERS, MODEL_METADATA = 1, 2, 4, 6
GRAPH_TENSORS, GRAPH_INPUTS, GRAPH_OUTPUTS, GRAPH_OPERATORS = 0, 1, 2, 3
TENSOR_SHAPE, TENSOR_TYPE, TENSOR_BUFFER, TENSOR_NAME, TENSOR_QUANTIZATION = 0, 1, 2, 3, 4
QUANT_SCALE, QUANT_ZERO_POINT = 2, 3
OP_CODE, OP_INPUTS, OP_OUTPUTS, OP_OPTIONS = 0, 1, 2, 4
CODE_DEPRECATED, CODE_BUILTIN = 0, 3
METADATA_NAME, METADATA_BUFFER = 0, 1
TYPE_INT8 = 9


MOST_TABLES, MOST_DIMENSIONS, LONGEST_NAME = 4096, 64, 1024


class Reader:
    """Reads tables and vectors of one FlatBuffer."""

    def __init__(self, data: bytes | bytearray) -> None:
        if len(data) < 32 or data[4:8] != b"TFL3":
            raise ReleaseError("not a TFLite file: the identifier 'TFL3' is missing")
        self.data = data
        self.root = self._u32(0)

    def _unpack(self, code: str, at: int) -> int | float:
        try:
            if at < 0:
                raise struct.error
            return struct.unpack_from("<" + code, self.data, at)[0]
        except struct.error:
            raise ReleaseError(
                f"truncated or damaged TFLite file: an offset points to byte {at}, but it has {len(self.data)}"
            ) from None

    def _u32(self, at: int) -> int:
        return int(self._unpack("I", at))

    def _field(self, table: int, number: int) -> int:
        """Offset of a field, or 0 where the table lacks it."""
        vtable = table - int(self._unpack("i", table))
        slot = 4 + 2 * number
        if slot >= int(self._unpack("H", vtable)):
            return 0
        offset = int(self._unpack("H", vtable + slot))
        return table + offset if offset else 0

    def scalar(self, table: int, number: int, code: str) -> int:
        """An integer field; 0 where it is absent (every field used here has that default)."""
        at = self._field(table, number)
        return int(self._unpack(code, at)) if at else 0

    def table(self, table: int, number: int) -> int | None:
        """Offset of a sub-table, or None."""
        at = self._field(table, number)
        return at + self._u32(at) if at else None

    def vector(self, table: int, number: int, width: int) -> tuple[int, int]:
        """(offset of the first element, number of elements of ``width`` bytes); (0, 0) where absent."""
        at = self._field(table, number)
        if not at:
            return 0, 0
        start = at + self._u32(at)
        count = self._u32(start)
        if start + 4 + count * width > len(self.data):
            raise ReleaseError(
                f"truncated or damaged TFLite file: a vector ends at byte {start + 4 + count * width}, "
                f"but it has {len(self.data)}"
            )
        return start + 4, count

    def _short(self, table: int, number: int, width: int, most: int) -> tuple[int, int]:
        """A vector of at most ``most`` elements: many tables of a hostile file may share one huge vector."""
        start, count = self.vector(table, number, width)
        if count > most:
            raise ReleaseError(f"not a dense autoencoder or damaged: a list of {count}, at most {most} expected")
        return start, count

    def tables(self, table: int, number: int) -> Iterator[int]:
        """Offsets of the tables in a vector of tables."""
        start, count = self._short(table, number, 4, MOST_TABLES)
        for i in range(count):
            at = start + 4 * i
            yield at + self._u32(at)

    def ints(self, table: int, number: int, code: str = "i") -> tuple[int, ...]:
        """A vector of integers."""
        start, count = self._short(table, number, struct.calcsize(code), MOST_DIMENSIONS)
        return struct.unpack_from(f"<{count}{code}", self.data, start) if count else ()

    def text(self, table: int, number: int) -> str:
        """A string field."""
        start, count = self._short(table, number, 1, LONGEST_NAME)
        return bytes(self.data[start : start + count]).decode("utf-8", "replace")
