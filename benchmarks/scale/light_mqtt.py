"""As much of MQTT 3.1.1 as a light device needs, without I/O: packets to bytes, and bytes to packets.

paho serves one connection a client object and waits with select(), which ends at some 340 of them in a process.
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

CONNACK, PUBLISH, PUBACK, SUBACK = 2, 3, 4, 9
REFUSED = 0x80  # a subscription, in the payload of a SUBACK


@dataclass(frozen=True)
class Packet:
    """One packet of the broker. qos, topic: of a PUBLISH. number: 0 where it has none. payload: what is behind it."""

    kind: int
    number: int = 0
    qos: int = 0
    topic: str = ""
    payload: bytes = b""


def connect(client_id: str, *, clean: bool) -> bytes:
    """CONNECT without a keep-alive, without a will."""
    return _packet(0x10, _text("MQTT") + bytes([4, 2 if clean else 0, 0, 0]) + _text(client_id))


def subscribe(number: int, filters: Sequence[tuple[str, int]]) -> bytes:
    """SUBSCRIBE to (filter, QoS) pairs."""
    return _packet(0x82, struct.pack(">H", number) + b"".join(_text(name) + bytes([qos]) for name, qos in filters))


def publish(topic: str, payload: bytes, number: int, *, retain: bool = False) -> bytes:
    """PUBLISH with QoS 1."""
    return _packet(0x32 | retain, _text(topic) + struct.pack(">H", number) + payload)


def puback(number: int) -> bytes:
    """PUBACK."""
    return _packet(0x40, struct.pack(">H", number))


class Reader:
    """Puts packets together from the pieces in which they come."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._missing = 2  # bytes without which there is no packet

    def feed(self, data: bytes) -> Iterator[Packet]:
        """The packets that are complete with ``data``; ValueError for bytes that are no MQTT."""
        self._pieces.append(data)
        self._missing -= len(data)
        if self._missing > 0:
            return
        data, at = b"".join(self._pieces), 0
        while True:
            start, size = _header(data, at)
            if start + size > len(data):
                break
            yield _read(data[at], data[start : start + size])
            at = start + size
        self._pieces, self._missing = [data[at:]], start + size - len(data)


def _header(data: bytes, at: int) -> tuple[int, int]:
    """Where the body of the packet at ``at`` begins and its length; two bytes at least while that is not known."""
    size = 0
    for place in range(4):
        if at + 1 + place >= len(data):
            return at + 1 + place, 1
        byte = data[at + 1 + place]
        size |= (byte & 127) << 7 * place
        if byte < 128:
            return at + 2 + place, size
    raise ValueError(f"a length of more than four bytes at byte {at}")


def _read(first: int, body: bytes) -> Packet:
    kind, qos = first >> 4, first >> 1 & 3
    if kind != PUBLISH:
        return Packet(kind, 0 if kind == CONNACK else int.from_bytes(body[:2], "big"), payload=body[2:])
    end = 2 + int.from_bytes(body[:2], "big")
    number = int.from_bytes(body[end : end + 2], "big") if qos else 0
    return Packet(kind, number, qos, body[2:end].decode(), body[end + 2 * (qos > 0) :])


def _packet(first: int, body: bytes) -> bytes:
    length, size = b"", len(body)
    while True:
        size, low = divmod(size, 128)
        length += bytes([low | (0x80 if size else 0)])
        if not size:
            return bytes([first]) + length + body


def _text(text: str) -> bytes:
    data = text.encode()
    return struct.pack(">H", len(data)) + data
