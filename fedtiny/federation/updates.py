"""What a device sends: its delta, or its sufficient statistics, as bytes.

delta = local - global, float32 (outputs, inputs + 1). On the wire a row is int8 with its own float32 step, the rows
one after the other behind all the steps, zlib over the whole. Statistics travel as float64, since float32 moves the
solution by 1e-4: the upper triangle of the symmetric Gram matrix, then the cross-product. Bytes from a device are
hostile until they are checked here.
"""

import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedtiny.errors import ProtocolError
from fedtiny.model.head import Statistics

Array = NDArray[np.float32]
LARGEST = 1e6  # of any number in an update, and of a statistic per window; standardised features are of order 1


def pack_delta(delta: Array) -> bytes:
    """Delta to bytes; a weight is off by at most half a step, 1/254 of its row's largest delta."""
    step = np.maximum(np.abs(delta).max(axis=1) / np.float32(127), np.float32(1e-12)).astype("<f4")
    q = np.rint(delta / step[:, None]).astype(np.int8)
    return zlib.compress(step.tobytes() + q.tobytes(), 9)


def unpack_delta(payload: bytes, shape: tuple[int, ...]) -> Array:
    """Bytes to a float32 delta of ``shape``; ProtocolError when they are not one."""
    rows, columns = shape
    raw = _inflate(payload, rows * (4 + columns))
    step = np.frombuffer(raw, "<f4", rows)
    _check(step, LARGEST, "step")
    q: Array = np.frombuffer(raw, np.int8, offset=4 * rows).reshape(shape).astype(np.float32)
    return q * step[:, None]


def pack_statistics(data: Statistics) -> bytes:
    """Statistics to bytes."""
    upper = data.gram[np.triu_indices(len(data.gram))]
    return zlib.compress(np.concatenate([upper, data.cross.ravel()]).astype("<f8").tobytes(), 9)


def unpack_statistics(payload: bytes, shape: tuple[int, ...], count: int) -> Statistics:
    """Bytes to the statistics of ``count`` windows for a head of ``shape`` (outputs, inputs + 1)."""
    outputs, inputs = shape
    triangle = inputs * (inputs + 1) // 2
    numbers = np.frombuffer(_inflate(payload, 8 * (triangle + inputs * outputs)), "<f8")
    _check(numbers, LARGEST * count, "statistic")
    gram = np.zeros((inputs, inputs))
    gram[np.triu_indices(inputs)] = numbers[:triangle]
    gram += np.triu(gram, 1).T
    if np.diag(gram).min() < 0:
        raise ProtocolError("update: a Gram matrix with a negative diagonal")
    return Statistics(gram, numbers[triangle:].reshape(inputs, outputs), count)


def _inflate(payload: bytes, size: int) -> bytes:
    """Decompress to exactly ``size`` bytes; never more, whatever the payload claims, nor from more than they take."""
    if len(payload) > size + size // 64 + 64:  # empty blocks: it would be kept as it is
        raise ProtocolError(f"update: payload of {len(payload)} bytes for {size}")
    try:
        inflater = zlib.decompressobj()
        raw = inflater.decompress(payload, size + 1)
    except zlib.error:
        raise ProtocolError("update: payload is not zlib data") from None
    if len(raw) != size or not inflater.eof or inflater.unused_data:
        raise ProtocolError(f"update: payload of {len(raw)} bytes or more, expected {size}")
    return raw


def _check(numbers: NDArray[np.floating[Any]], largest: float, what: str) -> None:
    if not np.isfinite(numbers).all() or np.abs(numbers).max() > largest:
        raise ProtocolError(f"update: a {what} that is not finite or beyond {largest:g}")
