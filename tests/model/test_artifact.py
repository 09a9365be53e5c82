import json
import struct
import sys
import tracemalloc
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedtiny.errors import ReleaseError
from fedtiny.model import flatbuffer
from fedtiny.model.artifact import Release, quantise_range, sealed
from fedtiny.model.head import Head, output_range
from fedtiny.model.interpreter import Interpreter


def numbers(release, data, place, dtype):
    """The numbers of one tensor's field in a model's bytes."""
    return np.frombuffer(data, dtype, place[1], place[0])


def model_range(release):
    """The head's output range as TensorFlow quantised it."""
    output = release.layers[-1].output
    scale = numbers(release, release.data, output.scale, "<f4").item()
    zero = numbers(release, release.data, output.zero_point, "<i8").item()
    return (-128 - zero) * scale, (127 - zero) * scale


@pytest.fixture(scope="module")
def windows(training):
    with np.load(training / "keras.npz") as stored:
        return stored["windows"]


@pytest.fixture
def other_head(release, windows, rng):
    """A head that differs from the release's in every row, with an output range of its own."""
    weights = release.head.weights * rng.uniform(0.3, 3, (len(release.head.weights), 1)).astype(np.float32)
    weights = weights + rng.normal(0, 0.1, weights.shape).astype(np.float32)
    _, hidden = Interpreter(release.data, "auto", release.hidden_tensor)(windows)
    return Head(weights, *output_range(Head(weights, -1, 1).forward(hidden)))


def test_its_own_head_patched_in_is_what_tensorflow_wrote(release, windows):
    patched = release.patched(Head(release.head.weights, *model_range(release)))
    layer = release.layers[-1]
    for place, dtype, most in (
        (layer.weights.data, "i1", 1),
        (layer.bias.data, "<i4", 1),
        (layer.output.zero_point, "<i8", 0),
    ):
        ours, theirs = (numbers(release, data, place, dtype).astype(int) for data in (patched, release.data))
        assert np.abs(ours - theirs).max() <= most
    for place in (layer.weights.scale, layer.bias.scale, layer.output.scale):
        ours, theirs = (numbers(release, data, place, "<f4") for data in (patched, release.data))
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)
    scale = numbers(release, release.data, layer.output.scale, "<f4").item()
    ours, theirs = (Interpreter(data, "auto", release.hidden_tensor)(windows)[0] for data in (patched, release.data))
    assert np.abs(ours - theirs).max() <= 1.001 * scale


def test_patching_moves_nothing_but_the_head(release, other_head):
    patched = release.patched(other_head)
    layer = release.layers[-1]
    allowed = np.zeros(len(release.data), bool)
    for (at, count), width in (
        (layer.weights.data, 1),
        (layer.weights.scale, 4),
        (layer.bias.data, 4),
        (layer.bias.scale, 4),
        (layer.output.scale, 4),
        (layer.output.zero_point, 8),
    ):
        allowed[at : at + count * width] = True
    changed = np.frombuffer(patched, np.uint8) != np.frombuffer(release.data, np.uint8)
    assert len(patched) == len(release.data)
    assert changed.any()
    assert not changed[~allowed].any()


def requantised(accumulator, multiplier):
    """TFLite's reference rounding: doubling high multiply, then a shift that rounds ties upward."""
    fraction, exponent = np.frexp(multiplier)
    q = np.rint(fraction * 2.0**31).astype(np.int64)
    product = accumulator * q
    nudge = np.where(product >= 0, 1 << 30, 1 - (1 << 30))
    high = np.trunc((product + nudge) / 2.0**31).astype(np.int64)
    shift = -exponent
    return (high + (1 << (shift - 1))) >> shift


