"""A folder as other programs fill it: slowly, out of order, with rubbish."""

import os
import time
from pathlib import Path

import numpy as np
import pytest

from fedtiny.config import load_config
from fedtiny.errors import DataError
from fedtiny.sources import folder, open_source
from fedtiny.sources.folder import Folder

GOOD = "0.5,1\n-2,3\n"


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(folder, "SETTLE_S", 0.1)


def watch(path: Path, rate: float = 1000) -> Folder:
    return Folder(path, rate, ("x", "y"), poll_s=0.02)


def test_files_there_and_files_to_come_in_natural_order(tmp_path, take) -> None:
    for number in (10, 9):
        (tmp_path / f"r{number}.csv").write_text(f"{number},0\n" * 5)
    found = watch(tmp_path).recordings()
    first = take(found, samples=10)
    assert [(one.name, one.samples[0, 0]) for one in first] == [("r9.csv", 9), ("r10.csv", 10)]
    assert first[0].at == pytest.approx((tmp_path / "r9.csv").stat().st_mtime, abs=1e-3)
    assert not first[0].follows
    np.savez(tmp_path / "r11.npz", x=np.ones((2, 3, 2)))
    (tmp_path / "notes.txt").write_text("about")
    assert [one.name for one in take(found, samples=6)] == ["r11.npz", "r11.npz snapshot 2"]


@pytest.mark.parametrize(
    ("name", "content", "rate", "values", "at"),
    [
        ("acc_00001.csv", "9,39,39,65664,0.552,-0.146\n" * 4, 25_600, [0.552, -0.146], None),
        ("acc_00001.csv", "9;39;39;65664;0.552;-0.146\n" * 4, 25_600, [0.552, -0.146], None),
        ("2003.10.22.12.06.24", "-0.022\t-0.039\r\n" * 4, 20_000, [-0.022, -0.039], 1066824384.0),
        ("a.csv", "time,y,x\n10:00,2,1\n", 1000, [1, 2], None),
    ],
)
def test_layouts(tmp_path, take, name, content, rate, values, at) -> None:
    (tmp_path / name).write_text(content)
    (tmp_path / "temp_00001.csv").write_text("9,39,39,65664,65.1\n")  # beside FEMTO's own
    (one,) = take(watch(tmp_path, rate).recordings(), samples=1)
    np.testing.assert_allclose(one.samples[0], values, rtol=1e-6)
    assert one.at == pytest.approx(at if at is not None else (tmp_path / name).stat().st_mtime, abs=1e-3)


def test_a_file_is_read_when_it_is_whole(tmp_path, take, monkeypatch) -> None:
    monkeypatch.setattr(folder, "SETTLE_S", 0.6)
    found = watch(tmp_path).recordings()
    with (tmp_path / "1.csv").open("w") as file:
        for _ in range(8):  # a slow writer: never still for as long as it takes to settle
            file.write("1,2\n")
            file.flush()
            until = time.monotonic() + 0.05
            while time.monotonic() < until:
                assert next(found) is None
    (tmp_path / "2.csv.part").write_text("1,2\n3,")
    (tmp_path / ".3.csv").write_text("1,2\n3,")
    (one,) = take(found, samples=1)
    assert (one.name, len(one.samples)) == ("1.csv", 8)
    (tmp_path / "2.csv.part").write_text("1,2\n3,4\n")
    (tmp_path / "2.csv.part").rename(tmp_path / "2.csv")
    (one,) = take(found, samples=1)
    assert (one.name, len(one.samples)) == ("2.csv", 2)


def test_it_goes_on_behind_its_cursor(tmp_path, take) -> None:
    for number in (1, 2):
        np.savez(tmp_path / f"{number} and more.npz", x=np.full((3, 4, 2), number))
    everything = take(watch(tmp_path).recordings(), samples=24)
    for done, one in enumerate(everything, 1):
        assert one.cursor
        (tmp_path / "3.csv").write_text(GOOD)
        rest = take(watch(tmp_path).recordings(one.cursor), samples=(6 - done) * 4 + 2)
        assert [one.name for one in rest] == [one.name for one in everything[done:]] + ["3.csv"]


