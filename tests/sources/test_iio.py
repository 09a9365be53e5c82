"""IIO devices as the kernel shows them: a tree of small files, and a FIFO for the device node."""

import os
import struct
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedtiny.errors import DataError
from fedtiny.sources import iio
from fedtiny.sources.iio import Iio
from fedtiny.sources.rate import RateCheck
from fedtiny.sources.scan import Element, ScanLayout

PERIOD = 1_000_000  # nanoseconds, at 1000 Hz
ADXL345 = {
    "name": "adxl345",
    "in_accel_scale": "0.038300",
    "in_accel_sampling_frequency": "100",
    "in_accel_sampling_frequency_available": "100 200 400 800 1600 3200",
    "scan_elements": {
        **{f"in_accel_{axis}_en": "0" for axis in "xyz"},
        **{f"in_accel_{axis}_index": str(index) for index, axis in enumerate("xyz")},
        **{f"in_accel_{axis}_type": "le:s13/16>>0" for axis in "xyz"},
    },
    "buffer": {"enable": "0", "length": "2", "watermark": "1"},
}
ADXL355 = {
    "name": "adxl355",
    "in_accel_x_scale": "0.000038245",
    "in_accel_y_scale": "0.000038245",
    "in_accel_z_scale": "0.000076490",
    "in_accel_y_offset": "100",
    "sampling_frequency": "4000.000000",
    "sampling_frequency_available": "4000.000000 2000.000000 1000.000000 500.000000",
    "current_timestamp_clock": "realtime",
    "trigger": {"current_trigger": ""},
    "buffer0": {
        **{f"in_accel_{axis}_en": "0" for axis in "xyz"},
        **{f"in_accel_{axis}_index": str(index) for index, axis in enumerate("xyz")},
        **{f"in_accel_{axis}_type": "be:s20/32>>12" for axis in "xyz"},
        **{"in_temp_en": "1", "in_temp_index": "3", "in_temp_type": "be:u12/16>>0"},
        **{"in_timestamp_en": "0", "in_timestamp_index": "4", "in_timestamp_type": "le:s64/64>>0"},
        **{"enable": "0", "length": "2", "watermark": "1"},
    },
}


class Kernel:
    """A tree and a node that behave as the kernel's; closing the node's other end is a device that is pulled out."""

    def __init__(self, root: Path) -> None:
        self.sysfs, self.dev = root / "sysfs", root / "dev"
        self.sysfs.mkdir()
        self.dev.mkdir()

    def add(self, tree: dict, number: int = 0) -> Path:
        self.node = self.dev / f"iio:device{number}"
        os.mkfifo(self.node)
        self.open()
        return write_tree(self.sysfs / self.node.name, tree)

    def open(self) -> None:
        self.writer = os.open(self.node, os.O_RDWR)

    def send(self, data: bytes) -> None:
        thread = threading.Thread(target=self._send, args=(data,), daemon=True)  # the pipe holds 64 kB
        thread.start()

    def _send(self, data: bytes) -> None:
        while data:
            data = data[os.write(self.writer, data) :]

    def source(self, device: str, rate: float, channels=("x", "y", "z"), **more) -> Iio:
        return Iio(device, rate, channels, sysfs=self.sysfs, dev=self.dev, **more)


def write_tree(folder: Path, tree: dict) -> Path:
    folder.mkdir()
    for name, value in tree.items():
        if isinstance(value, dict):
            write_tree(folder / name, value)
        else:
            (folder / name).write_text(value + "\n")
    return folder


@pytest.fixture
def kernel(tmp_path):
    kernel = Kernel(tmp_path)
    yield kernel
    os.close(kernel.writer)


def adxl355_scans(stamps, axes=(0x12345, -5, 7)) -> bytes:
    words = [(value & 0xFFFFF) << 12 | 0xABC for value in axes]  # the low bits hold anything
    return b"".join(struct.pack(">3I4x", *words) + struct.pack("<q", int(stamp)) for stamp in stamps)


# -- a whole capture -------------------------------------------------------------------------------------


def test_adxl345_without_timestamps(kernel, take) -> None:
    folder = kernel.add(ADXL345)
    source = kernel.source("adxl345", 400, ("z", "x"))
    values = np.arange(-600, 600, 2).reshape(-1, 2).astype(np.int16)
    found = source.recordings()
    assert next(found) is None
    assert (folder / "buffer" / "enable").read_text() == "1"
    kernel.send(b"".join(struct.pack("<hh", x, z) for x, z in values.tolist()))
    taken = take(found, samples=300)
    np.testing.assert_allclose(np.concatenate([one.samples for one in taken]), values[:, ::-1] * 0.0383, rtol=1e-6)
    assert [one.follows for one in taken] == [False] + [True] * (len(taken) - 1)
    assert max(len(one.samples) for one in taken) <= 100
    found.close()
    read = {path.relative_to(folder).as_posix(): path.read_text().strip() for path in folder.rglob("*")
            if path.is_file()}  # fmt: skip
    assert read["in_accel_sampling_frequency"] == "400"
    assert [read[f"scan_elements/in_accel_{axis}_en"] for axis in "xyz"] == ["1", "0", "1"]
    assert (read["buffer/length"], read["buffer/watermark"], read["buffer/enable"]) == ("1600", "100", "0")


