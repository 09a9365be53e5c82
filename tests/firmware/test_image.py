"""Head images as a gateway makes them: what goes in comes out, and what is wrong is refused by name."""

import dataclasses

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fedtiny.errors import ProtocolError, ReleaseError
from fedtiny.model.artifact import Release
from fedtiny.model.head import Head
from fedtiny.protocol import codec, signing, topics
from fedtiny.protocol.messages import Base
from fedtiny.revision import to_message
from firmware_export.image import MAGIC, head_from_message, read_image, write_image
from firmware_export.network import read_network
from firmware_export.packing import packed_layer

OURS, OTHERS = (Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32) for number in (1, 2))


@pytest.fixture
def head(release, rng) -> Head:
    """As a round might make it: every weight a little off."""
    weights = release.head.weights * rng.normal(1, 0.1, release.head.weights.shape).astype(np.float32)
    return Head(weights, release.head.output_min * 1.2, release.head.output_max * 0.9)


@pytest.mark.parametrize("profile", ["tflite", "tflm", "xnn"])
def test_round_trip(release, head, profile):
    machine = bytes(range(44))
    image = read_image(write_image(release, head, 7, profile, fixed_point=False, machine=machine))
    layer = read_network(release.patched(head), "patched").layers[-1]
    packed = packed_layer(layer, profile)
    for name in ("bias", "multiplier", "shift", "weights"):
        np.testing.assert_array_equal(getattr(image, name), getattr(packed, name).ravel(), name)
    assert (image.release_id, image.revision, image.profile) == (release.id, 7, profile)
    assert (image.outputs, image.inputs) == layer.weights.shape
    assert (image.zero_point, image.low, image.high) == (layer.out_zero, packed.low, packed.high)
    assert (image.step, image.machine, image.signature) == (layer.out_scale, machine, None)


def test_fixed_point_step_is_exact_to_2_to_the_minus_25(release, head):
    exact = read_image(write_image(release, head, 1, "tflite", fixed_point=False)).step
    image = read_image(write_image(release, head, 1, "tflite", fixed_point=True))
    assert image.fixed_point
    assert abs(image.step - exact) <= 2**-25
    wide = dataclasses.replace(head, output_max=1e5)
    with pytest.raises(ReleaseError, match="at most 128"):
        write_image(release, wide, 1, "tflite", fixed_point=True)


def test_signed_by_one_of_the_keys(release, head):
    data = write_image(release, head, 1, "tflite", fixed_point=False, key=OURS)
    keys = [signing.public_key(OTHERS), signing.public_key(OURS)]
    assert read_image(data, keys).signature == OURS.sign(data[:-64])
    assert data.startswith(MAGIC)  # so that the signature says what it is for
    with pytest.raises(ReleaseError, match="none of the keys"):
        read_image(data, keys[:1])
    with pytest.raises(ReleaseError, match="none of the keys"):
        read_image(write_image(release, head, 1, "tflite", fixed_point=False), keys)


def test_damaged_images_are_refused(release, head, rng):
    data = write_image(release, head, 1, "tflite", fixed_point=False)
    for at in [*range(96), *rng.integers(96, len(data), 200)]:
        damaged = bytearray(data)
        damaged[at] ^= 1 << rng.integers(8)
        with pytest.raises(ReleaseError, match="head image"):
            read_image(bytes(damaged))
    for size in (0, 21, 95, 96, len(data) - 1):
        with pytest.raises(ReleaseError, match="head image"):
            read_image(data[:size])
    with pytest.raises(ReleaseError, match="head image"):
        read_image(data + b"\0")


def test_revision_beyond_the_format(release, head):
    with pytest.raises(ReleaseError, match="revision 4294967296"):
        write_image(release, head, 2**32, "tflite", fixed_point=False)


def message(release: Release, head: Head, key: Ed25519PrivateKey | None, fleet: str = "plant") -> bytes:
    body = codec.encode(to_message(head, Base(release_id=release.id, revision=5)))
    return signing.sign(topics.fleet_topic(fleet, "head"), body, key, "cbor") if key else body


def test_head_from_the_coordinators_message(release, head):
    keys = [signing.public_key(OURS)]
    for payload, pinned in ((message(release, head, None), ()), (message(release, head, OURS), keys)):
        got, revision = head_from_message(payload, release, fleet="plant", keys=pinned)
        np.testing.assert_array_equal(got.weights, head.weights)
        assert (revision, got.output_min, got.output_max) == (5, head.output_min, head.output_max)


@pytest.mark.parametrize(
    ("key", "fleet", "complaint"),
    [(None, "plant", "missing"), (OTHERS, "plant", "none of the pinned"), (OURS, "mill", "none of the pinned")],
)
def test_message_not_signed_for_this_fleet(release, head, key, fleet, complaint):
    with pytest.raises(ProtocolError, match=complaint):
        head_from_message(message(release, head, key, fleet), release, fleet="plant", keys=[signing.public_key(OURS)])


def test_message_of_another_release(release, head):
    payload = codec.encode(to_message(head, Base(release_id="ab" * 32, revision=5)))
    with pytest.raises(ReleaseError, match="head of release abababababab, expected"):
        head_from_message(payload, release)
