"""A fleet's recordings in files, and what a folder of them means.

A fleet is opened once (`open_fleet`: names, sample rate, lengths; no samples are kept) and each machine's
recordings are then read one at a time, in time order, so a device holds one stretch of signal and no more.
Whatever a file holds that cannot be used raises `DataError`: the file, the row or key, what was found, what
was expected. Layouts: the FEMTO npz and its original folder (Nectoux et al., PRONOSTIA, IEEE PHM 2012), a
folder of IMS snapshots (Lee et al. 2007), and the fleet folder for recordings of one's own.
"""

import math
import re
import tomllib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path

from fedtiny.errors import DataError
from fedtiny.signal.arrays import array_extent, array_of, keys_of, read_array
from fedtiny.signal.checks import check_rate, columns_in, listing, natural, reason
from fedtiny.signal.files import (
    FEMTO_CHANNELS,
    FEMTO_FILE,
    FEMTO_HZ,
    FEMTO_SPEED_HZ,
    IMS_FILE,
    IMS_HZ,
    IMS_SPEED_HZ,
    check_kind,
    extent,
    ims_time,
    is_femto_file,
    kinds,
    read_femto_file,
    read_file,
    recording_files,
    skipped,
)
from fedtiny.signal.recording import Recording, Samples
from fedtiny.signal.text import read_text, row_count, sniff

LAYOUTS = (
    "a fleet folder (fleet.toml, MACHINE/normal/*, MACHINE/anomalous/*), the FEMTO npz, the FEMTO folder "
    "(Bearing*/acc_*.csv) or an IMS folder (files named like 2003.10.22.12.06.24)"
)

_FEMTO_FOLDER = re.compile(r"Bearing(\d+)_\d+")


@dataclass(frozen=True)
class Machine:
    """A machine, its name a valid device id, and how to read it: a fresh iterator, from a recording (0: all) on."""

    name: str
    read: Callable[[int], Iterator[Recording]]

    def recordings(self, first: int = 0) -> Iterator[Recording]:
        """Its recordings from number ``first`` on, read lazily in time order."""
        return self.read(first)


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
    entries = listing(path)
    if (path / "fleet.toml").is_file():
        return _fleet_folder(path)
    if bearings := [entry for entry in entries if entry.is_dir() and _FEMTO_FOLDER.fullmatch(entry.name)]:
        return _femto_folder(path, bearings)
    if files := [entry for entry in entries if IMS_FILE.fullmatch(entry.name)]:
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
    entries = [path] if path.is_file() else listing(path)
    if ims := [entry for entry in entries if IMS_FILE.fullmatch(entry.name)]:
        check_rate(path, IMS_HZ, sample_rate_hz)
        found = _run(ims, partial(read_text, channels=channels), IMS_SPEED_HZ)
    elif acc := [entry for entry in entries if is_femto_file(entry, channels)]:
        check_rate(path, FEMTO_HZ, sample_rate_hz)
        found = _run(acc, read_femto_file, _femto_speed(acc[0].resolve().parent.name))
    elif path.is_file() and path.suffix.lower() == ".npz" and (names := _femto_names(path)):
        check_rate(path, FEMTO_HZ, sample_rate_hz)
        found = (replace(one, label=-1) for name in names for one in _read_femto(path, name))
    else:
        files = [check_kind(path)] if path.is_file() else recording_files(path)
        if not files:
            raise DataError(f"{path}: no recordings; expected {kinds()} files")
        parts = [_Part(file, file.name, -1, extent(file, channels, sample_rate_hz)[0]) for file in files]
        found = _read_parts(parts, channels, sample_rate_hz)
    return _same_columns(found, channels)


def _fleet_folder(root: Path) -> FleetData:
    """`fleet.toml` and a folder for each machine, `normal/` and perhaps `anomalous/` in it."""
    rate, channels, base = _fleet_toml(root / "fleet.toml")
    machines: list[Machine] = []
    lengths: dict[Path, int] = {}
    folders = [entry for entry in listing(root) if entry.is_dir()]
    names = _device_ids(root, [folder.name for folder in folders])
    for folder, name in zip(folders, names, strict=True):
        for entry in listing(folder):
            if entry.name not in ("normal", "anomalous") and not skipped(entry):
                raise DataError(f"{entry}: expected only normal/ and anomalous/ in a machine's folder")
        parts = []
        for kind, label in (("normal", 0), ("anomalous", 1)):
            if not (folder / kind).is_dir() and label == 1:
                continue
            files = recording_files(folder / kind)
            if not files and label == 0:
                raise DataError(f"{folder / kind}: no recordings; expected {kinds()} files")
            for file in files:
                count, samples = extent(file, channels, rate)
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
        raise DataError(f"{path}: not readable TOML ({reason(error)})") from None
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
        files = [entry for entry in listing(folder) if FEMTO_FILE.fullmatch(entry.name)]
        if not files:
            raise DataError(f"{folder}: no acc_*.csv in it")
        machines.append(Machine(name, partial(_run, files, read_femto_file, _femto_speed(folder.name))))
        shortest.append(row_count(files[0]))
    return _fleet(root, FEMTO_HZ, FEMTO_CHANNELS, _condition_1(root, machines), machines, shortest)


