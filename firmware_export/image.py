"""Head images: a head revision as a microcontroller takes it at run time.

A binary with the last layer's numbers in the order of the C kernels, so that it is used where it lies, in RAM or in a
page of flash. Made on a gateway or a server from a head as the coordinator publishes it; ``runtime/fedtiny_head.h`` has
the format byte by byte. A signature is Ed25519 (RFC 8032) over all before it, which begins with MAGIC: what is signed
as a head image is good as nothing else.
"""

import base64
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
from numpy.typing import NDArray

from fedtiny.errors import ProtocolError, ReleaseError
from fedtiny.model.artifact import Release
from fedtiny.model.head import Head
from fedtiny.protocol import codec, signing, topics
from fedtiny.protocol.messages import HeadMessage
from fedtiny.revision import from_message
from firmware_export.network import read_network
from firmware_export.packing import COLUMNS, ROWS, packed_layer, padded
from firmware_export.rounding import Profile

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

MAGIC, FORMAT = b"fedtiny/v1 head image\0", 1
HEADER = struct.Struct("<22sHII32sHHBBBbbbxx4sI8x")  # and its CRC-32
CRC = struct.Struct("<I")
HEADER_BYTES, SIGNATURE_BYTES = HEADER.size + CRC.size, 64
ALIGN = 16  # bytes, of sections
LARGEST_REVISION = 2**32 - 1
PROFILES: tuple[Profile, ...] = get_args(Profile)
STEP_BITS = 24  # fraction bits of the output's step in fixed point


@dataclass(frozen=True)
class Image:
    """What is in a head image. step: of the output, in standardised features; arrays are padded as in fedtiny_nn.h.

    bias int32, multiplier int32 (float32 under xnn), shift int8: a row each. weights int8: in blocks. machine: what an
    agent has learned of its machine under this head, or nothing. signature: 64 bytes, or None; not verified.
    """

    release_id: str
    revision: int
    profile: Profile
    fixed_point: bool
    inputs: int
    outputs: int
    zero_point: int
    low: int
    high: int
    step: float
    bias: NDArray[Any]
    multiplier: NDArray[Any]
    shift: NDArray[np.int8]
    weights: NDArray[np.int8]
    machine: bytes
    signature: bytes | None


def write_image(
    release: Release,
    head: Head,
    revision: int,
    profile: Profile,
    *,
    fixed_point: bool,
    machine: bytes = b"",
    key: "Ed25519PrivateKey | None" = None,
) -> bytes:
    """``head`` of ``release`` as an image for firmware of this rounding and number type, signed where there is a key.

    machine: a machine section learned under this very head, from ``firmware_export.machine.machine_bytes``. Raises
    ReleaseError where the head does not fit the release or cannot be computed in 32 bits.
    """
    if not 0 <= revision <= LARGEST_REVISION:
        raise ReleaseError(f"head: revision {revision}, expected 0 to {LARGEST_REVISION} in a head image")
    layer = read_network(release.patched(head), f"revision {revision}").layers[-1]
    packed = packed_layer(layer, profile)
    numbers = (packed.bias, packed.multiplier, packed.shift, packed.weights)
    body = b"".join(_section(content) for content in (*(part.tobytes() for part in numbers), machine))
    covered = HEADER_BYTES + len(body) + CRC.size
    header = HEADER.pack(
        MAGIC,
        FORMAT,
        covered + (SIGNATURE_BYTES if key else 0),
        revision,
        bytes.fromhex(release.id),
        layer.inputs,
        layer.outputs,
        PROFILES.index(profile),
        fixed_point,
        key is not None,
        layer.out_zero,
        packed.low,
        packed.high,
        _step(float(layer.out_scale), fixed_point=fixed_point),
        len(machine),
    )
    image = _checked(_checked(header) + body)
    return image + key.sign(image) if key else image