def test_adxl355_with_timestamps_offsets_and_padding(kernel, take) -> None:
    folder = kernel.add(ADXL355, number=3)
    source = kernel.source("iio:device3", 1000, trigger="adxl355-dev3")
    found = source.recordings()
    data = adxl355_scans(np.arange(500) * PERIOD)
    kernel.send(data[:1000])  # not a whole number of scans
    kernel.send(data[1000:])
    taken = take(found, samples=500)
    expected = [0x12345 * 0.000038245, (-5 + 100) * 0.000038245, 7 * 0.00007649]
    for one in taken:
        np.testing.assert_allclose(one.samples, np.tile(expected, (len(one.samples), 1)), rtol=1e-6)
        assert not one.fault
    assert (folder / "sampling_frequency").read_text() == "1000.000000"
    assert (folder / "trigger" / "current_trigger").read_text() == "adxl355-dev3"
    assert (folder / "current_timestamp_clock").read_text() == "monotonic"
    assert (folder / "buffer0" / "in_temp_en").read_text() == "0"
    assert (folder / "buffer0" / "in_timestamp_en").read_text() == "1"


def test_an_overrun_is_a_fault_in_its_place(kernel, take) -> None:
    kernel.add(ADXL355)
    found = kernel.source("adxl355", 1000).recordings()
    stamps = np.arange(500) * PERIOD
    stamps[200:] += 37 * PERIOD
    kernel.send(adxl355_scans(stamps))
    taken = take(found, samples=500)
    (fault,) = [number for number, one in enumerate(taken) if one.fault]
    assert taken[fault].fault == "dropped: 37 samples missing"
    assert not taken[fault].follows
    assert sum(len(one.samples) for one in taken[:fault]) == 200


def test_a_full_buffer_is_a_fault_where_there_are_no_timestamps(kernel, take, monkeypatch) -> None:
    monkeypatch.setattr(iio, "BUFFER_S", 0.1)
    kernel.add(ADXL345)
    found = kernel.source("adxl345", 400).recordings()
    assert next(found) is None
    kernel._send(bytes(6 * 40))  # all that it keeps
    taken = take(found, samples=40)
    kernel._send(bytes(6 * 8))
    taken += take(found, samples=8)
    assert [one.fault for one in taken if one.fault] == ["dropped: the kernel's buffer was full"]
    assert not taken[-1].follows


def test_a_device_that_is_pulled_out_and_put_back(kernel, take, monkeypatch) -> None:
    monkeypatch.setattr(iio, "RETRY_S", 0.1)
    folder = kernel.add(ADXL355)
    found = kernel.source("adxl355", 1000).recordings()
    kernel.send(adxl355_scans(np.arange(300) * PERIOD))
    take(found, samples=300)
    folder.rename(away := folder.with_name("away"))
    os.close(kernel.writer)
    (fault,) = take(found, faults=1)
    assert fault.fault.startswith("disconnected: ")
    for _ in range(4):
        assert next(found) is None
    kernel.open()
    away.rename(folder)
    assert next(found) is None
    kernel.send(adxl355_scans(np.arange(300) * PERIOD))
    taken = take(found, samples=300)
    assert not taken[0].follows
    assert {one.fault for one in taken} == {""}


def test_a_sensor_that_is_too_slow_ends_it(kernel, caplog) -> None:
    kernel.add(ADXL355)
    found = kernel.source("adxl355", 1000).recordings()
    kernel.send(adxl355_scans(np.arange(11_000) * PERIOD / 0.85))
    with pytest.raises(DataError, match=r"850 Hz, asked for 1000 Hz \(-15\.0%\); at most 10% off is usable"):
        for _ in found:
            pass
    assert "850 Hz" in caplog.text


# -- what is refused -------------------------------------------------------------------------------------


