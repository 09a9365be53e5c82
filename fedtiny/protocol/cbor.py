"""The CBOR (RFC 8949) that our messages are made of: maps with text keys, arrays, numbers, strings; nothing else.

Bytes from the network are hostile, and a general decoder builds whatever a few of them claim: a fraction that takes
hours to reduce, a decimal of a gigabyte, millions of empty lists. This one knows no tags and no streams, and counts.
"""

import struct
from typing import Any

DEEPEST, MOST_ITEMS = 8, 4096
CONSTANTS = {20: False, 21: True, 22: None}
FLOATS = {25: ">e", 26: ">f", 27: ">d"}


def loads(data: bytes) -> Any:
    """The one item that ``data`` holds; ValueError when it holds anything else."""
    decoder = _Decoder(data)
    value = decoder.item(DEEPEST)
    if decoder.at != len(data):
        raise ValueError(f"{len(data) - decoder.at} bytes behind its end")
    return value


class _Decoder:
    def __init__(self, data: bytes) -> None:
        self.data, self.at, self.left = data, 0, MOST_ITEMS

    def take(self, size: int) -> bytes:
        if size > len(self.data) - self.at:
            raise ValueError(f"ends at byte {len(self.data)}, {size} more expected at byte {self.at}")
        self.at += size
        return self.data[self.at - size : self.at]

    def item(self, depth: int) -> Any:
        self.left -= 1
        if depth < 0 or self.left < 0:
            raise ValueError(f"nested deeper than {DEEPEST} or more than {MOST_ITEMS} items")
        kind, size = divmod(self.take(1)[0], 32)
        if kind == 7 and size in FLOATS:
            return struct.unpack(FLOATS[size], self.take(1 << (size - 24)))[0]
        if kind == 7 and size in CONSTANTS:
            return CONSTANTS[size]
        if kind > 5 or size > 27:
            raise ValueError(f"a tag, an indefinite length or a special value at byte {self.at - 1}")
        argument = size if size < 24 else int.from_bytes(self.take(1 << (size - 24)), "big")
        match kind:
            case 0:
                return argument
            case 1:
                return -1 - argument
            case 2:
                return self.take(argument)
            case 3:
                return self.take(argument).decode()
            case 4:
                return [self.item(depth - 1) for _ in range(argument)]
        return {self.key(): self.item(depth - 1) for _ in range(argument)}

    def key(self) -> str:
        if self.data[self.at : self.at + 1] < b"\x60" or self.data[self.at] > 0x7F:
            raise ValueError(f"a key of a map that is not text at byte {self.at}")
        return str(self.item(0))
