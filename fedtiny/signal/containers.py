"""HDF5 and MAT files; their readers, h5py and scipy, are asked for when such a file comes.

A file holds its signal as the array ``x``, as an array a channel (called like the channels), or as its only array
of numbers. ``lsb`` and ``sample_rate_hz`` may lie beside it, as in an NPZ.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedtiny.errors import DataError
from fedtiny.signal.arrays import check_array, scaled
from fedtiny.signal.checks import check_rate, package, reason
from fedtiny.signal.recording import Samples

_BESIDE = ("lsb", "sample_rate_hz")
_MAT_OF_HDF5 = b"MATLAB 7.3"


def read_container(path: Path, channels: tuple[str, ...] | None, rate: float | None) -> Iterator[Samples]:
    """The stretches of signal in a file, each float32 (samples, channels), times `lsb`."""
    with _arrays(path) as arrays:
        keys = _chosen(path, arrays, channels, rate)
        lsb = _scalar(path, arrays, "lsb") if "lsb" in arrays else 1.0
        count = len(channels) if channels else None
        yield from scaled(path, ", ".join(keys), _stretches(path, [arrays[key] for key in keys]), count, lsb)


def container_extent(path: Path, channels: tuple[str, ...] | None, rate: float | None) -> tuple[int, int]:
    """How many stretches a file holds, and the samples of each."""
    with _arrays(path) as arrays:
        shape = arrays[_chosen(path, arrays, channels, rate)[0]].shape
    return (shape[0], shape[1]) if len(shape) == 3 else (1, shape[0])


@contextmanager
def _arrays(path: Path) -> Iterator[dict[str, Any]]:
    """The arrays of numbers in a file by their names; those of HDF5 are read when they are sliced."""
    try:
        with path.open("rb") as file:
            matlab, wrapped = path.suffix.lower() == ".mat", file.read(len(_MAT_OF_HDF5)) == _MAT_OF_HDF5
        if matlab and not wrapped:
            loaded = package("scipy.io", "files", f"{path}: MAT").loadmat(path)
            yield {name: _upright(value) for name, value in loaded.items() if _is_numbers(value)}
            return
        h5py = package("h5py", "files", f"{path}: HDF5")
        with h5py.File(path, "r") as file:
            found: dict[str, Any] = {}
            file.visititems(lambda name, one: found.update({name: one}) if isinstance(one, h5py.Dataset) else None)
            found = {name: one for name, one in found.items() if _is_numbers(one) and not name.startswith("#")}
            # MATLAB stores by columns: what it calls (samples, channels) lies here as (channels, samples)
            yield {name: _upright(one[()].T) for name, one in found.items()} if matlab else found
    except DataError:
        raise
    except Exception as error:  # what a reader of foreign bytes trips over has no common class
        raise DataError(f"{path}: cannot be read ({reason(error)})") from None


def _is_numbers(value: Any) -> bool:
    return getattr(getattr(value, "dtype", None), "kind", "") in tuple("iuf") and value.size > 0


def _upright(value: NDArray[Any]) -> NDArray[Any]:
    """MATLAB knows no vectors: a single row is one."""
    return value.T if value.ndim == 2 and value.shape[0] == 1 else value


def _chosen(path: Path, arrays: dict[str, Any], channels: tuple[str, ...] | None, rate: float | None) -> list[str]:
    """Names of the arrays that are the signal: one of all channels, or one for each."""
    if "sample_rate_hz" in arrays:
        check_rate(path, _scalar(path, arrays, "sample_rate_hz"), rate)
    candidates = [name for name in arrays if name not in _BESIDE]
    if "x" in arrays:
        keys = ["x"]
    elif channels and set(channels) <= set(arrays):
        keys = list(channels)
    elif len(candidates) == 1:
        keys = candidates
    else:
        found = ", ".join(candidates[:8]) or "no arrays of numbers"
        raise DataError(f"{path}: array 'x' is missing; found {found}")
    for key in keys:
        check_array(path, key, arrays[key].shape, arrays[key].dtype, (1, 2, 3))
    return keys


def _scalar(path: Path, arrays: dict[str, Any], key: str) -> float:
    if arrays[key].size != 1:
        raise DataError(f"{path}: {key} has {arrays[key].size} values, expected one")
    return float(np.asarray(arrays[key]).item())


def _stretches(path: Path, arrays: list[Any]) -> Iterator[NDArray[Any]]:
    """Stretches (samples, channels) of one array, or the columns of several side by side."""
    if len(arrays) > 1:
        columns = [np.asarray(one).reshape(len(one), -1) for one in arrays]
        if len({one.shape for one in columns}) > 1 or columns[0].shape[1] != 1:
            shapes = ", ".join(str(one.shape) for one in arrays)
            raise DataError(f"{path}: its channels have the shapes {shapes}, expected equal columns")
        yield np.concatenate(columns, axis=1)
    elif arrays[0].ndim == 3:
        yield from (np.asarray(arrays[0][number]) for number in range(len(arrays[0])))
    else:
        yield np.asarray(arrays[0]).reshape(len(arrays[0]), -1)
