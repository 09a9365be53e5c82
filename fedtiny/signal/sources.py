"""Where recordings come from: files, folders and the simulator.

A fleet is opened once (`open_fleet`: names, sample rate, lengths; no samples are kept) and each machine's
recordings are then read one at a time, in time order, so a device holds one stretch of signal and no more.
Whatever a file holds that cannot be used raises `DataError`: the file, the row or key, what was found, what
was expected. Layouts: the FEMTO npz and its original folder (Nectoux et al., PRONOSTIA, IEEE PHM 2012), a
folder of IMS snapshots (Lee et al. 2007), and the fleet folder for recordings of one's own.
"""

import math
import re
import tomllib
import wave
import zipfile
import zlib
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import IO, Any, TextIO

import numpy as np
from numpy.typing import NDArray

from fedtiny.errors import DataError
from fedtiny.signal.recording import Recording, Samples

LAYOUTS = (
    "a fleet folder (fleet.toml, MACHINE/normal/*, MACHINE/anomalous/*), the FEMTO npz, the FEMTO folder "
    "(Bearing*/acc_*.csv) or an IMS folder (files named like 2003.10.22.12.06.24)"
)
KINDS = (".csv", ".npy", ".npz", ".wav")
FEMTO_HZ, FEMTO_CHANNELS = 25_600.0, ("horizontal", "vertical")
IMS_HZ = 20_000.0

_FEMTO_FOLDER = re.compile(r"Bearing\d+_\d+")
_FEMTO_FILE = re.compile(r"acc_\d+\.csv")
_IMS_FILE = re.compile(r"\d{4}(\.\d\d){5}")
_TRIM = ' \t\r\n"'
_FLOAT32_MAX = float(np.finfo(np.float32).max)
_BROKEN_FILE = (zipfile.BadZipFile, zlib.error, OSError, ValueError, EOFError)
_npy: Any = np.lib.format  # numpy's own reader of .npy streams; untyped there


@dataclass(frozen=True)
class Machine:
    """A machine, its name a valid device id, and how to read it: a fresh iterator in time order each call."""

    name: str
    read: Callable[[], Iterator[Recording]]

    def recordings(self) -> Iterator[Recording]:
        """Its recordings, read lazily in time order."""
        return self.read()


@dataclass(frozen=True)
class FleetData:
    """Machines that share a sensor set-up.

    Attributes:
        sample_rate_hz: Of every recording.
        channels: Their names, in the order of the columns.
        base: Names of the machines whose normal data trains the release; empty for an IMS folder, which is
            one machine.
        machines: All of them, base included, by name in natural order; at least one is not in the base.
        shortest: Samples of the shortest recording (of its run's first file in the FEMTO and IMS folders).
    """

    sample_rate_hz: float
    channels: tuple[str, ...]
    base: tuple[str, ...]
    machines: dict[str, Machine]
    shortest: int


def open_fleet(path: Path | None, *, seed: int = 0) -> FleetData:
    """Open a fleet's data: one of `LAYOUTS`, or the simulator seeded with `seed` when there is no path."""
    if path is None:
        from fedtiny.signal.simulator import simulate_fleet

        return simulate_fleet(seed)
    if path.name == "fleet.toml":
        path = path.parent
    entries = _entries(path)
    if (path / "fleet.toml").is_file():
        return _fleet_folder(path)
    if bearings := [entry for entry in entries if entry.is_dir() and _FEMTO_FOLDER.fullmatch(entry.name)]:
        return _femto_folder(path, bearings)
    if files := [entry for entry in entries if _IMS_FILE.fullmatch(entry.name)]:
        return _ims_folder(path, files)
    if path.suffix.lower() == ".npz" and path.is_file() and _femto_names(path):
        return _femto_npz(path)
    raise DataError(f"{path}: not a fleet; expected {LAYOUTS}")


