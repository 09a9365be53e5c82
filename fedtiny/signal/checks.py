"""What the readers of files share: order of names, and the words for what cannot be used."""

import importlib
import math
import re
from pathlib import Path
from typing import Any

from fedtiny.errors import DataError


def listing(folder: Path) -> list[Path]:
    """What a folder holds, hidden files apart, in natural order; nothing where `folder` is a file."""
    if folder.is_file():
        return []
    try:
        found = [entry for entry in folder.iterdir() if not entry.name.startswith(".")]
    except FileNotFoundError:
        raise DataError(f"{folder}: no such file or folder") from None
    except OSError as error:
        raise DataError(f"{folder}: cannot be read ({error.strerror})") from None
    return sorted(found, key=lambda entry: natural(entry.name))


def natural(name: str) -> tuple[list[str | int], str]:
    """Sort key that puts "2" before "10"."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"([0-9]+)", name.lower())], name


def check_rate(path: Path, found: float, expected: float | None) -> None:
    """Raise DataError where a file states another rate than the expected one, Hz."""
    if expected is not None and not math.isclose(found, expected, rel_tol=1e-6):
        raise DataError(f"{path}: sampled at {found:g} Hz, expected {expected:g} Hz")


def package(name: str, extra: str, need: str) -> Any:
    """A package that only some need: imported when ``need`` comes up; where it is missing, how to install it."""
    try:
        return importlib.import_module(name)
    except ImportError:
        raise DataError(f"{need} needs the package {name.split('.')[0]}: pip install 'fedtiny[{extra}]'") from None


def columns_in(count: int) -> str:
    """The number of columns in words."""
    return f"{count} column{'' if count == 1 else 's'}"


def reason(error: BaseException) -> str:
    """What an error says, on one line."""
    return " ".join(str(error).split()) or type(error).__name__
