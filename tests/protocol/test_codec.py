import json
import struct
import time
import tracemalloc
from contextlib import suppress

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedtiny.errors import ProtocolError
from fedtiny.protocol import cbor, codec
from fedtiny.protocol.messages import (
    Alarm,
    Base,
    Command,
    DeviceStatus,
    FleetStatus,
    HeadMessage,
    ReleaseMessage,
    RoundMessage,
    ScoreSummary,
    UpdateMessage,
)

BASE = Base(release_id="a1" * 32, revision=2**40)
MESSAGES = [
    ReleaseMessage(release_id=BASE.release_id, tflite=bytes(range(256)) * 30),
    HeadMessage(
        release_id=BASE.release_id,
        revision=1,
        weights=b"\0\1" * 500,
        output_min=-1.5,
        output_max=1e-7,
        strategy="ridge",
    ),
    RoundMessage(
        round_number=3,
        state="open",
        base=BASE,
        strategy="fedavg",
        deadline_s=0.1,
        opened_utc="2026-01-01T00:00:00+00:00",
        answered=("pump-1", "pump-2"),
        loss_before=0.25,
    ),
    UpdateMessage(
        device="pump-1",
        round_number=3,
        base=BASE,
        kind="delta",
        num_examples=36,
        payload=b"x" * 100,
        output_min=-3,
        output_max=3.5,
        loss_before=0.1 + 0.2,
        loss_after=5e-324,
    ),
    FleetStatus(state="online", release_id=BASE.release_id, rejected={"stale": 3}),
    DeviceStatus(device="pump-1", state="offline", base=BASE, threshold=2.5, learned=0.5),
    ScoreSummary(device="pump-1", first=0, count=32, last=1, mean=1.1, max=1e300),
    Alarm(device="pump-1", state="raised", window=5, at_utc="", score=9.5, threshold=2, reason="µ > 2 \U0001f6a8"),
    Command(action="re-baseline"),
]
KINDS = [type(message) for message in MESSAGES]
CBOR_KINDS = [kind for kind in KINDS if kind.encoding == "cbor"]
BY_KIND = pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)


@BY_KIND
def test_a_message_comes_back_as_it_was(message):
    assert codec.decode(type(message), codec.encode(message)) == message


@BY_KIND
def test_what_a_newer_peer_adds_is_ignored(message):
    fields = message.model_dump(mode="python" if message.encoding == "cbor" else "json")
    dump = cbor2.dumps if message.encoding == "cbor" else lambda value: json.dumps(value).encode()
    assert codec.decode(type(message), dump(fields | {"novelty": [1, {"a": None, "b": [True, 1.5, -7]}]})) == message


@BY_KIND
def test_a_truncated_message_is_refused(message):
    encoded = codec.encode(message)
    for size in {0, 1, len(encoded) // 2, len(encoded) - 1}:
        with pytest.raises(ProtocolError):
            codec.decode(type(message), encoded[:size])


@settings(max_examples=300)
@given(kind=st.sampled_from(KINDS), garbage=st.binary(max_size=200))
def test_garbage_is_a_protocol_error(kind, garbage):
    with pytest.raises(ProtocolError):
        codec.decode(kind, garbage)


@settings(max_examples=300)
@given(message=st.sampled_from(MESSAGES), data=st.data())
def test_a_damaged_message_is_a_message_or_a_protocol_error(message, data):
    damaged = bytearray(codec.encode(message)[:400])
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    with suppress(ProtocolError):
        codec.decode(type(message), bytes(damaged))


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5), lambda v: st.lists(v, max_size=3)
)


@settings(max_examples=300)
@given(message=st.sampled_from(MESSAGES), data=st.data())
def test_a_field_of_any_other_value_is_a_message_or_a_protocol_error(message, data):
    fields = message.model_dump(mode="python" if message.encoding == "cbor" else "json")
    fields[data.draw(st.sampled_from(sorted(fields)))] = data.draw(JSON_VALUES)
    try:
        encoded = cbor2.dumps(fields) if message.encoding == "cbor" else json.dumps(fields).encode()
    except UnicodeEncodeError:
        return
    with suppress(ProtocolError):
        codec.decode(type(message), encoded)


