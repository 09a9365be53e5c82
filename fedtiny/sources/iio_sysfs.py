"""The files by which Linux sets up the buffer of an IIO device (Documentation/ABI/testing/sysfs-bus-iio)."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from fedtiny.errors import DataError
from fedtiny.sources.scan import Element, ScanLayout

SYSFS = Path("/sys/bus/iio/devices")
TIMESTAMP = "in_timestamp"


def find_device(device: str, sysfs: Path = SYSFS) -> Path:
    """The folder of a device, by its folder's name ("iio:device0") or the name in its file ("adxl345")."""
    found = {one: _read(one / "name", "") for one in sorted(sysfs.glob("iio:device*"))}
    same = [folder for folder, name in found.items() if device in (folder.name, name)]
    if len(same) == 1:
        return same[0]
    names = ", ".join(f"{folder.name} ({name})" for folder, name in found.items()) or "no IIO devices"
    what = "is not there" if not same else "is there more than once: give its folder's name"
    raise DataError(f"IIO device {device!r} {what}; {sysfs} has {names}")


@dataclass(frozen=True)
class Buffer:
    """A buffer that is set up.

    Attributes:
        layout: Of its scans.
        elements: Names of the scan elements of the channels, in their order.
        scans: How many it keeps.
        timed: Whether each scan has a timestamp (`TIMESTAMP`).
    """

    folder: Path
    layout: ScanLayout
    elements: tuple[str, ...]
    scans: int
    timed: bool

    @contextmanager
    def enabled(self) -> Iterator[None]:
        """The capture runs; OSError where the kernel refuses, as it does without a trigger where one is needed."""
        _write(self.folder / "enable", "1")
        try:
            yield
        finally:
            with suppress(OSError):
                _write(self.folder / "enable", "0")


def set_up(
    folder: Path, rate_hz: float, channels: tuple[str, ...], *, scans: int, watermark: int, trigger: str | None
) -> Buffer:
    """Prepare the buffer of the device in ``folder``.

    Args:
        folder: As `find_device` gives it.
        rate_hz: Sampling frequency; one that the device does not offer is refused.
        channels: Axes ("x") or names of scan elements ("in_accel_x").
        scans: For the kernel to keep.
        watermark: Scans at which a reader is woken.
        trigger: Its name; None leaves it as it is.

    Raises:
        DataError: What is missing or refused, and what is there.
    """
    # since Linux 5.11 a device may have several buffers; the first is also found under the older names
    buffer = next((one for one in (folder / "buffer", folder / "buffer0") if one.is_dir()), None)
    scan = next((one for one in (folder / "scan_elements", folder / "buffer0") if one.is_dir()), None)
    if buffer is None or scan is None:
        raise DataError(f"{folder}: no buffer: its driver cannot capture")
    try:
        _write(buffer / "enable", "0")
        if trigger is not None:
            _write(folder / "trigger" / "current_trigger", trigger)
        _set_rate(folder, rate_hz)
        there = sorted(path.name.removesuffix("_en") for path in scan.glob("*_en"))
        elements = tuple(_element_name(folder, channel, there) for channel in channels)
        timed = TIMESTAMP in there
        for name in there:
            _write(scan / f"{name}_en", "1" if name in elements or name == TIMESTAMP else "0")
        if (clock := folder / "current_timestamp_clock").exists():
            _write(clock, "monotonic")
        _write(buffer / "length", str(scans))
        if (mark := buffer / "watermark").exists():
            _write(mark, str(watermark))
        used = [_element(folder, scan, name) for name in dict.fromkeys((*elements, *([TIMESTAMP] if timed else [])))]
    except OSError as error:
        raise DataError(f"{error.filename or folder}: {error.strerror}; expected to read and write it") from None
    return Buffer(buffer, ScanLayout(used), elements, scans, timed)


def _set_rate(folder: Path, rate_hz: float) -> None:
    """Ask for a sampling frequency and see what came of it; a device without such a file is paced by its trigger."""
    names = ("in_accel_sampling_frequency", "sampling_frequency")
    path = next((folder / name for name in names if (folder / name).exists()), None)
    if path is None:
        return
    offered = _read(path.with_name(f"{path.name}_available"), "")  # a list, or [least step most]
    with suppress(OSError):  # the answer is in what it reads afterwards
        _write(path, next((one for one in offered.split() if _close(one, rate_hz)), f"{rate_hz:g}"))
    if not _close(found := _read(path), rate_hz):
        choice = f"; it offers {offered}" if offered else ""
        raise DataError(f"{path}: {found or 'no'} Hz, asked for {rate_hz:g} Hz{choice}")


def _close(text: str, rate_hz: float) -> bool:
    try:
        return abs(float(text) - rate_hz) <= 1e-3 * rate_hz
    except ValueError:
        return False


def _element_name(folder: Path, channel: str, there: list[str]) -> str:
    for name in (channel, f"in_accel_{channel}"):
        if name in there:
            return name
    raise DataError(f"{folder}: no channel {channel!r} in its buffer; it has {', '.join(there)}")


def _element(folder: Path, scan: Path, name: str) -> Element:
    index, form = int(_read(scan / f"{name}_index")), _read(scan / f"{name}_type")
    if name == TIMESTAMP:
        return Element.parse(name, index, form)
    scale, offset = (_of_channel(folder, name, kind) for kind in ("scale", "offset"))
    if scale is None:
        raise DataError(f"{folder}: neither {name}_scale nor one of its kind: the unit of {name} is not known")
    return Element.parse(name, index, form, scale=scale, offset=offset or 0.0)


def _of_channel(folder: Path, name: str, kind: str) -> float | None:
    """Of the channel itself, or shared by all of its kind: in_accel_x_scale, in_accel_scale."""
    for owner in (name, name.rpartition("_")[0]):
        if text := _read(folder / f"{owner}_{kind}", ""):
            return float(text)
    return None


def _read(path: Path, default: str | None = None) -> str:
    if default is not None and not path.exists():
        return default
    return path.read_text().strip()


def _write(path: Path, text: str) -> None:
    """To a file that is there: sysfs creates none."""
    try:
        with open(path, "w", opener=lambda name, flags: os.open(name, flags & ~os.O_CREAT)) as file:
            file.write(text)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None
