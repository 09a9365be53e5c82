"""Arrays in NPY and NPZ files, read a stretch at a time where their order allows it."""

import math
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from fedtiny.errors import DataError
from fedtiny.signal.checks import columns_in, reason
from fedtiny.signal.recording import Samples

_BROKEN_FILE = (zipfile.BadZipFile, zlib.error, OSError, ValueError, EOFError)
_npy: Any = np.lib.format  # numpy's own reader of .npy streams; untyped there


def read_array(path: Path, channels: int | None, *, key: str = "x") -> Iterator[Samples]:
    """Stretches of an array (samples), (samples, channels) or (snapshots, samples, channels), times `lsb`."""
    lsb = float(array_of(path, "lsb", ranks=(0,))) if path.suffix.lower() == ".npz" and "lsb" in keys_of(path) else 1.0
    yield from scaled(path, key, _stretches(path, key), channels, lsb)


def scaled(
    path: Path, key: str, stretches: Iterable[NDArray[Any]], channels: int | None, lsb: float
) -> Iterator[Samples]:
    """Stretches (samples, channels) of numbers as float32 in physical units, each checked; `lsb`: units a step."""
    scale = np.float32(lsb)
    if not 0 < scale < math.inf:
        raise DataError(f"{path}: lsb is {scale}, expected a number above 0")
    for number, stretch in enumerate(stretches, 1):
        if channels not in (None, stretch.shape[1]):
            raise DataError(f"{path}: array {key!r} has {columns_in(stretch.shape[1])}; expected {channels} channels")
        with np.errstate(over="ignore", invalid="ignore"):
            samples = np.ascontiguousarray(stretch, np.float32) * scale
        if not np.isfinite(samples).all():
            row, column = np.argwhere(~np.isfinite(samples))[0]
            raise DataError(
                f"{path}: array {key!r}, snapshot {number}, row {row + 1}, column {column + 1} is "
                f"{stretch[row, column]}, expected a finite number"
            )
        yield samples


def array_extent(path: Path, key: str) -> tuple[int, int]:
    """Stretches in an array and the samples of each, from its header alone."""
    with _stream(path, key) as stream:
        shape, _, dtype = _header(stream)
        check_array(path, key, shape, dtype, (1, 2, 3))
    return (shape[0], shape[1]) if len(shape) == 3 else (1, shape[0])


def array_of(path: Path, key: str, *, ranks: tuple[int, ...]) -> NDArray[Any]:
    """A whole array with as many dimensions as one of ``ranks``; never a pickle."""
    with _stream(path, key) as stream:
        values: NDArray[Any] = _npy.read_array(stream, allow_pickle=False)
    check_array(path, key, values.shape, values.dtype, ranks)
    return values


def keys_of(path: Path) -> list[str]:
    """Names of the arrays in an npz."""
    try:
        with zipfile.ZipFile(path) as archive:
            return _names_of(archive)
    except _BROKEN_FILE as error:
        raise DataError(f"{path}: not an intact npz ({reason(error)})") from None


def _stretches(path: Path, key: str) -> Iterator[NDArray[Any]]:
    """An array's stretches (samples, channels), read one by one where the file's order allows it."""
    with _stream(path, key) as stream:
        shape, fortran, dtype = _header(stream)
        check_array(path, key, shape, dtype, (1, 2, 3))
        if len(shape) == 3 and not fortran:
            size = shape[1] * shape[2] * dtype.itemsize
            for number in range(shape[0]):
                raw = stream.read(size)
                if len(raw) != size:
                    raise DataError(f"{path}: array {key!r} ends in snapshot {number + 1} of {shape[0]}")
                yield np.frombuffer(raw, dtype).reshape(shape[1:])
            return
    values = array_of(path, key, ranks=(1, 2, 3))
    yield from values if values.ndim == 3 else values.reshape(1, len(values), -1)


@contextmanager
def _stream(path: Path, key: str) -> Iterator[IO[bytes]]:
    """One array's .npy bytes; whatever its reader trips over becomes a DataError."""
    try:
        if path.suffix.lower() == ".npy":
            with path.open("rb") as stream:
                yield stream
            return
        with zipfile.ZipFile(path) as archive:
            if f"{key}.npy" not in archive.namelist():
                found = ", ".join(_names_of(archive)[:8]) or "none"
                raise DataError(f"{path}: array {key!r} is missing; found {found}")
            with archive.open(f"{key}.npy") as stream:
                yield stream
    except (*_BROKEN_FILE, RuntimeError, MemoryError) as error:
        raise DataError(f"{path}: array {key!r} cannot be read ({reason(error)})") from None


def _header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """(shape, whether in Fortran order, dtype) of a .npy stream, which then stands at the data."""
    legacy = _npy.read_magic(stream) == (1, 0)
    header: tuple[tuple[int, ...], bool, np.dtype[Any]] = (
        _npy.read_array_header_1_0(stream) if legacy else _npy.read_array_header_2_0(stream)
    )
    return header


def check_array(path: Path, key: str, shape: tuple[int, ...], dtype: np.dtype[Any], ranks: tuple[int, ...]) -> None:
    """Refuse an array that is not numbers, is empty or has other dimensions than one of ``ranks``."""
    if dtype.kind not in "iuf":
        raise DataError(f"{path}: array {key!r} holds {dtype}, expected integers or floats")
    if len(shape) not in ranks:
        expected = " or ".join(map(str, ranks))
        raise DataError(f"{path}: array {key!r} has {len(shape)} dimensions, shape {shape}; expected {expected}")
    if 0 in shape:
        raise DataError(f"{path}: array {key!r} is empty, shape {shape}; expected samples")


def _names_of(archive: zipfile.ZipFile) -> list[str]:
    return [name[: -len(".npy")] for name in archive.namelist() if name.endswith(".npy")]