def open_recordings(
    path: Path, *, channels: tuple[str, ...] | None, sample_rate_hz: float | None
) -> Iterator[Recording]:
    """Read one file, or a folder of recordings in the order of their names, unlabelled.

    Args:
        path: CSV, NPY, NPZ or WAV; FEMTO and IMS files are recognised by their names.
        channels: Expected channels; None takes those of the first recording.
        sample_rate_hz: Expected rate, checked where a file states its own; None takes any.
    """
    entries = [path] if path.is_file() else _entries(path)
    if ims := [entry for entry in entries if _IMS_FILE.fullmatch(entry.name)]:
        _check_rate(path, IMS_HZ, sample_rate_hz)
        found = _run(ims, partial(_read_text, channels=channels))
    elif acc := [entry for entry in entries if _is_femto_file(entry, channels)]:
        _check_rate(path, FEMTO_HZ, sample_rate_hz)
        found = _run(acc, _read_femto_file)
    elif path.is_file() and path.suffix.lower() == ".npz" and (names := _femto_names(path)):
        _check_rate(path, FEMTO_HZ, sample_rate_hz)
        found = (replace(one, label=-1) for name in names for one in _read_femto(path, name))
    else:
        files = [_check_kind(path)] if path.is_file() else _recording_files(path)
        if not files:
            raise DataError(f"{path}: no recordings; expected {_kinds()} files")
        parts = [_Part(file, file.name, -1, _extent(file, sample_rate_hz)[0]) for file in files]
        found = _read_parts(parts, channels, sample_rate_hz)
    return _same_columns(found, channels)


# -- fleets ----------------------------------------------------------------------------------------------


def _fleet_folder(root: Path) -> FleetData:
    """`fleet.toml` and a folder for each machine, `normal/` and perhaps `anomalous/` in it."""
    rate, channels, base = _fleet_toml(root / "fleet.toml")
    machines: list[Machine] = []
    lengths: dict[Path, int] = {}
    folders = [entry for entry in _entries(root) if entry.is_dir()]
    names = _device_ids(root, [folder.name for folder in folders])
    for folder, name in zip(folders, names, strict=True):
        for entry in _entries(folder):
            if entry.name not in ("normal", "anomalous") and not _skipped(entry):
                raise DataError(f"{entry}: expected only normal/ and anomalous/ in a machine's folder")
        parts = []
        for kind, label in (("normal", 0), ("anomalous", 1)):
            if not (folder / kind).is_dir() and label == 1:
                continue
            files = _recording_files(folder / kind)
            if not files and label == 0:
                raise DataError(f"{folder / kind}: no recordings; expected {_kinds()} files")
            for file in files:
                count, samples = _extent(file, rate)
                parts.append(_Part(file, f"{folder.name}/{kind}/{file.name}", label, count))
                lengths[file] = samples
        machines.append(Machine(name, partial(_read_parts, parts, channels, rate)))
    _check_lengths(lengths)
    known = dict(zip([folder.name for folder in folders], names, strict=True))
    for machine in base:
        if machine not in known:
            found = ", ".join(known) or "no machine folders"
            raise DataError(f"{root / 'fleet.toml'}: base names {machine!r}, which is not there; found {found}")
    return _fleet(root, rate, channels, [known[machine] for machine in base], machines, lengths.values())


