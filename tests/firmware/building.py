"""Builds the C runtime for this machine: as a library for ctypes, or as a program under the sanitizers."""

import ctypes
import os
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest

from benchmarks.firmware.boards import WARNINGS
from firmware_export.generate import RUNTIME, config_header

SANITIZE = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g"]


def tool(name: str) -> str:
    """Path of a program; where it is missing the test fails in CI and is skipped elsewhere."""
    found = shutil.which(name)
    if found is None:
        complain = pytest.fail if os.environ.get("CI") else pytest.skip
        complain(f"{name} is not installed: make toolchain")
    return found


def write_config(
    folder: Path, rounding: str = "tflite", *, fixed_point: bool = False, sample_int16: bool = False
) -> Path:
    """``fedtiny_config.h`` in ``folder``, as an export writes it."""
    text = config_header(rounding, fixed_point=fixed_point, sample_int16=sample_int16)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "fedtiny_config.h").write_text(text)
    return folder


def compile_shared(folder: Path, sources: Iterable[Path], config: Path) -> ctypes.CDLL:
    """The sources as a library in ``folder``; ``config``: the folder of fedtiny_config.h."""
    out = folder / "runtime.so"
    run([tool("gcc"), *WARNINGS, "-O1", "-fPIC", "-shared", f"-I{config}", f"-I{RUNTIME}", *sources, "-lm", "-o", out])
    return ctypes.CDLL(str(out))


def compile_program(
    folder: Path, sources: Iterable[Path], config: Path, *, compiler: str = "gcc", sanitize: bool = True
) -> Path:
    """The sources as a program in ``folder``."""
    out = folder / f"program-{compiler}"
    flags = [*WARNINGS, "-O1", *(SANITIZE if sanitize else [])]
    run([tool(compiler), *flags, f"-I{config}", f"-I{RUNTIME}", *sources, "-lm", "-o", out])
    return out


def run(command: list[object], **options: object) -> subprocess.CompletedProcess[str]:
    """Run a program; what it says is the failure where it fails."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, **options)  # type: ignore[call-overload]
    assert done.returncode == 0, done.stderr or done.stdout
    return done
