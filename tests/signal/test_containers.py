"""HDF5 and MAT through the readers that people write them with."""

import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io

from fedtiny.errors import DataError
from fedtiny.signal.fleet import open_recordings

X = np.arange(12, dtype=np.int16).reshape(6, 2)


def read(path: Path, channels: tuple[str, ...] | None = ("a", "b")) -> list[np.ndarray]:
    return [one.samples for one in open_recordings(path, channels=channels, sample_rate_hz=1000)]


def write(path: Path, arrays: dict) -> Path:
    if path.suffix == ".mat":
        scipy.io.savemat(path, arrays)
        return path
    with h5py.File(path, "w") as file:
        for name, values in arrays.items():
            file[name] = values
    return path


@pytest.mark.parametrize("kind", ["h5", "hdf5", "mat"])
def test_every_way_to_hold_a_signal(tmp_path: Path, kind: str) -> None:
    beside = {"lsb": 0.5, "sample_rate_hz": 1000}
    for number, arrays in enumerate(
        [
            {"x": X, "other": np.ones(5), **beside},
            {"b": X[:, 1], "a": X[:, 0], "rpm": np.array([1797.0]), **beside},
            {"data": X, "title": "pump", **beside},
        ]
    ):
        (found,) = read(write(tmp_path / f"{number}.{kind}", arrays))
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, X * 0.5)
    snapshots = read(write(tmp_path / f"many.{kind}", {"x": np.stack([X, X + 1, X + 2])}))
    np.testing.assert_array_equal(snapshots, [X, X + 1, X + 2])


def test_a_dataset_in_a_group_is_found(tmp_path: Path) -> None:
    (found,) = read(write(tmp_path / "a.h5", {"run 1/acceleration": X}))
    np.testing.assert_array_equal(found, X)


def test_a_mat_file_of_version_7_3_is_hdf5_by_columns(tmp_path: Path) -> None:
    path = tmp_path / "a.mat"
    with h5py.File(path, "w", userblock_size=512) as file:
        file["x"] = X.T
        file["#refs#/a"] = np.ones(3)
    with path.open("r+b") as raw:
        raw.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(116))
    np.testing.assert_array_equal(read(path), [X])


@pytest.mark.parametrize("kind", ["h5", "mat"])
@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"one": X, "two": X}, "array 'x' is missing; found one, two"),
        ({"title": "pump"}, "array 'x' is missing; found no arrays of numbers"),
        ({"x": np.ones((2, 2, 2, 2))}, "4 dimensions"),
        ({"x": np.ones((5, 3))}, "3 columns; expected 2 channels"),
        ({"x": np.where(X == 5, np.nan, X)}, "row 3, column 2 is nan"),
        ({"x": X, "sample_rate_hz": 500.0}, "sampled at 500 Hz, expected 1000 Hz"),
        ({"x": X, "lsb": np.ones(2)}, "lsb has 2 values, expected one"),
        ({"a": np.ones(5), "b": np.ones(6)}, "expected equal columns"),
    ],
)
def test_what_is_refused(tmp_path: Path, kind: str, arrays: dict, words: str) -> None:
    with pytest.raises(DataError, match=words) as caught:
        read(write(tmp_path / f"a.{kind}", arrays))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["h5", "mat"])
def test_damaged_files(tmp_path: Path, kind: str) -> None:
    whole = write(tmp_path / f"a.{kind}", {"x": np.random.default_rng(0).normal(size=(2000, 2))}).read_bytes()
    for broken in (b"", b"nonsense" * 40, whole[: len(whole) // 2]):
        path = tmp_path / f"broken.{kind}"
        path.write_bytes(broken)
        with pytest.raises(DataError, match=f"broken.{kind}: cannot be read"):
            read(path)


@pytest.mark.parametrize(("kind", "package"), [("h5", "h5py"), ("mat", "scipy")])
def test_a_missing_package_is_named(tmp_path: Path, monkeypatch, kind: str, package: str) -> None:
    for name in ("h5py", "scipy", "scipy.io"):
        monkeypatch.setitem(sys.modules, name, None)
    (tmp_path / f"a.{kind}").write_bytes(b"anything")
    with pytest.raises(DataError, match=rf"needs the package {package}: pip install 'fedtiny\[files\]'"):
        read(tmp_path / f"a.{kind}")