def _fleet_toml(path: Path) -> tuple[float, tuple[str, ...], tuple[str, ...]]:
    """Sample rate in Hz, channels and base; strict about keys and types."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: not readable TOML ({_line(error)})") from None
    expected = ("sample_rate_hz", "channels", "base")
    for key in table:
        if key not in expected:
            raise DataError(f"{path}: unknown key {key!r}; expected {', '.join(expected)}")
    for key in expected:
        if key not in table:
            raise DataError(f"{path}: {key} is missing")
    rate = table["sample_rate_hz"]
    if type(rate) not in (int, float) or not 0 < rate < math.inf:
        raise DataError(f"{path}: sample_rate_hz is {rate!r}, expected a number of Hz above 0")
    for key in ("channels", "base"):
        names = table[key]
        if not isinstance(names, list) or not names or not all(isinstance(n, str) and n for n in names):
            raise DataError(f"{path}: {key} is {names!r}, expected a list of names")
        if len(set(names)) < len(names):
            raise DataError(f"{path}: {key} names one twice: {', '.join(names)}")
    return float(rate), tuple(table["channels"]), tuple(table["base"])


def _femto_folder(root: Path, folders: Sequence[Path]) -> FleetData:
    """The original FEMTO files. Unlabelled; temperatures are left alone."""
    machines, shortest = [], []
    for folder, name in zip(folders, _device_ids(root, [f.name for f in folders]), strict=True):
        files = [entry for entry in _entries(folder) if _FEMTO_FILE.fullmatch(entry.name)]
        if not files:
            raise DataError(f"{folder}: no acc_*.csv in it")
        machines.append(Machine(name, partial(_run, files, _read_femto_file)))
        shortest.append(_rows(files[0]))
    return _fleet(root, FEMTO_HZ, FEMTO_CHANNELS, _condition_1(root, machines), machines, shortest)


def _femto_npz(path: Path) -> FleetData:
    """All FEMTO bearings in one npz: `B_x`, `B_idx`, `B_n`, `B_label` for each, `lsb` for all."""
    names = _femto_names(path)
    machines = [
        Machine(device, partial(_read_femto, path, name))
        for name, device in zip(names, _device_ids(path, names), strict=True)
    ]
    shortest = [_array_extent(path, f"{name}_x")[1] for name in names]
    return _fleet(path, FEMTO_HZ, FEMTO_CHANNELS, _condition_1(path, machines), machines, shortest)


def _ims_folder(root: Path, files: Sequence[Path]) -> FleetData:
    """One run of one IMS test rig; every column is a channel."""
    (name,) = _device_ids(root, [root.resolve().name])
    channels = tuple(f"ch{number}" for number in range(1, _sniff(files[0]).width + 1))
    machine = Machine(name, partial(_run, files, partial(_read_text, channels=channels)))
    return FleetData(IMS_HZ, channels, (), {name: machine}, _rows(files[0]))


def _condition_1(path: Path, machines: Iterable[Machine]) -> list[str]:
    base = [machine.name for machine in machines if machine.name.startswith("bearing1_")]
    if not base:
        raise DataError(f"{path}: no Bearing1_* in it, whose normal data trains the release")
    return base


def _check_lengths(lengths: dict[Path, int]) -> None:
    """Refuse a snapshot that is shorter than its siblings, where nearly all have one length in samples."""
    if len(lengths) < 5:
        return
    usual, count = Counter(lengths.values()).most_common(1)[0]
    file = min(lengths, key=lambda file: lengths[file])
    if lengths[file] < usual and count >= 0.8 * len(lengths):
        raise DataError(f"{file}: {lengths[file]} samples, expected {usual} as in the other recordings")


def _fleet(
    path: Path,
    rate: float,
    channels: tuple[str, ...],
    base: Sequence[str],
    machines: Iterable[Machine],
    shortest: Iterable[int],
) -> FleetData:
    ordered = {machine.name: machine for machine in sorted(machines, key=lambda m: _natural(m.name))}
    if set(ordered) == set(base):
        raise DataError(f"{path}: every machine is in the base, expected at least one that is not")
    return FleetData(rate, channels, tuple(sorted(base, key=_natural)), ordered, min(shortest))


def _device_ids(path: Path, names: Sequence[str]) -> list[str]:
    """Names as device ids, `[a-z0-9][a-z0-9_-]{0,62}`; two that become the same are refused."""
    ids: dict[str, str] = {}
    for name in names:
        device = re.sub(r"[^a-z0-9_-]", "-", name.lower()).lstrip("-_")[:63]
        if not device:
            raise DataError(f"{path}: machine {name!r} has no letter a-z or digit to name a device by")
        if device in ids:
            raise DataError(f"{path}: machines {ids[device]!r} and {name!r} would both be device {device!r}")
        ids[device] = name
    return list(ids)


# -- folders and files -> recordings ---------------------------------------------------------------------


@dataclass(frozen=True)
class _Part:
    """A file of a machine's life: what to call it, its label and how many recordings it holds."""

    path: Path
    name: str
    label: int
    count: int


