"""Streams over what carries them: a real pipe into a process, and a pseudo-terminal for the serial port."""

import os
import struct
import subprocess
import sys
import time
import tty
from binascii import crc_hqx
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedtiny.config import load_config
from fedtiny.errors import DataError
from fedtiny.sources import open_source, stream
from fedtiny.sources.frames import BinaryFrames, CsvLines

RAMP = np.arange(20, dtype=np.float32).reshape(10, 2)


def frame(seq: int, samples: np.ndarray) -> bytes:
    version = 2 if samples.dtype == np.int16 else 1
    samples = samples if version == 2 else samples.astype(np.float32)
    body = struct.pack("<2sBBHH", b"FT", version, samples.shape[1], seq, len(samples)) + samples.tobytes()
    return body + struct.pack("<H", crc_hqx(body, 0xFFFF))


def decode(decoder, data: bytes, sizes=(1 << 20,)) -> tuple[np.ndarray, list[str]]:
    """All samples, and the faults in their order; fed in pieces of the given sizes."""
    parts, faults, at, number = [np.empty((0, 2), np.float32)], [], 0, 0
    while at < len(data):
        size = sizes[number % len(sizes)]
        for samples, fault in decoder.feed(data[at : at + size]):
            parts.append(samples)
            faults += [fault] if fault else []
        at, number = at + size, number + 1
    return np.concatenate(parts), faults


# -- bytes -> samples ------------------------------------------------------------------------------------


def test_the_checksum_is_ccitt_false() -> None:
    assert crc_hqx(b"123456789", 0xFFFF) == 0x29B1  # its published check value


@given(sizes=st.lists(st.integers(1, 40), min_size=1), noise=st.binary(max_size=30))
def test_frames_in_any_pieces_behind_any_noise(sizes, noise) -> None:
    data = noise + b"".join(frame(seq % 65_536, RAMP + seq) for seq in range(65_530, 65_542))
    samples, faults = decode(BinaryFrames(2, scale=1.0), data + bytes(70_000), sizes=[*sizes, 70_000])
    np.testing.assert_array_equal(samples, np.concatenate([RAMP + seq for seq in range(65_530, 65_542)]))
    assert not faults


def test_integers_times_their_scale() -> None:
    values = np.array([[-32_768, 32_767], [1, 0]], np.int16)
    samples, _ = decode(BinaryFrames(2, scale=0.5), frame(0, values))
    np.testing.assert_array_equal(samples, values * np.float32(0.5))


@given(damage=st.integers(0, 3 * len(frame(0, RAMP)) - 1), flip=st.integers(1, 255))
def test_one_damaged_byte_costs_one_frame_and_is_said(damage, flip) -> None:
    data = bytearray(b"".join(frame(seq, RAMP + seq) for seq in range(5)))
    at = len(frame(0, RAMP)) + damage  # in frame 1, 2 or 3
    data[at] ^= flip
    samples, faults = decode(BinaryFrames(2, scale=1.0), bytes(data) + frame(5, RAMP) + bytes(70_000))
    lost = at // len(frame(0, RAMP))
    kept = [RAMP + seq for seq in range(5) if seq != lost]
    np.testing.assert_array_equal(samples, np.concatenate([*kept, RAMP]))
    assert faults == [f"dropped: 1 frame missing ({len(frame(0, RAMP))} damaged bytes)"]


def test_frames_lost_on_the_way_and_a_sensor_that_started_again() -> None:
    data = b"".join(frame(seq, RAMP) for seq in (7, 8, 11, 0))
    _, faults = decode(BinaryFrames(2, scale=1.0), data)
    assert faults == ["dropped: 2 frames missing", "dropped: frame 0 came where 12 was due"]


@pytest.mark.parametrize("line", ["{},{}\n", "{};{}\r\n", "{}\t{}\n", " {}  {} \n\n"])
@pytest.mark.parametrize("head", ["", "x,y\n"])
def test_lines_of_any_dialect(line, head) -> None:
    text = head + "".join(line.format(*row) for row in RAMP)
    for size in (1, 7, 1000):
        samples, faults = decode(CsvLines(2, joined=False), text.encode(), [size])
        np.testing.assert_array_equal(samples, RAMP)
        assert not faults


def test_lines_that_are_no_samples_are_said_in_their_place() -> None:
    text = b"1,2\n\xff\xfe\nnot now\n3,4\n5\n6,7\n8,9,10\n"
    samples, faults = decode(CsvLines(2, joined=False), text)
    np.testing.assert_array_equal(samples, [[1, 2], [3, 4], [6, 7]])
    assert faults == [f"dropped: {n} cannot be read, expected 2 numbers" for n in ("2 lines", "1 line", "1 line")]
    samples, _ = decode(CsvLines(2, joined=True), b"2,2\n3,4\n")  # 12,2 or 2,2: nobody knows
    np.testing.assert_array_equal(samples, [[3, 4]])


def test_a_line_without_end_takes_no_memory() -> None:
    decoder = CsvLines(2, joined=False)
    for _ in range(100):
        list(decoder.feed(b"1" * 1000))
    assert len(decoder._rest) < 6000


# -- standard input --------------------------------------------------------------------------------------

