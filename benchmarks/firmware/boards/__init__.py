"""Programs for four Cortex-M cores: built with arm-none-eabi-gcc, run in QEMU. Benchmarks and tests share it.

Files are the way in and out of a program: it reads and writes whole files in the folder that it runs in (board.h).
Under ``-icount shift=0`` an instruction takes a nanosecond of the emulator's time, which the core's SysTick shows.
"""

import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from firmware_export.generate import RUNTIME

HERE = Path(__file__).parent
COMPILER, EMULATOR = "arm-none-eabi-gcc", "qemu-system-arm"
WARNINGS = ["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wsign-conversion", "-Wshadow", "-Wundef"]
WARNINGS += ["-Wstrict-prototypes", "-Wmissing-prototypes", "-Wcast-qual", "-Wcast-align", "-Wdouble-promotion"]
WARNINGS += ["-Werror"]
TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Board:
    """A machine of the emulator, and how code for its core is compiled."""

    machine: str
    memory: int  # address of 16 MB
    flags: tuple[str, ...]


BOARDS = {
    "M3": Board("mps2-an385", 0x21000000, ("-mcpu=cortex-m3", "-mfloat-abi=soft")),
    "M4": Board("mps2-an386", 0x21000000, ("-mcpu=cortex-m4", "-mfloat-abi=hard")),
    "M7": Board("mps2-an500", 0x60000000, ("-mcpu=cortex-m7", "-mfloat-abi=hard")),
    "M55": Board("mps3-an547", 0x60000000, ("-mcpu=cortex-m55", "-mfloat-abi=hard")),
}


def missing() -> str | None:
    """Name of a program that is needed and not installed."""
    return next((name for name in (COMPILER, EMULATOR) if shutil.which(name) is None), None)


def compile_object(board: str, source: Path, out: Path, config: Path, *, optimise: str = "-O2") -> Path:
    """One C file as the object file ``out``; ``config``: the folder of fedtiny_config.h.

    Raises:
        RuntimeError: with what the compiler says.
    """
    includes = [f"-I{folder}" for folder in (config, RUNTIME, HERE)]
    flags = [*BOARDS[board].flags, "-mthumb", optimise, "-ffunction-sections", "-fdata-sections", *WARNINGS]
    _run([COMPILER, *flags, *includes, "-c", source, "-o", out])
    return out


def build(board: str, sources: Iterable[Path], config: Path, folder: Path, *, optimise: str = "-O2") -> Path:
    """A program of ``sources``, which have a main, in ``folder``. Raises as ``compile_object``."""
    objects = [
        compile_object(board, source, folder / f"{board}-{source.stem}.o", config, optimise=optimise)
        for source in (HERE / "board.c", *sources)
    ]
    elf = folder / f"{board}.elf"
    script = ["-nostartfiles", "--specs=nano.specs", f"-T{HERE / 'board.ld'}", "-Wl,--gc-sections"]
    script += [f"-Wl,--defsym=MEMORY_ORIGIN={BOARDS[board].memory:#x}"]
    _run([COMPILER, *BOARDS[board].flags, "-mthumb", *script, *objects, "-lm", "-o", elf])
    return elf


def run_on(board: str, elf: Path, folder: Path, *, timeout_s: float = TIMEOUT_S) -> subprocess.CompletedProcess[str]:
    """Run a program with ``folder`` as its working directory; its return code is that of its main.

    Raises:
        subprocess.TimeoutExpired: after ``timeout_s`` seconds; the emulator has been killed.
    """
    command = [EMULATOR, "-M", BOARDS[board].machine, "-kernel", elf.resolve()]
    command += ["-icount", "shift=0,sleep=off", "-semihosting-config", "enable=on,target=native"]
    command += ["-display", "none", "-monitor", "none", "-serial", "none", "-net", "none"]
    return subprocess.run(
        [str(part) for part in command], cwd=folder, timeout=timeout_s, capture_output=True, text=True, check=False
    )


def section_bytes(path: Path) -> dict[str, int]:
    """Sizes of the sections of an object or ELF file, bytes."""
    listing = _run(["arm-none-eabi-size", "-A", path]).splitlines()
    return {fields[0]: int(fields[1]) for line in listing if len(fields := line.split()) == 3 and fields[1].isdigit()}


def text_bytes(path: Path) -> int:
    """Machine code in an object or ELF file, bytes, without constants."""
    return sum(size for name, size in section_bytes(path).items() if name.startswith(".text"))


def _run(command: list[object]) -> str:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr or done.stdout)
    return done.stdout
