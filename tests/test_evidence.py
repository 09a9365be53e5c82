import errno
import logging
import os

import numpy as np
import pytest

from fedtiny import store
from fedtiny.evidence import MOST_MEMORY, Evidence
from fedtiny.signal.fleet import open_recordings

CHANNELS = ("x", "y")


def window(number, size=64):
    """Samples that tell their window."""
    return np.full((size, 2), number, np.float32)


def feed(evidence, numbers, size=64):
    for number in numbers:
        evidence.add(number, window(number, size), at=1000.0 + number, score=number / 10)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "evidence"


def make(folder, **options):
    return Evidence(folder, 25_600.0, CHANNELS, **options)


def kept(path):
    with np.load(path) as file:
        return file["x"][:, 0, 0].tolist()


def test_windows_before_the_alarm_are_there_at_once_and_those_after_it_follow(folder):
    evidence = make(folder, before=3, after=2)
    feed(evidence, range(10))
    assert evidence.keep("alarm-1")
    assert kept(folder / "alarm-1.npz") == [7, 8, 9]
    feed(evidence, [10])
    assert kept(folder / "alarm-1.npz") == [7, 8, 9]
    feed(evidence, [11, 12, 13])
    with np.load(folder / "alarm-1.npz") as file:
        assert file["x"].dtype == np.float32
        assert file["x"].shape == (5, 64, 2)
        assert file["first_window"] == 7
        assert file["at"].tolist() == [1007, 1008, 1009, 1010, 1011]
        np.testing.assert_allclose(file["score"], [0.7, 0.8, 0.9, 1.0, 1.1])
        assert file["sample_rate_hz"] == 25_600
        assert file["channels"].tolist() == ["x", "y"]


def test_a_kept_file_can_be_read_as_recordings_again(folder):
    evidence = make(folder, before=4, after=0)
    feed(evidence, range(4))
    evidence.keep("alarm")
    found = list(open_recordings(folder / "alarm.npz", channels=CHANNELS, sample_rate_hz=25_600.0))
    assert [one.samples[0, 0] for one in found] == [0, 1, 2, 3]
    assert all(one.samples.shape == (64, 2) for one in found)


def test_no_files_are_kept_where_none_are_wanted(folder):
    evidence = make(folder, most_files=0)
    feed(evidence, [0])
    assert not evidence.keep("alarm")
    assert not folder.exists()


def test_samples_are_copied(folder):
    evidence = make(folder, before=2)
    buffer = window(1)
    evidence.add(1, buffer)
    buffer[:] = 9
    evidence.keep("alarm")
    assert kept(folder / "alarm.npz") == [1]


def test_a_second_alarm_finishes_the_file_of_the_first(folder):
    evidence = make(folder, before=2, after=4)
    feed(evidence, [0, 1])
    evidence.keep("a")
    feed(evidence, [2])
    evidence.keep("b")
    feed(evidence, [3, 4, 5])
    evidence.close()
    assert kept(folder / "a.npz") == [0, 1, 2]
    assert kept(folder / "b.npz") == [1, 2, 3, 4, 5]


def test_files_outlive_a_restart(folder):
    for number in (1, 2):
        evidence = make(folder)
        feed(evidence, [number])
        assert evidence.keep(f"alarm-{number}")
    assert kept(folder / "alarm-1.npz") == [1]
    assert kept(folder / "alarm-2.npz") == [2]


def test_without_windows_there_is_no_file(folder):
    assert not make(folder).keep("alarm")
    assert not folder.exists()


def test_the_oldest_files_go_first_even_when_the_clock_is_set_back(folder):
    evidence = make(folder, before=1, after=0, most_files=3)
    for number in range(5):
        feed(evidence, [number])
        assert evidence.keep(f"alarm-{number}")
        if number == 1:  # written under a clock that is years ahead
            file = folder / "alarm-1.npz"
            ahead = file.stat().st_mtime_ns + 10**17
            os.utime(file, ns=(ahead, ahead))
    assert sorted(file.name for file in folder.iterdir()) == ["alarm-2.npz", "alarm-3.npz", "alarm-4.npz"]


def test_the_folder_stays_below_its_bytes(folder):
    evidence = make(folder, before=4, after=2, most_bytes=20_000)
    for number in range(20):
        feed(evidence, [2 * number, 2 * number + 1])
        evidence.keep(f"alarm-{number:02d}")
        assert sum(file.stat().st_size for file in folder.iterdir()) <= 20_000
    assert (folder / "alarm-19.npz").exists()


def test_large_windows_are_fewer(folder):
    size = MOST_MEMORY // 2 // (3 * 8)  # three before, three after
    evidence = make(folder)
    feed(evidence, range(10), size)
    evidence.keep("alarm")
    assert kept(folder / "alarm.npz") == [7, 8, 9]
    feed(evidence, range(10, 20), size)
    assert kept(folder / "alarm.npz") == [7, 8, 9, 10, 11, 12]


def test_a_full_disk_is_a_warning_and_the_next_alarm_is_kept(folder, monkeypatch, caplog):
    evidence = make(folder, before=2, after=2)
    feed(evidence, [0, 1])

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(store.os, "fsync", full)
        with caplog.at_level(logging.WARNING):
            assert not evidence.keep("first")
    assert "No space left on device" in caplog.text
    assert list(folder.iterdir()) == []
    feed(evidence, [2, 3, 4])
    assert evidence.keep("second")
    assert kept(folder / "second.npz") == [3, 4]


def test_a_folder_that_is_a_file_is_a_warning(folder, caplog):
    folder.write_text("")
    evidence = make(folder)
    feed(evidence, [0])
    assert not evidence.keep("alarm")
    assert "not kept" in caplog.text