def _read_parts(parts: Sequence[_Part], channels: tuple[str, ...] | None, rate: float | None) -> Iterator[Recording]:
    total, done = sum(part.count for part in parts), 0
    for part in parts:
        for number, samples in enumerate(_read_file(part.path, channels, rate), 1):
            name = part.name if part.count == 1 else f"{part.name} snapshot {number}"
            yield Recording(name, samples, part.label, _share(done, total))
            done += 1


def _run(files: Sequence[Path], read: Callable[[Path], Samples]) -> Iterator[Recording]:
    """Equal snapshots of one run, a file each: every one has as many rows as the first."""
    rows = 0
    for index, file in enumerate(files):
        samples = read(file)
        rows = rows or len(samples)
        if len(samples) != rows:
            raise DataError(f"{file}: {len(samples)} rows, expected {rows} as in {files[0].name}")
        yield Recording(file.name, samples, -1, _share(index, len(files)))


def _read_femto(path: Path, name: str) -> Iterator[Recording]:
    index, labels = (_array(path, f"{name}_{part}", ranks=(1,)) for part in ("idx", "label"))
    total = int(_array(path, f"{name}_n", ranks=(0,)))
    stretches = _read_array(path, len(FEMTO_CHANNELS), key=f"{name}_x")
    count = _array_extent(path, f"{name}_x")[0]
    for part, values in (("idx", index), ("label", labels)):
        if len(values) != count:
            raise DataError(f"{path}: array {name}_{part} has {len(values)} entries, {name}_x has {count}")
    if bad := set(labels.tolist()) - {-1, 0, 1}:
        raise DataError(f"{path}: array {name}_label holds {min(bad)}, expected -1, 0 or 1")
    for number, label, samples in zip(index.tolist(), labels.tolist(), stretches, strict=True):
        yield Recording(f"{name} snapshot {number + 1}", samples, label, number / max(total, 1))


def _same_columns(found: Iterable[Recording], channels: tuple[str, ...] | None) -> Iterator[Recording]:
    expected = len(channels) if channels else 0
    for one in found:
        expected = expected or one.samples.shape[1]
        if one.samples.shape[1] != expected:
            raise DataError(f"{one.name}: {_columns(one.samples.shape[1])}, expected {expected}")
        yield one


def _read_file(path: Path, channels: tuple[str, ...] | None, rate: float | None) -> Iterator[Samples]:
    """The stretches of signal in one file, each float32 (samples, channels)."""
    kind = path.suffix.lower()
    if kind == ".csv":
        yield _read_text(path, channels)
    elif kind == ".wav":
        yield _read_wav(path, channels, rate)
    else:
        yield from _read_array(path, len(channels) if channels else None)


def _extent(path: Path, rate: float | None) -> tuple[int, int]:
    """How many stretches a file holds, and the samples of each; samples themselves are not parsed."""
    kind = path.suffix.lower()
    if kind == ".csv":
        return 1, _rows(path)
    if kind == ".wav":
        with _open_wav(path, rate) as file:
            return 1, file.getnframes()
    if kind == ".npz" and "sample_rate_hz" in _keys(path):
        _check_rate(path, float(_array(path, "sample_rate_hz", ranks=(0,))), rate)
    return _array_extent(path, "x")


# -- text ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Table:
    """How a text file is laid out: header (if any), lines before the data, separator, columns of row one."""

    header: tuple[str, ...] | None
    skip: int
    separator: str | None
    width: int


def _open_text(path: Path) -> TextIO:
    try:
        return path.open(encoding="utf-8-sig", errors="replace")
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None


