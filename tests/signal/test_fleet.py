"""Sources are tested on real files: every layout, every kind of number, every way to be wrong."""

import os
import subprocess
import sys
import time
import wave
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from fedtiny.errors import DataError
from fedtiny.signal.fleet import open_fleet, open_recordings
from fedtiny.signal.recording import Recording

TOML = 'sample_rate_hz = 1000\nchannels = ["x", "y"]\nbase = ["a"]\n'
GOOD = "0.5,1\n-2,3e-1\n"


def write(path: Path, content: str | bytes | np.ndarray | dict) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, str):
        path.write_text(content)
    elif isinstance(content, bytes):
        path.write_bytes(content)
    elif isinstance(content, dict):
        np.savez_compressed(path, **content)
    else:
        np.save(path, content)
    return path


def write_wav(path: Path, frames: bytes, *, width: int = 2, channels: int = 2, rate: int = 1000) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setparams((channels, width, rate, 0, "NONE", ""))
        file.writeframes(frames)
    return path


def fleet_folder(root: Path, toml: str = TOML) -> Path:
    write(root / "fleet.toml", toml)
    for machine in ("a", "b"):
        write(root / machine / "normal" / "1.csv", GOOD)
    return root


def read(path: Path, channels: tuple[str, ...] | None = ("x", "y"), rate: float | None = 1000) -> list[Recording]:
    return list(open_recordings(path, channels=channels, sample_rate_hz=rate))


def read_fleet(root: Path) -> dict[str, list[Recording]]:
    return {name: list(machine.recordings()) for name, machine in open_fleet(root).machines.items()}


