"""The readers of one file, by its kind."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from fedtiny.errors import DataError
from fedtiny.signal.arrays import array_extent, array_of, keys_of, read_array
from fedtiny.signal.checks import check_rate, listing
from fedtiny.signal.containers import container_extent, read_container
from fedtiny.signal.recording import Samples
from fedtiny.signal.text import read_text, row_count, sniff
from fedtiny.signal.wav import open_wav, read_wav

KINDS = (".csv", ".npy", ".npz", ".wav", ".h5", ".hdf5", ".mat")
FEMTO_HZ, FEMTO_CHANNELS = 25_600.0, ("horizontal", "vertical")
FEMTO_SPEED_HZ = {"1": 30.0, "2": 27.5, "3": 25.0}  # of the shaft, by condition
IMS_HZ, IMS_SPEED_HZ = 20_000.0, 2000 / 60

FEMTO_FILE, FEMTO_TEMPERATURES = re.compile(r"acc_\d+\.csv"), re.compile(r"temp_\d+\.csv")
IMS_FILE = re.compile(r"\d{4}(\.\d\d){5}")


def read_file(path: Path, channels: tuple[str, ...] | None, rate: float | None) -> Iterator[Samples]:
    """The stretches of signal in one file, each float32 (samples, channels)."""
    kind = path.suffix.lower()
    if kind == ".csv":
        yield read_text(path, channels)
    elif kind == ".wav":
        yield read_wav(path, channels, rate)
    elif kind in (".h5", ".hdf5", ".mat"):
        yield from read_container(path, channels, rate)
    else:
        yield from read_array(path, len(channels) if channels else None)


def read_alone(path: Path, channels: tuple[str, ...], rate: float) -> Iterator[Samples]:
    """The stretches in a file that stands for itself; those of the FEMTO and IMS sets are known by their names."""
    if is_femto_file(path, channels):
        check_rate(path, FEMTO_HZ, rate)
        yield read_femto_file(path)
    elif IMS_FILE.fullmatch(path.name):
        check_rate(path, IMS_HZ, rate)
        yield read_text(path, channels)
    else:
        yield from read_file(path, channels, rate)


def ims_time(name: str) -> float | None:
    """Unix time in the name of an IMS file, read as UTC; None for any other name."""
    try:
        return datetime.strptime(name, "%Y.%m.%d.%H.%M.%S").replace(tzinfo=UTC).timestamp()
    except ValueError:
        return None


def extent(path: Path, channels: tuple[str, ...] | None, rate: float | None) -> tuple[int, int]:
    """How many stretches a file holds, and the samples of each; samples themselves are not parsed."""
    kind = path.suffix.lower()
    if kind == ".csv":
        return 1, row_count(path)
    if kind == ".wav":
        with open_wav(path, rate) as file:
            return 1, file.getnframes()
    if kind in (".h5", ".hdf5", ".mat"):
        return container_extent(path, channels, rate)
    if kind == ".npz" and "sample_rate_hz" in keys_of(path):
        check_rate(path, float(array_of(path, "sample_rate_hz", ranks=(0,))), rate)
    return array_extent(path, "x")


def is_femto_file(path: Path, channels: tuple[str, ...] | None) -> bool:
    """Whether it is one of the FEMTO set's own files, and two channels are wanted."""
    two = channels is None or len(channels) == len(FEMTO_CHANNELS)
    return two and bool(FEMTO_FILE.fullmatch(path.name)) and sniff(path).width == 6


def read_femto_file(path: Path) -> Samples:
    """Hour, minute, second, microsecond, horizontal and vertical acceleration in g: the last two."""
    return np.ascontiguousarray(read_text(path, width=6)[:, -2:])


def recording_files(folder: Path) -> list[Path]:
    """The recordings in a folder, in natural order; DataError for anything else than notes beside them."""
    return [check_kind(entry) for entry in listing(folder) if not skipped(entry)]


def check_kind(path: Path) -> Path:
    """The path, where a reader knows its kind."""
    if path.is_dir() or path.suffix.lower() not in KINDS:
        what = "a folder" if path.is_dir() else f"kind {path.suffix!r}"
        raise DataError(f"{path}: {what}, expected {kinds()} files")
    return path


def skipped(path: Path) -> bool:
    """Whether it is a note that may lie beside recordings."""
    return path.name.upper().startswith("README") or path.suffix.lower() in (".txt", ".md", ".toml")


def kinds() -> str:
    """The kinds that have a reader, in words."""
    return ", ".join(kind[1:].upper() for kind in KINDS[:-1]) + f" or {KINDS[-1][1:].upper()}"