def test_what_is_not_there_is_named(kernel) -> None:
    kernel.add(ADXL345)
    with pytest.raises(DataError, match=r"'adxl355' is not there; .* has iio:device0 \(adxl345\)"):
        kernel.source("adxl355", 400)
    with pytest.raises(DataError, match=r"no channel 'w' in its buffer; it has in_accel_x, in_accel_y, in_accel_z"):
        kernel.source("adxl345", 400, ("x", "w"))
    write_tree(kernel.sysfs / "iio:device1", ADXL345)
    with pytest.raises(DataError, match=r"'adxl345' is there more than once: give its folder's name"):
        kernel.source("adxl345", 400)
    write_tree(kernel.sysfs / "iio:device2", {"name": "bme280"})
    with pytest.raises(DataError, match="no buffer: its driver cannot capture"):
        kernel.source("bme280", 400)
    write_tree(kernel.sysfs / "iio:device3", {**ADXL345, "name": "alone"})
    with pytest.raises(DataError, match="device3: not there or not to be read by this user"):
        kernel.source("alone", 400)
    write_tree(kernel.sysfs / "iio:device4", {**ADXL345, "name": "raw", "in_accel_scale": ""})
    with pytest.raises(DataError, match="the unit of in_accel_x is not known"):
        kernel.source("raw", 400)


def test_a_rate_that_the_device_does_not_take_is_refused(kernel) -> None:
    folder = kernel.add(ADXL345)
    path = folder / "in_accel_sampling_frequency"
    path.unlink()
    path.symlink_to("/dev/null")  # takes what is written, and is not changed by it
    with pytest.raises(DataError, match=r"no Hz, asked for 25600 Hz; it offers 100 200 400 800 1600 3200"):
        kernel.source("adxl345", 25_600)


# -- scans and rates, on their own -----------------------------------------------------------------------


@given(
    signed=st.booleans(),
    big=st.booleans(),
    stored=st.sampled_from([8, 16, 32, 64]),
    data=st.data(),
)
def test_every_type_gives_back_what_was_packed(signed, big, stored, data) -> None:
    shift = data.draw(st.integers(0, stored - 1))
    bits = data.draw(st.integers(1, stored - shift))
    if bits == 64:
        signed = True  # as timestamps are: no channel has 64 unsigned bits
    low, high = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)
    values = data.draw(st.lists(st.integers(low, high), min_size=1, max_size=5))
    text = f"{'be' if big else 'le'}:{'s' if signed else 'u'}{bits}/{stored}>>{shift}"
    noise = data.draw(st.integers(0, (1 << stored) - 1)) & ~(((1 << bits) - 1) << shift)
    words = [((value & ((1 << bits) - 1)) << shift | noise) for value in values]
    raw = b"".join(word.to_bytes(stored // 8, "big" if big else "little") for word in words)
    assert ScanLayout([Element.parse("a", 0, text)]).integers(raw, "a").tolist() == values


def test_elements_are_aligned_to_their_own_size() -> None:
    elements = [
        Element.parse("time", 9, "le:s64/64>>0"),
        Element.parse("a", 0, "le:s8/8>>0"),
        Element.parse("quaternion", 2, "le:s14/16X4>>0"),
        Element.parse("b", 1, "le:u24/32>>8"),
    ]
    layout = ScanLayout(elements)
    scan = struct.pack("<b3xI4hq", -3, 70_000 << 8, 1, -2, 3, 4, 99)
    assert layout.size == 24
    found = {name: layout.integers(scan, name).tolist() for name in ("a", "b", "quaternion", "time")}
    assert found == {"a": [-3], "b": [70_000], "quaternion": [1], "time": [99]}
    for text in ("le:s13", "le:s20/16>>0", "le:s16/24>>0", "le:s16/16>>1"):
        with pytest.raises(DataError, match="a: type"):
            Element.parse("a", 0, text)


def test_rates_near_and_far() -> None:
    block = np.full(6000, PERIOD)

    def judge(intervals, blocks: int = 1) -> RateCheck:
        check = RateCheck("sensor", 1000)
        for _ in range(blocks):
            check.timed(intervals.astype(np.int64))
        return check

    assert judge(block).achieved_hz == pytest.approx(1000)
    assert judge(block * 1.2).achieved_hz == pytest.approx(1000 / 1.2)  # one block alone may have had bad luck
    with pytest.raises(DataError, match=r"-16\.7%"):
        judge(block * 1.2, blocks=2)
    uneven = np.where(np.arange(6000) % 2, 0.4, 1.6) * PERIOD
    with pytest.raises(DataError, match=r"jitter by 0\.60 of a sample period, at most 0\.5 is usable"):
        judge(uneven, blocks=2)


def test_warnings_are_said_once(caplog) -> None:
    check = RateCheck("sensor", 1000)
    for _ in range(3):
        check.timed(np.full(6000, PERIOD * 1.05).astype(np.int64))
    assert [record.message for record in caplog.records] == ["sensor: 952.381 Hz, asked for 1000 Hz (-4.8%)"]


def test_without_timestamps_the_clock_of_arrival_tells() -> None:
    check = RateCheck("sensor", 1000)
    for second in range(31):
        check.untimed(1000, float(second))
    assert check.achieved_hz == pytest.approx(1000)
    for second in range(31, 62):  # a block with one bad end
        check.untimed(800, float(second))
    with pytest.raises(DataError, match="800 Hz"):
        [check.untimed(800, float(second)) for second in range(62, 120)]