# -- what is understood ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "0.5,1\n-2,0.3\n",
        "0.5;1\r\n-2;0.3\r\n",
        "0.5\t1\n-2\t0.3",
        "  0.5   1\n\n -2 0.3  \n\n",
        "x,y\n0.5,1\n-2,0.3\n",
        "horizontal g; vertical g\n0.5; 1\n-2; 0.3\n",
        "\ufeff0.5,1\n-2,0.3\n",
        '\ufeff"y","time","x"\n1,2024-01-01 10:00,0.5\n"0.3",2024-01-01 10:01,"-2"\n',
        "t,y,x\n0,1,0.5\n1,0.3,-2\n",
        "y x\n1 0.5\n0.3 -2\n",
    ],
)
def test_csv_of_any_dialect(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(text.encode())
    (one,) = read(path)
    assert one.samples.dtype == np.float32
    np.testing.assert_allclose(one.samples, [[0.5, 1], [-2, 0.3]])
    assert one.label == -1


def test_arrays_of_each_rank_and_integers_with_their_scale(tmp_path: Path) -> None:
    x = np.arange(24, dtype=np.int16).reshape(2, 6, 2)
    snapshots = read(write(tmp_path / "a.npz", {"x": x, "lsb": np.float32(0.5), "sample_rate_hz": 1000}))
    assert [one.name for one in snapshots] == ["a.npz snapshot 1", "a.npz snapshot 2"]
    np.testing.assert_array_equal([one.samples for one in snapshots], x * 0.5)
    np.testing.assert_array_equal(read(write(tmp_path / "b.npy", np.asfortranarray(x[0])))[0].samples, x[0])
    (mono,) = read(write(tmp_path / "c.npy", np.arange(5.0)), channels=None)
    assert mono.samples.shape == (5, 1)


@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_wav_of_each_width_is_scaled_to_one(tmp_path: Path, width: int) -> None:
    top = 2 ** (8 * width - 1)
    offset = top if width == 1 else 0
    values = [[-top, 0], [top // 2, -1]]
    frames = b"".join((value + offset).to_bytes(width, "little", signed=width > 1) for row in values for value in row)
    (one,) = read(write_wav(tmp_path / "a.wav", frames, width=width))
    np.testing.assert_allclose(one.samples, [[-1, 0], [0.5, -1 / top]], atol=1e-9)


def test_fleet_folder_end_to_end(tmp_path: Path) -> None:
    toml = 'sample_rate_hz = 1000\nchannels = ["x", "y"]\nbase = ["Machine 10"]\n'
    write(tmp_path / "fleet.toml", toml)
    write(tmp_path / "README.md", "about")
    for machine in ("Machine 10", "Machine-2"):
        for number in (10, 9, 1):
            write(tmp_path / machine / "normal" / f"{number}.csv", f"{number},0\n" * (20 + number))
        write(tmp_path / machine / "normal" / ".hidden.xls", "")
        write(tmp_path / machine / "normal" / "README", "about")
        write(tmp_path / machine / "notes.txt", "about")
    write(tmp_path / "Machine-2" / "anomalous" / "1.npz", {"x": np.full((2, 50, 2), 7.0)})
    fleet = open_fleet(tmp_path)
    assert fleet.base == open_fleet(tmp_path / "fleet.toml").base == ("machine-10",)
    assert (fleet.sample_rate_hz, fleet.channels, fleet.shortest) == (1000.0, ("x", "y"), 21)
    assert list(fleet.machines) == ["machine-2", "machine-10"]
    for _ in range(2):  # a fresh iterator each time
        found = list(fleet.machines["machine-2"].recordings())
        assert [one.samples[0, 0] for one in found] == [1, 9, 10, 7, 7]
        assert [one.label for one in found] == [0, 0, 0, 1, 1]
        assert [one.position for one in found] == [0, 0.25, 0.5, 0.75, 1]
        rest = fleet.machines["machine-2"].recordings(3)
        assert [(one.name, one.position) for one in rest] == [(one.name, one.position) for one in found[3:]]
    assert [one.label for one in fleet.machines["machine-10"].recordings()] == [0, 0, 0]


def test_a_machine_is_read_from_any_recording_on(data: Path) -> None:
    for path in (data / "femto" / "femto.npz", data / "raw" / "femto", data / "raw" / "ims" / "1st_test", None):
        machine = next(reversed(open_fleet(path).machines.values()))
        everything = list(machine.recordings())
        for first in (0, 1, len(everything)):
            rest = list(machine.recordings(first))
            assert [one.name for one in rest] == [one.name for one in everything[first:]]
            assert [one.position for one in rest] == [one.position for one in everything[first:]]


def test_fleet_is_read_lazily(tmp_path: Path) -> None:
    root = fleet_folder(tmp_path)
    write(root / "b" / "normal" / "2.csv", "1,2\nnan,4\n")
    recordings = open_fleet(root).machines["b"].recordings()
    assert next(recordings).samples.shape == (2, 2)
    with pytest.raises(DataError, match="row 2"):
        next(recordings)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real data where FEDTINY_DATA names it, else the same layouts, small."""
    if "FEDTINY_DATA" in os.environ:
        return Path(os.environ["FEDTINY_DATA"])
    root, rng = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
    arrays = {"lsb": np.float32(0.002), "sample_rate_hz": np.int32(25_600)}
    for name in ("Bearing1_1", "Bearing1_2", "Bearing2_1"):
        arrays[f"{name}_x"] = rng.integers(-500, 500, (8, 2560, 2)).astype(np.int16)
        arrays[f"{name}_idx"] = np.arange(0, 80, 10, dtype=np.int32)
        arrays[f"{name}_n"] = np.int32(80)
        arrays[f"{name}_label"] = np.array([-1, 0, 0, 0, -1, -1, -1, 1], np.int8)
    write(root / "femto" / "femto.npz", arrays)
    for name, mark in (("Bearing1_1", ","), ("Bearing1_4", ";"), ("Bearing2_7", ",")):
        for number in (1, 2, 10):
            rows = [mark.join(["8", "8", "0", "4.2504e+05", "0.065", f"{number}"])] * 2560
            write(root / "raw" / "femto" / name / f"acc_{number:05}.csv", "\n".join(rows) + "\n")
        write(root / "raw" / "femto" / name / "temp_00001.csv", "8,8,0,1,65.1\n")
    for minute in (6, 16):
        line = "\t".join(f"{value:.3f}" for value in range(8)) + "\r\n"
        write(root / "raw" / "ims" / "1st_test" / f"2003.10.22.12.{minute:02}.24", line * 20_480)
    return root


def test_femto_npz(data: Path) -> None:
    path = data / "femto" / "femto.npz"
    fleet = open_fleet(path)
    assert (fleet.sample_rate_hz, fleet.channels, fleet.shortest) == (
        25_600,
        ("horizontal", "vertical"),
        2560,
    )
    assert fleet.base == tuple(name for name in fleet.machines if name.startswith("bearing1_"))
    assert set(fleet.machines) - set(fleet.base)
    found = list(fleet.machines["bearing2_1"].recordings())
    with np.load(path) as raw:
        x, index, total = raw["Bearing2_1_x"], raw["Bearing2_1_idx"], raw["Bearing2_1_n"]
        np.testing.assert_array_equal([one.label for one in found], raw["Bearing2_1_label"])
        np.testing.assert_allclose(found[-1].samples, x[-1] * raw["lsb"], rtol=1e-6)
    np.testing.assert_allclose([one.position for one in found], index / total)
    assert {one.speed_hz for one in found} == {27.5}
    scored = open_recordings(path, channels=fleet.channels, sample_rate_hz=25_600)
    assert next(scored).label == -1


def test_femto_folder_with_either_separator(data: Path) -> None:
    fleet = open_fleet(data / "raw" / "femto")
    assert fleet.base == ("bearing1_1", "bearing1_4")
    assert fleet.shortest == 2560
    for name, machine in fleet.machines.items():
        found = list(machine.recordings())
        assert [one.position for one in found] == sorted(one.position for one in found)
        assert {(one.samples.shape, one.label) for one in found} == {((2560, 2), -1)}, name
        assert not any("temp" in one.name for one in found)
    folder = data / "raw" / "femto" / "Bearing1_4"
    first = next(open_recordings(folder, channels=("h", "v"), sample_rate_hz=25_600)).samples[0]
    cells = (folder / "acc_00001.csv").read_text().split("\n", 1)[0].split(";")
    np.testing.assert_allclose(first, [float(cell) for cell in cells[-2:]], rtol=1e-6)


def test_ims_folder(data: Path) -> None:
    root = data / "raw" / "ims" / "1st_test"
    fleet = open_fleet(root)
    assert (fleet.sample_rate_hz, len(fleet.channels), fleet.shortest) == (20_000, 8, 20_480)
    assert (list(fleet.machines), fleet.base) == (["1st_test"], ())
    found = list(fleet.machines["1st_test"].recordings())
    assert [one.name for one in found] == sorted(path.name for path in root.iterdir())
    assert {one.samples.shape for one in found} == {(20_480, 8)}
    assert {one.speed_hz for one in found} == {2000 / 60}
    assert found[0].at == datetime(2003, 10, 22, 12, 6, 24, tzinfo=UTC).timestamp()
    assert len(read(root, channels=None, rate=20_000)) == len(found)


def test_no_path_opens_the_simulator() -> None:
    fleet = open_fleet(None, seed=3)
    assert fleet.base
    assert set(fleet.base) < set(fleet.machines)


# -- what is refused: one line that names the file, what was found, what was expected ---------------------


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.csv", "", "empty"),
        ("a.csv", "\n \n", "empty"),
        ("a.csv", "x,y\n", "no rows"),
        ("a.csv", "1,2\n" * 16 + "3\n" + "1,2\n", "row 17 has 1 column, expected 2"),
        ("a.csv", "x,y\n1,2\n1,2,3\n", "row 3 has 3 columns, expected 2"),
        ("a.csv", "1\n2\n", "row 1 has 1 column, expected 2"),
        ("a.csv", "1,2,3\n4,5,6\n", "row 1 has 3 columns, expected 2"),
        ("a.csv", "x,t,y\n1,2\n", "row 2 has 2 columns, expected 3"),
        ("a.csv", "1,2\nnan,4\n", "row 2, column 1 is 'nan', expected a finite number"),
        ("a.csv", "x;y\n\n1;2\n3;-inf\n", "row 4, column 2 is '-inf', expected a finite number"),
        ("a.csv", "1,2\n3,1e39\n", "row 2, column 2 is '1e39', expected a finite number"),
        ("a.csv", "1,2\n3,abc\n", "row 2, column 2 is 'abc', expected a number"),
        ("a.csv", "1,2\n3,\n", "row 2, column 2 is '', expected a number"),
        ("a.csv", "1,5;2,5\n", "only '1,5;2,5'"),
        ("a.csv", b"\x00\xff\xfe" * 50, "no rows"),
        ("a.npz", {"y": np.ones((4, 2))}, "array 'x' is missing; found y"),
        ("a.npz", {"x": np.ones((4, 3))}, "3 columns; expected 2 channels"),
        ("a.npz", {"x": np.ones(4)}, "1 column; expected 2 channels"),
        ("a.npz", {"x": np.ones((1, 2, 3, 4))}, "4 dimensions"),
        ("a.npz", {"x": np.float32(1)}, "0 dimensions"),
        ("a.npz", {"x": np.ones((0, 2))}, "empty"),
        ("a.npz", {"x": np.array([[1, None]], object)}, "object"),
        ("a.npz", {"x": np.array([["a", "b"]])}, "expected integers or floats"),
        ("a.npz", {"x": np.array([[1, 2], [3, np.nan]])}, "row 2, column 2 is nan"),
        ("a.npz", {"x": np.array([[[1, 2]], [[np.inf, 2]]])}, "snapshot 2, row 1, column 1 is inf"),
        ("a.npz", {"x": np.ones((4, 2), int), "lsb": np.ones(2)}, "'lsb' has 1 dimensions"),
        ("a.npz", {"x": np.ones((4, 2), int), "lsb": 0}, "lsb is 0"),
        ("a.npz", {"x": np.ones((4, 2)), "sample_rate_hz": 500}, "sampled at 500 Hz, expected 1000 Hz"),
        ("a.npz", b"PK\x03\x04 and then nothing", "not an intact npz"),
        ("a.npy", b"\x93NUMPY", "cannot be read"),
        ("a.npy", np.array([[1, None]], object), "object"),
        ("a.wav", b"RIFF\x00\x00", "not a WAV of PCM"),
        ("a.xlsx", b"PK", "kind '.xlsx', expected CSV, NPY, NPZ, WAV, H5, HDF5 or MAT"),
        ("2003.10.22.12.06.24", "1 2\n", "sampled at 20000 Hz, expected 1000 Hz"),
        ("acc_00001.csv", "1,2,3,4,5,6\n", "sampled at 25600 Hz, expected 1000 Hz"),
    ],
)
def test_bad_recording(tmp_path: Path, name: str, content: str | bytes | np.ndarray | dict, words: str) -> None:
    path = write(tmp_path / name, content)
    with pytest.raises(DataError, match=words) as caught:
        read(path)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_bad_wav(tmp_path: Path) -> None:
    frames = bytes(400)
    for path, words in [
        (write_wav(tmp_path / "rate.wav", frames, rate=8000), "sampled at 8000 Hz, expected 1000 Hz"),
        (write_wav(tmp_path / "mono.wav", frames, channels=1), "1 column, expected 2"),
        (write_wav(tmp_path / "empty.wav", b""), "empty"),
    ]:
        with pytest.raises(DataError, match=words):
            read(path)
    cut = write_wav(tmp_path / "cut.wav", frames)
    cut.write_bytes(cut.read_bytes()[:-8])
    with pytest.raises(DataError, match="cut short at 98 samples, its header says 100"):
        read(cut)


def test_truncated_or_corrupt_npz(tmp_path: Path) -> None:
    path = write(tmp_path / "a.npz", {"x": np.random.default_rng(0).normal(size=(2000, 2))})
    whole = path.read_bytes()
    for broken in (whole[: len(whole) // 2], whole[:1000] + bytes(100) + whole[1100:]):
        path.write_bytes(broken)
        with pytest.raises(DataError, match=r"a\.npz"):
            read(path)


@pytest.mark.parametrize(
    ("toml", "words"),
    [
        (TOML + "window = 5\n", "unknown key 'window'"),
        ('channels = ["x", "y"]\nbase = ["a"]\n', "sample_rate_hz is missing"),
        (TOML.replace("1000", '"fast"'), "sample_rate_hz is 'fast'"),
        (TOML.replace("1000", "true"), "sample_rate_hz is True"),
        (TOML.replace("1000", "-1"), "sample_rate_hz is -1"),
        (TOML.replace("1000", "nan"), "sample_rate_hz is nan"),
        (TOML.replace('["x", "y"]', '"x"'), "channels is 'x'"),
        (TOML.replace('["x", "y"]', "[]"), r"channels is \[\]"),
        (TOML.replace('"y"', '"x"'), "channels names one twice"),
        (TOML.replace('["a"]', '["a", "c"]'), "base names 'c', which is not there; found a, b"),
        (TOML.replace('["a"]', '["a", "b"]'), "every machine is in the base"),
        (TOML.replace("=", "is", 1), "not readable TOML"),
    ],
)
def test_bad_fleet_toml(tmp_path: Path, toml: str, words: str) -> None:
    with pytest.raises(DataError, match=words) as caught:
        open_fleet(fleet_folder(tmp_path, toml))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ("c/anomalous/1.csv", "normal: no such"),
        ("c/normal/readme.txt", "normal: no recordings"),
        ("c/1.csv", "expected only normal/ and anomalous/"),
        ("a/anomalus/1.csv", "expected only normal/ and anomalous/"),
        ("a/normal/deeper/1.csv", "a folder, expected CSV"),
        ("a/normal/2.xls", "kind '.xls', expected CSV, NPY, NPZ, WAV, H5, HDF5 or MAT"),
        ("a 1/normal/1.csv", "machines 'a 1' and 'a-1' would both be device 'a-1'"),
        ("---/normal/1.csv", "no letter a-z or digit"),
    ],
)
def test_bad_fleet_folder(tmp_path: Path, extra: str, words: str) -> None:
    root = fleet_folder(tmp_path)
    write(root / "a-1" / "normal" / "1.csv", GOOD)
    write(root / extra, GOOD)
    with pytest.raises(DataError, match=words):
        open_fleet(root)


def test_wav_of_another_rate_in_a_fleet(tmp_path: Path) -> None:
    root = fleet_folder(tmp_path)
    write_wav(root / "b" / "normal" / "2.wav", bytes(400), rate=48_000)
    with pytest.raises(DataError, match=r"2\.wav: sampled at 48000 Hz, expected 1000 Hz"):
        open_fleet(root)


def test_snapshot_one_row_short(tmp_path: Path) -> None:
    femto = tmp_path / "femto"
    for machine in ("Bearing1_1", "Bearing2_1"):
        for number in (1, 2, 3):
            write(femto / machine / f"acc_0000{number}.csv", "1,2,3,4,0.5,0.6\n" * (100 - (number == 3)))
    with pytest.raises(DataError, match=r"acc_00003\.csv: 99 rows, expected 100 as in acc_00001\.csv"):
        read_fleet(femto)
    ims = tmp_path / "ims"
    for number in (1, 2):
        write(ims / f"2004.02.12.10.32.0{number}", "1\t2\n" * (100 - (number == 2)))
    with pytest.raises(DataError, match="99 rows, expected 100"):
        read_fleet(ims)


def test_femto_file_with_a_column_missing(tmp_path: Path) -> None:
    for machine in ("Bearing1_1", "Bearing2_1"):
        write(tmp_path / machine / "acc_00001.csv", "1,2,3,4,0.5,0.6\n1,2,3,4,0.5\n")
    with pytest.raises(DataError, match="row 2 has 5 columns, expected 6"):
        read_fleet(tmp_path)


def test_femto_npz_with_a_key_missing(tmp_path: Path) -> None:
    arrays = {}
    for name in ("Bearing1_1", "Bearing2_1"):
        arrays |= {f"{name}_x": np.ones((3, 9, 2), np.int16), f"{name}_idx": np.arange(3), f"{name}_n": 3}
    path = write(tmp_path / "f.npz", arrays)
    with pytest.raises(DataError, match="array 'Bearing1_1_label' is missing"):
        read_fleet(path)


@pytest.mark.parametrize("name", ["folder/a.csv", "a.csv", "a.npz", "nothing"])
def test_not_a_fleet(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name.endswith(".npz"):
        write(path, {"x": np.ones((4, 2))})
    elif name != "nothing":
        write(path, GOOD)
    expected = "no such file or folder" if name == "nothing" else r"not a fleet; expected .*fleet\.toml.*FEMTO.*IMS"
    with pytest.raises(DataError, match=expected):
        open_fleet(path.parent if name.startswith("folder") else path)


def test_recordings_that_differ_in_columns(tmp_path: Path) -> None:
    write(tmp_path / "1.csv", GOOD)
    write(tmp_path / "2.csv", "1\n2\n")
    with pytest.raises(DataError, match=r"2\.csv: 1 column, expected 2"):
        read(tmp_path, channels=None)
    (tmp_path / "none").mkdir()
    with pytest.raises(DataError, match="no recordings"):
        read(tmp_path / "none")


# -- what it costs ---------------------------------------------------------------------------------------


def test_a_long_csv_is_parsed_at_the_speed_of_c(tmp_path: Path) -> None:
    path = write(tmp_path / "long.csv", "x,y\n" + "0.12345,-1.5\n" * 300_000)
    start = time.process_time()
    (one,) = read(path)
    ours = time.process_time() - start
    assert one.samples.shape == (300_000, 2)
    start = time.process_time()
    [list(map(float, line.split(","))) for line in path.read_text().splitlines()[1:]]
    assert ours < time.process_time() - start  # its fallback, row by row, takes 1.5 times as long


def test_device_side_imports_stay_small() -> None:
    code = (
        "import sys, fedtiny.signal.fleet, fedtiny.signal.simulator\n"
        "print({'pydantic', 'paho', 'tensorflow', 'click'} & {name.split('.')[0] for name in sys.modules})"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "set()"