def _sniff(path: Path) -> _Table:
    """Separator and header from the first two lines: a first line without any number is a header."""
    with _open_text(path) as lines:
        head = list(islice(((row, line) for row, line in enumerate(lines, 1) if line.strip()), 2))
    if not head:
        raise DataError(f"{path}: empty; expected rows of numbers")
    row, line = head[0]
    separator = _separator(line)
    cells = _split(line, separator)
    if any(_number(cell) is not None for cell in cells):
        return _Table(None, row - 1, separator, len(cells))
    if len(head) == 1:
        raise DataError(f"{path}: no rows of numbers, only {line.strip()[:40]!r}")
    separator = _separator(head[1][1])
    width = len(_split(head[1][1], separator))
    names = _split(line, separator)
    if separator is None and len(names) != width:  # names of several words
        names = [line.strip(_TRIM)] if width == 1 else [""] * width
    return _Table(tuple(names), row, separator, width)


def _read_text(path: Path, channels: tuple[str, ...] | None = None, *, width: int | None = None) -> Samples:
    """A table of numbers, float32 (rows, channels).

    Where the header names all `channels`, those columns are taken by name and the others may hold anything;
    otherwise every column is a channel.
    """
    table = _sniff(path)
    if channels and table.header and set(channels) <= set(table.header):
        width = len(table.header)
        columns = [table.header.index(channel) for channel in channels]
    else:
        width = width or (len(channels) if channels else table.width)
        columns = list(range(width))
    try:
        values: Samples = np.loadtxt(
            str(path),
            dtype=np.float32,
            comments=None,
            delimiter=table.separator,
            skiprows=table.skip,
            ndmin=2,
            encoding="latin1",
        )
    except ValueError:
        return _read_rows(path, table, width, columns)
    if values.shape[1] != width:
        return _read_rows(path, table, width, columns)
    if columns != list(range(width)):
        values = values[:, columns]
    return values if np.isfinite(values).all() else _read_rows(path, table, width, columns)


def _read_rows(path: Path, table: _Table, width: int, columns: Sequence[int]) -> Samples:
    """The same row by row, where numpy gives up: on text in a column not asked for, or on a row to blame."""
    values = array("f")
    with _open_text(path) as lines:
        for row, line in enumerate(lines, 1):
            if row <= table.skip or not line.strip():
                continue
            cells = _split(line, table.separator)
            if len(cells) != width:
                raise DataError(f"{path}: row {row} has {_columns(len(cells))}, expected {width}")
            for column in columns:
                value = _number(cells[column])
                if value is None or not abs(value) <= _FLOAT32_MAX:
                    what = "a number" if value is None else "a finite number"
                    raise DataError(
                        f"{path}: row {row}, column {column + 1} is {cells[column][:40]!r}, expected {what}"
                    )
                values.append(value)
    return np.array(values, np.float32).reshape(-1, len(columns))


def _rows(path: Path) -> int:
    """Rows of numbers in a text file, counted without parsing them."""
    header = _sniff(path).skip
    with _open_text(path) as lines:
        return sum(1 for row, line in enumerate(lines, 1) if row > header and not line.isspace())


def _split(line: str, separator: str | None) -> list[str]:
    return [cell.strip(_TRIM) for cell in line.strip("\r\n ").split(separator)]


def _separator(line: str) -> str | None:
    return next((mark for mark in (";", "\t", ",") if mark in line.strip()), None)


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None


def _is_femto_file(path: Path, channels: tuple[str, ...] | None) -> bool:
    two = channels is None or len(channels) == len(FEMTO_CHANNELS)
    return two and bool(_FEMTO_FILE.fullmatch(path.name)) and _sniff(path).width == 6


def _read_femto_file(path: Path) -> Samples:
    """Hour, minute, second, microsecond, horizontal and vertical acceleration in g: the last two."""
    return np.ascontiguousarray(_read_text(path, width=6)[:, -2:])


# -- numpy -----------------------------------------------------------------------------------------------


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
        raise DataError(f"{path}: array {key!r} cannot be read ({_line(error)})") from None