def test_a_new_head_computes_what_the_int8_arithmetic_says(release, other_head, windows):
    patched, layer = release.patched(other_head), release.layers[-1]
    outputs, hidden = Interpreter(patched, "auto", release.hidden_tensor)(windows)
    in_scale, out_scale = (numbers(release, patched, t.scale, "<f4").item() for t in (layer.input, layer.output))
    in_zero, out_zero = (numbers(release, patched, t.zero_point, "<i8").item() for t in (layer.input, layer.output))
    weights = numbers(release, patched, layer.weights.data, "i1").reshape(layer.weights.shape).astype(np.int64)
    weight_scale = numbers(release, patched, layer.weights.scale, "<f4")
    bias = numbers(release, patched, layer.bias.data, "<i4").astype(np.int64)
    q = np.rint(hidden / np.float32(in_scale)).astype(np.int64)  # what is left of q - zero point
    assert q.min() + in_zero >= -128
    multiplier = np.float64(in_scale) * weight_scale.astype(np.float64) / np.float64(out_scale)
    expected = (requantised(q @ weights.T + bias, multiplier) + out_zero).clip(-128, 127)
    np.testing.assert_array_equal(np.rint(outputs / np.float32(out_scale)) + out_zero, expected)

    # what was quantised is the head, to half a step
    np.testing.assert_array_equal(numbers(release, patched, layer.bias.scale, "<f4"), in_scale * weight_scale)
    for stored, scale, exact in (
        (weights, weight_scale[:, None], other_head.weights[:, :-1]),
        (bias, in_scale * weight_scale, other_head.weights[:, -1]),
    ):
        assert (np.abs(stored * scale - exact) <= 0.501 * scale).all()

    # and lies within a step of the output and half a step of every weight of the float head
    bound = out_scale + 0.5 * weight_scale * (np.abs(hidden).sum(axis=1, keepdims=True) + in_scale)
    assert (np.abs(outputs - other_head.forward(hidden)) <= bound + 1e-4).all()


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="tflite-runtime ends at Python 3.11")
def test_both_runtimes_agree_to_the_bit(release, other_head, rng):
    inputs = rng.normal(0, 2, (200, len(release.manifest.mean))).astype(np.float32)
    for data in (release.data, release.patched(other_head)):
        ours, theirs = (Interpreter(data, runtime, release.hidden_tensor)(inputs) for runtime in ("litert", "tflite"))
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(a, b)


def test_any_tflite_tool_opens_it(release_path):
    from ai_edge_litert.interpreter import Interpreter as Plain

    plain = Plain(model_path=str(release_path))
    plain.allocate_tensors()
    assert plain.get_input_details()[0]["dtype"] is np.int8
    del plain


def test_what_is_no_release_is_refused_with_the_reason(training, release, tmp_path):
    with pytest.raises(ReleaseError, match=r"plain\.tflite: a TFLite model, but not a fedtiny release"):
        Release.open(training / "plain.tflite")
    with pytest.raises(ReleaseError, match="'TFL3' is missing"):
        Release(release.data.replace(b"TFL3", b"TFL2", 1))
    with pytest.raises(ReleaseError, match=r"none\.tflite: cannot be read: No such file"):
        Release.open(tmp_path / "none.tflite")


def test_a_truncated_file_is_refused(release):
    for size in range(0, len(release.data), 97):
        with pytest.raises(ReleaseError):
            Release(release.data[:size])