READER = """
import sys
from fedtiny.config import load_config
from fedtiny.sources import open_source
source = open_source(load_config(None, source__kind="stdin", source__sample_rate_hz=float(sys.argv[2]),
                                 source__channels=["x", "y"], source__format=sys.argv[1]))
for one in source.recordings():
    if one is not None:
        print(len(one.samples), float(one.samples[:, 0].sum()), one.follows, one.fault or "-", flush=True)
"""


def start(kind: str, rate: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", READER, kind, str(rate)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def test_stdin_through_a_pipe_ends_with_it() -> None:
    with start("csv", 40) as process:
        out, _ = process.communicate(b"x,y\n" + b"1,0\n" * 25 + b"nan,0\n" + b"2,0")
    assert process.returncode == 0
    assert out.decode().split("\n") == [
        "10 10.0 False -",
        "10 10.0 True -",
        "7 nan True dropped: non-finite values",
        "",
    ]


def test_stdin_gives_what_is_there_while_the_writer_pauses() -> None:
    with start("binary", 1000) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(frame(0, RAMP))
        process.stdin.flush()
        assert process.stdout.readline() == b"10 90.0 False -\n"
        process.stdin.write(frame(2, RAMP))
        process.stdin.close()
        assert process.stdout.read() == b"10 90.0 False dropped: 1 frame missing\n"


# -- serial ----------------------------------------------------------------------------------------------


class Port:
    """A pseudo-terminal that stands for a serial port; its link is what stays when it is plugged in again."""

    def __init__(self, link) -> None:
        self.link = link
        self.plug()

    def plug(self) -> None:
        self._master, slave = os.openpty()
        tty.setraw(slave)
        self.link.symlink_to(os.ttyname(slave))
        os.close(slave)

    def send(self, data: bytes) -> None:
        while data:
            data = data[os.write(self._master, data) :]

    def unplug(self) -> None:
        self.link.unlink()
        os.close(self._master)


@pytest.fixture
def port(tmp_path):
    port = Port(tmp_path / "ttySENSOR")
    yield port
    port.unplug()


def serial(port: Port, opened, kind: str, rate: float):
    told = {"kind": "serial", "port": str(port.link), "sample_rate_hz": rate, "channels": ["x", "y"], "format": kind}
    return opened(open_source(load_config(None, **{f"source__{key}": value for key, value in told.items()})))


def ready(port: Port, found) -> None:
    """Until the port has been open for a while: what is sent before that is lost, as on a wire."""
    node = os.path.realpath(port.link)
    until = time.monotonic() + 20
    assert next(found) is None
    while node not in (os.path.realpath(path) for path in Path("/proc/self/fd").iterdir()):
        assert next(found) is None
        assert time.monotonic() < until
    assert next(found) is None


def test_a_serial_stream_is_cut_and_joined(port, opened, take) -> None:
    found = serial(port, opened, "binary", 1000).recordings()
    ready(port, found)
    values = np.arange(1200, dtype=np.float32).reshape(600, 2)
    for seq in range(60):
        port.send(frame(seq, values[10 * seq : 10 * seq + 10]))
    taken = take(found, samples=600)
    np.testing.assert_array_equal(np.concatenate([one.samples for one in taken]), values)
    assert max(len(one.samples) for one in taken) <= 250
    assert [one.follows for one in taken] == [False] + [True] * (len(taken) - 1)
    assert {one.fault for one in taken} == {""}
    port.send(frame(61, RAMP))
    (one,) = take(found, faults=1)
    assert (one.fault, one.follows) == ("dropped: 1 frame missing", False)


def test_an_unplugged_port_is_said_once_and_opened_again(port, opened, take) -> None:
    found = serial(port, opened, "csv", 1000).recordings()
    ready(port, found)
    port.send(b"1,2\n3,4\n5,6\n")
    assert np.concatenate([one.samples for one in take(found, samples=2)]).tolist() == [[3, 4], [5, 6]]
    port.unplug()
    (fault,) = take(found, faults=1)
    assert fault.fault.startswith("disconnected: ")
    assert fault.samples.shape == (0, 2)
    for _ in range(4):
        assert next(found) is None
    port.plug()
    one = None
    for _ in range(100):  # what comes before the port is open is lost, as on a wire
        port.send(b"7,8\n")
        if one := next(found):
            break
    assert one is not None
    assert ({*map(tuple, one.samples.tolist())}, one.follows, one.fault) == ({(7, 8)}, False, "")


def test_a_consumer_that_is_busy_loses_data_and_is_told(port, opened, take, monkeypatch) -> None:
    monkeypatch.setattr(stream, "BUFFER_BYTES", 2000)
    monkeypatch.setattr(stream, "READ_BYTES", 500)
    source = serial(port, opened, "binary", 1000)
    found = source.recordings()
    ready(port, found)
    for seq in range(200):  # nobody reads
        port.send(frame(seq, RAMP))
    taken = take(found, samples=100)
    sent = 200
    while not any(one.fault for one in taken):
        port.send(frame(sent, RAMP))
        sent += 1
        taken += take(found, samples=1)
    assert "came while the buffer was full" in next(one.fault for one in taken if one.fault)


def test_without_its_package(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "serial", None)
    with pytest.raises(DataError, match=r"a serial port needs the package serial: pip install 'fedtiny\[serial\]'"):
        stream.Serial("/dev/ttyUSB0", 115_200, 1000, ("x",), "csv")