def _keys(path: Path) -> list[str]:
    try:
        with zipfile.ZipFile(path) as archive:
            return _names_of(archive)
    except _BROKEN_FILE as error:
        raise DataError(f"{path}: not an intact npz ({_line(error)})") from None


def _names_of(archive: zipfile.ZipFile) -> list[str]:
    return [name[: -len(".npy")] for name in archive.namelist() if name.endswith(".npy")]


def _femto_names(path: Path) -> list[str]:
    """The bearings of a FEMTO npz; none in any other."""
    return sorted(
        (key[:-2] for key in _keys(path) if key.endswith("_x") and _FEMTO_FOLDER.fullmatch(key[:-2])),
        key=_natural,
    )


def _array_extent(path: Path, key: str) -> tuple[int, int]:
    """Stretches in an array and the samples of each, from its header alone."""
    with _stream(path, key) as stream:
        shape, _, dtype = _header(stream)
        _check_array(path, key, shape, dtype, (1, 2, 3))
    return (shape[0], shape[1]) if len(shape) == 3 else (1, shape[0])


def _header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """(shape, whether in Fortran order, dtype) of a .npy stream, which then stands at the data."""
    legacy = _npy.read_magic(stream) == (1, 0)
    header: tuple[tuple[int, ...], bool, np.dtype[Any]] = (
        _npy.read_array_header_1_0(stream) if legacy else _npy.read_array_header_2_0(stream)
    )
    return header


def _array(path: Path, key: str, *, ranks: tuple[int, ...]) -> NDArray[Any]:
    with _stream(path, key) as stream:
        values: NDArray[Any] = _npy.read_array(stream, allow_pickle=False)
    _check_array(path, key, values.shape, values.dtype, ranks)
    return values


def _check_array(path: Path, key: str, shape: tuple[int, ...], dtype: np.dtype[Any], ranks: tuple[int, ...]) -> None:
    if dtype.kind not in "iuf":
        raise DataError(f"{path}: array {key!r} holds {dtype}, expected integers or floats")
    if len(shape) not in ranks:
        expected = " or ".join(map(str, ranks))
        raise DataError(f"{path}: array {key!r} has {len(shape)} dimensions, shape {shape}; expected {expected}")
    if 0 in shape:
        raise DataError(f"{path}: array {key!r} is empty, shape {shape}; expected samples")


def _read_array(path: Path, channels: int | None, *, key: str = "x") -> Iterator[Samples]:
    """Stretches of an array (samples), (samples, channels) or (snapshots, samples, channels), times `lsb`."""
    scale = np.float32(1)
    if path.suffix.lower() == ".npz" and "lsb" in _keys(path):
        scale = np.float32(_array(path, "lsb", ranks=(0,)))
        if not 0 < scale < math.inf:
            raise DataError(f"{path}: lsb is {scale}, expected a number above 0")
    for number, stretch in enumerate(_stretches(path, key), 1):
        if channels not in (None, stretch.shape[1]):
            raise DataError(f"{path}: array {key!r} has {_columns(stretch.shape[1])}; expected {channels} channels")
        with np.errstate(over="ignore", invalid="ignore"):
            samples = np.ascontiguousarray(stretch, np.float32) * scale
        if not np.isfinite(samples).all():
            row, column = np.argwhere(~np.isfinite(samples))[0]
            raise DataError(
                f"{path}: array {key!r}, snapshot {number}, row {row + 1}, column {column + 1} is "
                f"{stretch[row, column]}, expected a finite number"
            )
        yield samples


def _stretches(path: Path, key: str) -> Iterator[NDArray[Any]]:
    """An array's stretches (samples, channels), read one by one where the file's order allows it."""
    with _stream(path, key) as stream:
        shape, fortran, dtype = _header(stream)
        _check_array(path, key, shape, dtype, (1, 2, 3))
        if len(shape) == 3 and not fortran:
            size = shape[1] * shape[2] * dtype.itemsize
            for number in range(shape[0]):
                raw = stream.read(size)
                if len(raw) != size:
                    raise DataError(f"{path}: array {key!r} ends in snapshot {number + 1} of {shape[0]}")
                yield np.frombuffer(raw, dtype).reshape(shape[1:])
            return
    values = _array(path, key, ranks=(1, 2, 3))
    yield from values if values.ndim == 3 else values.reshape(1, len(values), -1)