def _femto_npz(path: Path) -> FleetData:
    """All FEMTO bearings in one npz: `B_x`, `B_idx`, `B_n`, `B_label` for each, `lsb` for all."""
    names = _femto_names(path)
    machines = [
        Machine(device, partial(_read_femto, path, name))
        for name, device in zip(names, _device_ids(path, names), strict=True)
    ]
    shortest = [array_extent(path, f"{name}_x")[1] for name in names]
    return _fleet(path, FEMTO_HZ, FEMTO_CHANNELS, _condition_1(path, machines), machines, shortest)


def _ims_folder(root: Path, files: Sequence[Path]) -> FleetData:
    """One run of one IMS test rig; every column is a channel."""
    (name,) = _device_ids(root, [root.resolve().name])
    channels = tuple(f"ch{number}" for number in range(1, sniff(files[0]).width + 1))
    machine = Machine(name, partial(_run, files, partial(read_text, channels=channels), IMS_SPEED_HZ))
    return FleetData(IMS_HZ, channels, (), {name: machine}, row_count(files[0]))


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
    ordered = {machine.name: machine for machine in sorted(machines, key=lambda m: natural(m.name))}
    if set(ordered) == set(base):
        raise DataError(f"{path}: every machine is in the base, expected at least one that is not")
    return FleetData(rate, channels, tuple(sorted(base, key=natural)), ordered, min(shortest))


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


@dataclass(frozen=True)
class _Part:
    """A file of a machine's life: what to call it, its label and how many recordings it holds."""

    path: Path
    name: str
    label: int
    count: int


def _read_parts(
    parts: Sequence[_Part], channels: tuple[str, ...] | None, rate: float | None, first: int = 0
) -> Iterator[Recording]:
    total, done = sum(part.count for part in parts), 0
    for part in parts:
        if done + part.count <= first:
            done += part.count
            continue
        for number, samples in enumerate(read_file(part.path, channels, rate), 1):
            name = part.name if part.count == 1 else f"{part.name} snapshot {number}"
            if done >= first:
                yield Recording(name, samples, part.label, _share(done, total))
            done += 1


def _run(
    files: Sequence[Path], read: Callable[[Path], Samples], speed_hz: float | None, first: int = 0
) -> Iterator[Recording]:
    """Equal snapshots of one run, a file each: every one has as many rows as the first that is read."""
    rows = 0
    for index in range(first, len(files)):
        samples = read(files[index])
        rows = rows or len(samples)
        if len(samples) != rows:
            raise DataError(f"{files[index]}: {len(samples)} rows, expected {rows} as in {files[first].name}")
        name = files[index].name
        yield Recording(name, samples, -1, _share(index, len(files)), at=ims_time(name), speed_hz=speed_hz)


def _read_femto(path: Path, name: str, first: int = 0) -> Iterator[Recording]:
    index, labels = (array_of(path, f"{name}_{part}", ranks=(1,)) for part in ("idx", "label"))
    total = int(array_of(path, f"{name}_n", ranks=(0,)))
    stretches, speed_hz = read_array(path, len(FEMTO_CHANNELS), key=f"{name}_x"), _femto_speed(name)
    count = array_extent(path, f"{name}_x")[0]
    for part, values in (("idx", index), ("label", labels)):
        if len(values) != count:
            raise DataError(f"{path}: array {name}_{part} has {len(values)} entries, {name}_x has {count}")
    if bad := set(labels.tolist()) - {-1, 0, 1}:
        raise DataError(f"{path}: array {name}_label holds {min(bad)}, expected -1, 0 or 1")
    for number, label, samples in islice(zip(index.tolist(), labels.tolist(), stretches, strict=True), first, None):
        yield Recording(f"{name} snapshot {number + 1}", samples, label, number / max(total, 1), speed_hz=speed_hz)


def _same_columns(found: Iterable[Recording], channels: tuple[str, ...] | None) -> Iterator[Recording]:
    expected = len(channels) if channels else 0
    for one in found:
        expected = expected or one.samples.shape[1]
        if one.samples.shape[1] != expected:
            raise DataError(f"{one.name}: {columns_in(one.samples.shape[1])}, expected {expected}")
        yield one


def _femto_speed(name: str) -> float | None:
    condition = _FEMTO_FOLDER.fullmatch(name)
    return FEMTO_SPEED_HZ.get(condition[1]) if condition else None


def _femto_names(path: Path) -> list[str]:
    """The bearings of a FEMTO npz; none in any other."""
    return sorted(
        (key[:-2] for key in keys_of(path) if key.endswith("_x") and _FEMTO_FOLDER.fullmatch(key[:-2])),
        key=natural,
    )


def _share(index: int, count: int) -> float:
    return index / max(count - 1, 1)
