"""A sensor node over a real broker; what a frame is, without one."""

import itertools
import json
import secrets

import cbor2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedtiny import config
from fedtiny.broker import EmbeddedBroker
from fedtiny.config import load_config
from fedtiny.sources import open_source
from fedtiny.sources.mqtt import Mqtt
from fedtiny.transport import Connected, Connection, Received

TOPIC = "plant/pump-7/vibration"
RAMP = np.arange(20, dtype=np.float32).reshape(10, 2)
FRAME = {"seq": 4, "rate": 1000, "samples": RAMP.tolist()}


def recordings(payloads: list[bytes], rate: float = 1000, continuous: bool = True):
    """What a source makes of these payloads; and the source."""
    made = Mqtt(config.Broker(), TOPIC, rate, ("x", "y"), continuous=continuous)
    made.close()
    made._connection = Fed(payloads)
    found = made.recordings()
    return [one for one in itertools.islice(found, 4 * len(payloads) + 4) if one is not None], made


class Fed:
    """Stands for a connection that has received these payloads."""

    def __init__(self, payloads: list[bytes]) -> None:
        self._waiting = list(payloads)

    def start(self) -> None:
        pass

    def next_event(self, timeout_s: float) -> Received | None:
        return Received(TOPIC, self._waiting.pop(0), False, 1, 1) if self._waiting else None


@pytest.mark.parametrize(
    "payload",
    [
        json.dumps(FRAME).encode(),
        b"\n " + json.dumps(FRAME, indent=1).encode(),
        cbor2.dumps(FRAME),
        cbor2.dumps({"samples": RAMP.tobytes()}),
        cbor2.dumps({"samples": (RAMP * 2).astype("<i2").tobytes(), "scale": 0.5}),
        json.dumps({"samples": (RAMP * 2).tolist(), "scale": 0.5}).encode(),
        json.dumps({"channels": ["t", "y", "x"], "samples": [[9, y, x] for x, y in RAMP.tolist()]}).encode(),
        json.dumps(FRAME | {"battery": 3.1}).encode(),
    ],
)
def test_every_form_of_a_frame(payload) -> None:
    (one,), made = recordings([payload])
    np.testing.assert_array_equal(one.samples, RAMP)
    assert one.samples.dtype == np.float32
    assert not one.fault
    assert not made.rejected


def test_what_a_frame_says_of_itself_reaches_its_recordings() -> None:
    long = FRAME | {"at": 1e9, "speed_hz": 24.5, "point": "load-80", "samples": np.ones((600, 2)).tolist()}
    found, _ = recordings([json.dumps(long).encode()])
    assert [len(one.samples) for one in found] == [250, 250, 100]
    assert [one.at for one in found] == [1e9, 1e9 + 0.25, 1e9 + 0.5]
    assert [one.follows for one in found] == [False, True, True]
    assert {(one.speed_hz, one.point) for one in found} == {(24.5, "load-80")}


def test_snapshots_do_not_follow_each_other() -> None:
    frames = [json.dumps(FRAME | {"seq": seq, "samples": np.ones((300, 2)).tolist()}).encode() for seq in (1, 2)]
    found, _ = recordings(frames, continuous=False)
    assert [one.follows for one in found] == [False, True, False, True]


def test_gaps_duplicates_and_values_that_are_none() -> None:
    frames = [json.dumps(FRAME | {"seq": seq}).encode() for seq in (4, 5, 5, 8, 0)]
    frames.append(json.dumps({"seq": 1, "samples": [[1.0, float("nan")]]}).encode())
    found, made = recordings(frames)
    assert [(one.fault, one.follows) for one in found] == [
        ("", False),
        ("", True),
        ("dropped: 2 frames missing", False),
        ("dropped: frame 0 came where 9 was due", False),
        ("dropped: non-finite values", True),
    ]
    assert np.isnan(found[-1].samples[0, 1])
    assert made.rejected == {"duplicate": 1}


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        ({"seq": 1}, "samples: Field required"),
        ({"samples": "abc"}, "samples: "),
        ({"samples": []}, "samples: none"),
        ({"samples": [[1, 2], [3]]}, "samples: rows of different lengths, expected 2 numbers each"),
        ({"samples": [[1, 2, 3]]}, r"samples: shape \(1, 3\)"),
        ({"samples": [1, 2]}, r"samples: shape \(2,\)"),
        ({"samples": [[1, None]]}, "of object, expected rows of 2 numbers"),
        ({"samples": [["1", "2"]]}, "expected rows of 2 numbers"),
        ({"samples": b"1234567"}, "samples: 7 bytes, expected rows of 2 float32"),
        ({"samples": RAMP.tolist(), "rate": 500}, "rate: 500 Hz, expected 1000 Hz"),
        ({"samples": RAMP.tolist(), "channels": ["x", "z"]}, "channels: x, z; 'y' is expected"),
        ({"samples": RAMP.tolist(), "seq": -1}, "seq: "),
        ({"samples": RAMP.tolist(), "scale": 0}, "scale: "),
        ([1, 2], "frame: "),
    ],
)
def test_garbage_is_counted_and_said_once(frame, words, caplog) -> None:
    found, made = recordings([cbor2.dumps(frame)] * 3 + [cbor2.dumps(FRAME)])
    assert len(found) == 1
    assert sum(made.rejected.values()) == 3
    assert len(caplog.records) == 1
    caplog.records[0].message.index("a frame is left out")
    with pytest.raises(ValueError, match=words):
        made._check(cbor2.dumps(frame))


@given(st.binary(max_size=200))
def test_no_bytes_end_it(payload) -> None:
    found, made = recordings([payload, b"{" + payload, cbor2.dumps({"samples": payload})])
    assert len(found) + sum(made.rejected.values()) >= 3


def test_a_node_on_a_real_broker(tmp_path, opened, take) -> None:
    broker = EmbeddedBroker(tmp_path / "broker")
    broker.start()
    try:
        told = {"kind": "mqtt", "topic": TOPIC, "sample_rate_hz": 1000, "channels": ["x", "y"], "silent_s": 0.6}
        told["broker"] = {"port": broker.port}
        made = opened(open_source(load_config(None, **{f"source__{key}": value for key, value in told.items()})))
        assert made.live
        node = opened_connection(broker.port)
        node.publish(TOPIC, json.dumps(FRAME).encode(), retain=True)  # of some other time: not taken
        assert node.drain(10)
        found = made.recordings()
        seq, got = 100, []
        while not got:  # until it has subscribed
            node.publish(TOPIC, cbor2.dumps({"seq": seq, "samples": RAMP.tobytes()}))
            seq += 1
            one = next(found)
            got += [one] if one is not None and not one.fault else []
        np.testing.assert_array_equal(got[0].samples, RAMP)
        assert take(found, faults=1)[-1].fault == "disconnected: nothing came for 0.6 s"
        node.publish(TOPIC, cbor2.dumps({"seq": seq + 1, "samples": RAMP.tobytes()}))
        assert take(found, faults=1)[-1].fault == "dropped: 1 frame missing"
        node.stop()
    finally:
        broker.stop()


def opened_connection(port: int) -> Connection:
    connection = Connection(config.Broker(port=port), f"node-{secrets.token_hex(3)}", subscriptions=[])
    connection.start()
    while not isinstance(connection.next_event(10), Connected):
        pass
    return connection