# -- WAV -------------------------------------------------------------------------------------------------


@contextmanager
def _open_wav(path: Path, rate: float | None) -> Iterator[wave.Wave_read]:
    try:
        with wave.open(str(path), "rb") as file:
            _check_rate(path, file.getframerate(), rate)
            if not file.getnframes():
                raise DataError(f"{path}: empty; expected samples")
            yield file
    except (wave.Error, EOFError, OSError) as error:
        raise DataError(f"{path}: not a WAV of PCM with 8, 16, 24 or 32 bit ({_line(error)})") from None


def _read_wav(path: Path, channels: tuple[str, ...] | None, rate: float | None) -> Samples:
    """PCM as float32 in -1..1, (samples, channels)."""
    with _open_wav(path, rate) as file:
        width, count, frames = file.getsampwidth(), file.getnchannels(), file.getnframes()
        if channels and count != len(channels):
            raise DataError(f"{path}: {_columns(count)}, expected {len(channels)} ({', '.join(channels)})")
        data = file.readframes(frames)
    if len(data) != frames * count * width:
        found = len(data) // (count * width)
        raise DataError(f"{path}: cut short at {found} samples, its header says {frames}")
    if width == 1:  # the only unsigned one
        values = np.frombuffer(data, np.uint8).astype(np.float32) - 128
    elif width == 3:
        wide = np.zeros((frames * count, 4), np.uint8)
        wide[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
        values = (wide.view("<i4") >> 8).astype(np.float32)
    else:
        values = np.frombuffer(data, f"<i{width}").astype(np.float32)
    values *= np.float32(2.0 ** (1 - 8 * width))
    return values.reshape(frames, count)


# -- small things ----------------------------------------------------------------------------------------


def _entries(folder: Path) -> list[Path]:
    """What a folder holds, hidden files apart, in natural order; nothing where `folder` is a file."""
    if folder.is_file():
        return []
    try:
        found = [entry for entry in folder.iterdir() if not entry.name.startswith(".")]
    except FileNotFoundError:
        raise DataError(f"{folder}: no such file or folder") from None
    except OSError as error:
        raise DataError(f"{folder}: cannot be read ({error.strerror})") from None
    return sorted(found, key=lambda entry: _natural(entry.name))


def _recording_files(folder: Path) -> list[Path]:
    return [_check_kind(entry) for entry in _entries(folder) if not _skipped(entry)]


def _skipped(path: Path) -> bool:
    return path.name.upper().startswith("README") or path.suffix.lower() in (".txt", ".md", ".toml")


def _check_kind(path: Path) -> Path:
    if path.is_dir() or path.suffix.lower() not in KINDS:
        what = "a folder" if path.is_dir() else f"kind {path.suffix!r}"
        raise DataError(f"{path}: {what}, expected {_kinds()} files")
    return path


def _check_rate(path: Path, found: float, expected: float | None) -> None:
    if expected is not None and not math.isclose(found, expected, rel_tol=1e-6):
        raise DataError(f"{path}: sampled at {found:g} Hz, expected {expected:g} Hz")


def _kinds() -> str:
    return ", ".join(kind[1:].upper() for kind in KINDS[:-1]) + f" or {KINDS[-1][1:].upper()}"


def _natural(name: str) -> tuple[list[str | int], str]:
    """Sort key that puts "2" before "10"."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"([0-9]+)", name.lower())], name


def _share(index: int, count: int) -> float:
    return index / max(count - 1, 1)


def _columns(count: int) -> str:
    return f"{count} column{'' if count == 1 else 's'}"


def _line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