def test_an_unreadable_file_stops_nothing(tmp_path, take, caplog) -> None:
    (tmp_path / "1.csv").write_text(GOOD)
    (tmp_path / "2.csv").write_text("1,2\nnan,4\n")
    (tmp_path / "3.npz").write_bytes(b"PK\x03\x04 nonsense")
    (tmp_path / "4.wav").write_bytes(b"")
    (tmp_path / "5.csv").mkdir()
    (tmp_path / "6.csv").write_text("1\n2\n")
    (tmp_path / "7.xls").write_text("?")
    (tmp_path / "8.csv").write_text(GOOD)
    found = take(watch(tmp_path).recordings(), samples=4)
    assert [one.name for one in found] == ["1.csv", "2.csv", "3.npz", "4.wav", "5.csv", "6.csv", "8.csv"]
    bad = found[1:-1]
    assert {one.samples.shape for one in bad} == {(0, 2)}
    assert all(one.fault.startswith("unreadable: ") and one.name in one.fault for one in bad)
    assert "row 2, column 1 is 'nan'" in bad[0].fault
    assert "7.xls: left alone" in caplog.text
    for one in bad:  # and after a restart it is not tried again
        assert take(watch(tmp_path).recordings(one.cursor), samples=2)[0].name != one.name


def test_a_file_that_was_only_slow_is_read_after_all(tmp_path, take) -> None:
    path = tmp_path / "1.csv"
    path.write_text("1,2\n3,")
    source = watch(tmp_path)
    found = source.recordings()
    while not any(look.failed for look in source._looks.values()):
        assert next(found) is None
    path.write_text("1,2\n3,4\n")
    (one,) = take(found, samples=2)
    assert not one.fault


def test_a_late_file_is_said_and_left_out(tmp_path, take, caplog) -> None:
    (tmp_path / "5.csv").write_text(GOOD)
    source = watch(tmp_path)
    found = source.recordings()
    take(found, samples=2)
    (tmp_path / "4.csv").write_text(GOOD)
    (tmp_path / "6.csv").write_text(GOOD)
    assert [one.name for one in take(found, samples=2)] == ["6.csv"]
    for _ in range(5):
        assert next(found) is None
    assert source.late == 1
    assert caplog.text.count("4.csv: came after 5.csv was read") == 1


def test_a_folder_that_goes_away_and_comes_back(tmp_path, take) -> None:
    path, away = tmp_path / "in", tmp_path / "away"
    path.mkdir()
    (path / "1.csv").write_text(GOOD)
    found = watch(path).recordings()
    take(found, samples=2)
    path.rename(away)
    (fault,) = take(found, faults=1)
    assert fault.fault.startswith("disconnected: ")
    assert fault.cursor == "1 1.csv"
    (away / "2.csv").write_text(GOOD)
    away.rename(path)
    assert [one.name for one in take(found, samples=2)] == ["2.csv"]


def test_from_the_configuration(tmp_path, take) -> None:
    (tmp_path / "a.csv").write_text(GOOD)
    told = {"kind": "folder", "path": tmp_path, "sample_rate_hz": 1000, "channels": ["x", "y"], "poll_s": 0.05}
    source = open_source(load_config(None, **{f"source__{key}": value for key, value in told.items()}))
    assert (source.name, source.live) == (f"folder {tmp_path}", False)
    (one,) = take(source.recordings(), samples=2)
    assert os.path.basename(one.name) == "a.csv"
    with pytest.raises(DataError, match="no such file or folder"):
        watch(tmp_path / "none")
    with pytest.raises(DataError, match="a file, expected a folder"):
        watch(tmp_path / "a.csv")