@given(st.data())
def test_a_flipped_byte_is_refused(release, data):
    damaged = bytearray(release.data)
    at = data.draw(st.integers(0, len(damaged) - 1))
    damaged[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(ReleaseError):
        Release(bytes(damaged))


def resealed(data: bytes) -> Release:
    """As a forger would, who knows how the checksum is made."""
    return Release(sealed(data))


def test_forged_offsets_and_lengths_cost_no_more_than_the_file(release, rng):
    """A release or ReleaseError, within a few times the file's size, whatever a word of it claims."""
    layer = release.layers[-1]
    structure = [at for at in range(0, len(release.data) - 4, 4) if not 0 <= at - layer.weights.data[0] < 4096]
    tracemalloc.start()
    try:
        for at in rng.choice(structure, 60):
            for word in (0, 0x7FFFFFFF, 0xFFFFFFFF, len(release.data) // 8):
                forged = release.data[:at] + struct.pack("<I", word) + release.data[at + 4 :]
                with suppress(ReleaseError, KeyError):  # KeyError: nowhere to put a checksum
                    resealed(forged)
        assert tracemalloc.get_traced_memory()[1] < 20 * len(release.data)
    finally:
        tracemalloc.stop()


def test_many_tables_cannot_share_one_huge_vector():
    """A vector of offsets that all lead to one table whose only field is as large as the file."""
    count = 100_000
    vtable, table = struct.pack("<HHHH", 6, 8, 4, 0), struct.pack("<iI", 8, 4)
    head = struct.pack("<I4s", 16, b"TFL3") + vtable + table
    data = head + struct.pack("<I", count) + struct.pack("<I", 0) * count
    reader = flatbuffer.Reader(data)
    assert reader.vector(reader.root, 0, 4) == (len(head) + 4, count)
    for read in (lambda: list(reader.tables(reader.root, 0)), lambda: reader.ints(reader.root, 0)):
        with pytest.raises(ReleaseError, match="a list of 100000"):
            read()


def with_manifest(release, text: bytes) -> bytes:
    """The release with another manifest in the place of its own, shorter and padded with spaces."""
    at = release.data.index(b'{"format"')
    size = release.data.index(b"}}", at) + 2 - at
    assert len(text) <= size
    return release.data[:at] + text.ljust(size) + release.data[at + size :]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"format": 2}, "manifest: format: Input should be 1"),
        ({"hop": 0}, "manifest: hop"),
        ({"window": 8}, "manifest: bands: 64 asked, but a window of 8 samples has 4 bins"),
        ({"bands": 32}, "manifest and model disagree"),
        ({"bands": 0}, "manifest and model disagree"),
        ({"floor": 0.0}, "manifest: floor: 0, expected a positive power"),
        ({"feature": "given"}, "given features have windows of 1 sample and no bands, not WindowPlan"),
        ({"feature": "given", "window": 1, "hop": 1, "bands": 0}, "and 2 features in the manifest"),
        ({"feature": "guessed"}, "manifest: feature: Input should be"),
        ({"deviation": [1.0, 0.0] * 64}, "deviations above 0"),
        ({"mean": [0.0] * 127}, "mean and deviation must have 128 numbers"),
        ({"output_max": -100.0}, "output range"),
        ({"output_max": 1e300}, "output range"),
        ({"surprise": 1}, "manifest: surprise: Extra inputs"),
    ],
)
def test_a_manifest_that_makes_no_sense_is_named(release, changes, words):
    manifest = release.manifest.model_dump() | {"training": {}} | changes
    with pytest.raises(ReleaseError, match=words):
        resealed(with_manifest(release, json.dumps(manifest, separators=(",", ":")).encode()))


def test_a_manifest_from_before_feature_kinds_means_bands(release):
    manifest = release.manifest.model_dump(exclude={"feature"}) | {"training": {}}
    older = resealed(with_manifest(release, json.dumps(manifest, separators=(",", ":")).encode()))
    assert older.manifest.feature == "log-band-energies"
    assert older.features.plan == release.features.plan


@pytest.mark.parametrize("text", [b"", b"\xff", b"{", b"1" * 4400, b"[" * 4400, b'{"a":' * 800])
def test_a_manifest_that_is_no_json(release, text):
    with pytest.raises(ReleaseError, match="manifest"):
        resealed(with_manifest(release, text))


def test_a_head_of_another_shape_is_refused(release):
    with pytest.raises(ReleaseError, match="head of shape"):
        release.patched(Head(np.zeros((3, 4), np.float32), -1, 1))


@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6))
def test_a_quantised_range_holds_zero_and_both_ends(a, b):
    low, high = min(a, b), max(a, b)
    if high - low < 1e-6:
        return
    scale, zero = quantise_range(low, high)
    assert (-128 - zero) * scale <= low + scale
    assert (127 - zero) * scale >= high - scale
    assert -128 <= zero <= 127