@pytest.mark.parametrize("kind", KINDS)
def test_an_oversized_message_is_refused_unread(kind):
    with pytest.raises(ProtocolError, match="at most"):
        codec.decode(kind, b"\xff" * (kind.max_bytes + 1))


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("last", "NaN", "ScoreSummary: last"),
        ("max", "Infinity", "ScoreSummary: max"),
        ("count", "-1", "ScoreSummary: count"),
        ("count", "1e400", "ScoreSummary: count"),
        ("first", "9" * 5000, "JSON"),
        ("device", '"a/b"', "ScoreSummary: device"),
        ("device", '"pump-1\\n"', "ScoreSummary: device"),
        ("device", '"\\ud800"', "JSON"),
        ("threshold", "[" * 20_000, "JSON"),
    ],
)
def test_bad_json_is_named(field, value, words):
    good = json.loads(codec.encode(MESSAGES[KINDS.index(ScoreSummary)])) | {field: "HERE"}
    payload = json.dumps(good).replace('"HERE"', value).encode()
    with pytest.raises(ProtocolError, match=words):
        codec.decode(ScoreSummary, payload)


def big(data: bytes) -> bytes:
    """A CBOR integer of any size: tag 2 over bytes."""
    return b"\xc2\x5a" + struct.pack(">I", len(data)) + data


HOSTILE_CBOR = {
    "a terabyte of bytes": b"\x5b\x00\x00\x01\x00\x00\x00\x00\x00",
    "a terabyte of text": b"\x7b\x00\x00\x01\x00\x00\x00\x00\x00ab",
    "a huge array": b"\x9b\x7f\xff\xff\xff\xff\xff\xff\xff",
    "a huge map": b"\xbb\xff\xff\xff\xff\xff\xff\xff\xff\x61a\x00",
    "deep arrays": b"\x81" * 100_000,
    "deep maps": b"\xa1\x61a" * 100_000,
    "deep tags": b"\xc6" * 100_000,
    "endless array": b"\x9f" * 100_000,
    "millions of empty maps": b"\x9a\x00\x7a\x00\x00" + b"\xa0" * 0x7A0000,
    "a map of maps": b"\xa1\xa1\xa0\x01\x02",
    "a fraction that takes hours": b"\xd8\x1e\x82" + big(b"\xff" * 3_000_000) + big(b"\xfe" * 2_999_999),
    "a decimal of a gigabyte": cbor2.dumps(
        MESSAGES[KINDS.index(UpdateMessage)].model_dump() | {"round_number": 0}
    ).replace(b"\x6cround_number\x00", b"\x6cround_number\xc4\x82\x1a\x3b\x9a\xca\x00\x01"),
    "itself": b"\xd8\x1c\x81\xd8\x1d\x00",
    "a regular expression": b"\xd8\x23\x61(",
    "trailing data": codec.encode(MESSAGES[KINDS.index(UpdateMessage)]) + b"\0",
}


@pytest.mark.parametrize("payload", HOSTILE_CBOR.values(), ids=HOSTILE_CBOR)
def test_hostile_cbor_costs_little(payload):
    started = time.process_time()
    tracemalloc.start()
    try:
        for kind in CBOR_KINDS:
            with pytest.raises(ProtocolError):
                codec.decode(kind, payload)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()
    assert time.process_time() - started < 2


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**64), 2**64 - 1) | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=30), inner, max_size=4),
    max_leaves=20,
)


@given(VALUES)
def test_our_cbor_reads_what_the_library_writes(value):
    try:
        read = cbor.loads(cbor2.dumps(value))
    except ValueError as error:
        assert "nested" in str(error)  # noqa: PT017
    else:
        assert read == value


@pytest.mark.parametrize("hexadecimal", ["f93e00", "fa3fc00000", "fb3ff8000000000000"])
def test_floats_of_any_width(hexadecimal):
    assert cbor.loads(bytes.fromhex(hexadecimal)) == 1.5