def read_image(data: bytes, keys: Sequence[str] = ()) -> Image:
    """The image in ``data``, checked. ReleaseError says what is wrong with it.

    keys: Ed25519 public keys, 32 bytes in base64; where there are any, one of them must have signed.
    """
    if data[: len(MAGIC)] != MAGIC or len(data) < HEADER_BYTES:
        raise ReleaseError(f"head image: {len(data)} bytes that do not begin like one")
    _check_crc(data[:HEADER_BYTES], "header")
    fields = HEADER.unpack_from(data)
    _, number, total, revision, release, inputs, outputs, rounding, fixed, signed, zero, low, high, step, extra = fields
    unknown = number != FORMAT or rounding >= len(PROFILES) or fixed > 1 or signed > 1 or low > high
    if unknown or not data.startswith(HEADER.pack(*fields)):  # which has zeros where nothing is said yet
        raise ReleaseError(f"head image: format {number}, or values in its header, that this version does not know")
    rows, columns = padded(outputs, ROWS), padded(inputs, COLUMNS)
    sizes = (4 * rows, 4 * rows, padded(rows, ALIGN), rows * columns, padded(extra, ALIGN))
    covered = HEADER_BYTES + sum(sizes) + CRC.size
    if not len(data) == total == covered + signed * SIGNATURE_BYTES:
        raise ReleaseError(f"head image: {len(data)} bytes, {total} stated, {covered} and its signature expected")
    _check_crc(data[:covered], "content")
    signature = data[covered:] if signed else None
    if keys and not _is_signed(data[:covered], signature, keys):
        raise ReleaseError("head image: signed by none of the keys")
    ends = np.cumsum((HEADER_BYTES, *sizes)).tolist()
    bias, multiplier, shift, weights, machine = (data[a:b] for a, b in pairwise(ends))
    profile = PROFILES[rounding]
    return Image(
        release_id=release.hex(),
        revision=revision,
        profile=profile,
        fixed_point=bool(fixed),
        inputs=inputs,
        outputs=outputs,
        zero_point=zero,
        low=low,
        high=high,
        step=int.from_bytes(step, "little") / 2**STEP_BITS if fixed else struct.unpack("<f", step)[0],
        bias=np.frombuffer(bias, "<i4"),
        multiplier=np.frombuffer(multiplier, "<f4" if profile == "xnn" else "<i4"),
        shift=np.frombuffer(shift, np.int8)[:rows],
        weights=np.frombuffer(weights, np.int8),
        machine=machine[:extra],
        signature=signature,
    )


def head_from_message(
    payload: bytes, release: Release, *, fleet: str | None = None, keys: Sequence[str] = ()
) -> tuple[Head, int]:
    """(head, revision) in a message from ``fedtiny/v1/<fleet>/global/head``, as any MQTT client saves it.

    keys: the coordinator's, as others pin them; where there are any, one of them must have signed for this ``fleet``.
    Raises ProtocolError for what is no such message, ReleaseError where it is of another release or does not fit.
    """
    if keys:
        if fleet is None:
            raise ProtocolError("head: its signature is good for one fleet alone: name the fleet")
        payload = signing.verify(topics.fleet_topic(fleet, "head"), payload, keys)
    message = codec.decode(HeadMessage, payload)
    if message.release_id != release.id:
        raise ReleaseError(f"head of release {message.release_id[:12]}, expected {release.id[:12]}")
    return from_message(message, release), message.revision


def _step(scale: float, *, fixed_point: bool) -> bytes:
    """The output's scale as the score takes it: float32, or fixed point in 2^-24, which must be below 128."""
    if not fixed_point:
        return struct.pack("<f", scale)
    step = max(round(scale * 2**STEP_BITS), 1)
    if step >= 2**31:
        raise ReleaseError(f"head: a step of its output is {scale:g}, at most 128 expected in fixed point")
    return struct.pack("<i", step)


def _section(content: bytes) -> bytes:
    return content.ljust(padded(len(content), ALIGN), b"\0")


def _checked(data: bytes) -> bytes:
    return data + CRC.pack(zlib.crc32(data))


def _check_crc(data: bytes, what: str) -> None:
    if _checked(data[: -CRC.size]) != data:
        raise ReleaseError(f"head image: damaged: its {what} does not match its checksum")


def _is_signed(data: bytes, signature: bytes | None, keys: Sequence[str]) -> bool:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    for key in keys if signature else ():
        try:
            Ed25519PublicKey.from_public_bytes(base64.b64decode(key)).verify(signature or b"", data)
            return True
        except InvalidSignature:
            continue
    return False
