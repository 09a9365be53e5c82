"""What the firmware costs on four cores: flash, RAM, stack, instructions a window; the network's beside TFLite Micro.

The network's weights are random: no figure depends on them. Instructions are those that the emulator executes, its
clock calibrated by a loop of known length in the same run, exact to 1 in 25,000; the copy of a window into the arena is
not among them. Stack is what the call takes, painted before. RAM is the arena, inputs and outputs in it. Code is that
of the network and that of a whole program around it, for speed (-O2) and for size (-Os). The whole window, samples to
alarm, is in ``watch``. Where FEDTINY_DATA is set, the boards' tests run with FEMTO windows. Writes
``benchmarks/results/firmware.json``, where ``quality`` and ``fuzz`` have sections of their own.
"""

import importlib
import json
import os
import re
import subprocess
import sys
import tempfile
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import FEMTO, RESULTS, data_folder, versions, write_results
from benchmarks.firmware.boards import (
    BOARDS,
    COMPILER,
    EMULATOR,
    HERE,
    build,
    compile_object,
    missing,
    run_on,
    section_bytes,
    text_bytes,
)
from benchmarks.firmware.watch import LOOP_INSTRUCTIONS, OPTIMISE, show_watch, watch_section
from fedtiny.signal.fleet import open_fleet
from firmware_export.generate import RUNTIME, config_header
from firmware_export.network import Layer, Network
from firmware_export.packing import arena, network_source

SHAPES = {
    "128-64-16-64-128": (128, 64, 16, 64, 128),
    "640-128x4-8-128x4-640": (640, 128, 128, 128, 128, 8, 128, 128, 128, 128, 640),
}
DEFAULT = "128-64-16-64-128"
WINDOWS = 100  # as in boards/measure.c
BOARD_TESTS = Path(__file__).parents[2] / "tests" / "firmware" / "test_boards.py"

# TFLite Micro, measured November 2026 with the same compiler and emulator. Code: the whole program without constants,
# reference kernels; with CMSIS-NN it is 28 to 36 kB. RAM and stack: the least of all cores, for the default shape.
TFLM_CODE, TFLM_RAM, TFLM_STACK = 24_000, 964, 536
# With CMSIS-NN, which has no kernels of its own for the M7: those of the M4.
TFLM_INSTRUCTIONS = {
    "128-64-16-64-128": {"M3": 74_000, "M4": 50_000, "M7": 50_000, "M55": 26_000},
    "640-128x4-8-128x4-640": {"M3": 956_000, "M4": 583_000, "M7": 583_000, "M55": 286_000},
}
SHARE = 4  # code and RAM: at most TFLM's divided by this


def random_network(sizes: tuple[int, ...], seed: int = 0) -> Network:
    """Dense int8 layers of these sizes, per channel, ReLU between them."""
    rng = np.random.default_rng(seed)
    layers: list[Layer] = []
    for inputs, outputs in pairwise(sizes):
        last = len(layers) == len(sizes) - 2
        layers.append(
            Layer(
                weights=rng.integers(-127, 128, (outputs, inputs)).astype(np.int8),
                bias=rng.integers(-2000, 2000, outputs).astype(np.int32),
                in_scale=np.float32(0.05),
                in_zero=-128 if layers else 3,
                out_scale=np.float32(0.05),
                out_zero=5 if last else -128,
                weight_scales=rng.uniform(0.0005, 0.001, outputs).astype(np.float32),
                activation="NONE" if last else "RELU",
                low=-128,
                high=127,
            )
        )
    return Network(tuple(layers))


def measure(board: str, shape: str, folder: Path) -> dict[str, Any]:
    """The figures of the network of one shape on one core; bytes, and instructions a window."""
    network = random_network(SHAPES[shape])
    (folder / "model.c").write_text('#include "fedtiny_nn.h"\n' + network_source(network, "tflite", "model"))
    figures: dict[str, Any] = {}
    for optimise in OPTIMISE:
        sources = [RUNTIME / "fedtiny_nn.c", folder / "model.c", HERE / "measure.c"]
        elf = build(board, sources, folder, folder, optimise=optimise)
        done = run_on(board, elf, folder)
        if done.returncode:
            sys.exit(f"{board}: the program ended with {done.returncode}: {done.stderr}")
        loop, copies, windows, stack = np.fromfile(folder / "results.bin", "<u4").tolist()
        figures[optimise] = {
            "code_bytes": text_bytes(folder / f"{board}-fedtiny_nn.o"),
            "program_bytes": text_bytes(elf),
            "stack_bytes": stack,
            "instructions": round((windows - copies) * LOOP_INSTRUCTIONS / loop / WINDOWS),
        }
    constants = section_bytes(folder / f"{board}-model.o")
    return {
        "constant_bytes": sum(size for name, size in constants.items() if name.startswith((".rodata", ".data.rel.ro"))),
        "ram_bytes": arena(network).total,
        **figures,
    }


def floors(board: str, shape: str, figures: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Each figure for speed (-O2) beside what it must not exceed."""
    fast = figures["-O2"]
    pairs = {"instructions": (fast["instructions"], TFLM_INSTRUCTIONS[shape][board], 1)}
    pairs["program_bytes"] = (fast["program_bytes"], TFLM_CODE, SHARE)
    if shape == DEFAULT:
        pairs["ram_bytes"] = (figures["ram_bytes"], TFLM_RAM, SHARE)
        pairs["stack_bytes"] = (fast["stack_bytes"], TFLM_STACK, 1)
    return {
        name: {
            "ours": ours,
            "tflm": tflm,
            "share": round(ours / tflm, 3),
            "at_most": round(1 / part, 3),
            "met": ours * part <= tflm,
        }
        for name, (ours, tflm, part) in pairs.items()
    }


def network_section(folder: Path) -> dict[str, Any]:
    """Shape by shape and core by core."""
    section: dict[str, Any] = {}
    for shape in SHAPES:
        section[shape] = {}
        for board in BOARDS:
            figures = measure(board, shape, folder)
            section[shape][board] = figures | {"beside_tflm": floors(board, shape, figures)}
    return section


def runtime_section(folder: Path) -> dict[str, Any]:
    """Machine code of each file of the runtime under -Os and tflite rounding, bytes, for both kinds of numbers."""
    section: dict[str, Any] = {}
    for kind, fixed in (("float32", False), ("fixed point", True)):
        config = write_config(folder / kind, fixed_point=fixed, sample_int16=fixed)
        section[kind] = {
            board: {
                source.stem: text_bytes(compile_object(board, source, config / "out.o", config, optimise="-Os"))
                for source in sorted(RUNTIME.glob("*.c"))
            }
            for board in BOARDS
        }
    return section


def femto_section() -> dict[str, Any]:
    """The boards' tests in a process of their own, FEMTO among their windows: what they said, and how many windows.

    Each board runs these windows under each rounding profile, through the release and through a head applied there.
    """
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(BOARD_TESTS)]
    environment = os.environ | {"FEDTINY_DATA": str(data_folder(FEMTO))}
    done = subprocess.run(
        command, cwd=BOARD_TESTS.parents[2], env=environment, capture_output=True, text=True, check=False
    )
    said = done.stdout.splitlines()[-1] if done.stdout else done.stderr
    passed = re.search(r"(\d+) passed", said)
    met = done.returncode == 0 and "skipped" not in said
    return {"met": met, "tests_passed": int(passed[1]) if passed else 0, "said": said, "windows": femto_windows()}


def femto_windows() -> int:
    """How many of FEMTO the boards' tests take: the last of its last bearing."""
    sys.path.insert(0, str(BOARD_TESTS.parent))
    most = importlib.import_module(BOARD_TESTS.stem).FEMTO_WINDOWS
    fleet = open_fleet(data_folder(FEMTO) / FEMTO)
    last = list(fleet.machines.values())[-1]
    return min(most, sum(len(recording.samples) // 2560 for recording in last.recordings()))


def write_config(folder: Path, *, fixed_point: bool = False, sample_int16: bool = False) -> Path:
    """``fedtiny_config.h`` of the rounding profile tflite in ``folder``."""
    folder.mkdir(exist_ok=True)
    config = config_header("tflite", fixed_point=fixed_point, sample_int16=sample_int16)
    (folder / "fedtiny_config.h").write_text(config)
    return folder


def tools() -> dict[str, str]:
    """Versions of compiler and emulator: their first lines."""
    return {
        name: subprocess.run([name, "--version"], capture_output=True, text=True, check=True).stdout.splitlines()[0]
        for name in (COMPILER, EMULATOR)
    }


def show_network(section: dict[str, Any]) -> None:
    """A table a shape on stdout."""
    for shape, boards in section.items():
        print(f"\n{shape:27s}{'ours':>12s}{'TFLM':>9s}{'share':>9s}{'at most':>9s}")
        for board, figures in boards.items():
            for name, row in figures["beside_tflm"].items():
                verdict = "met" if row["met"] else "SHORT"
                numbers = f"{row['ours']:12,d} {row['tflm']:8,d} {row['share']:8.3f} {row['at_most']:8.3f}"
                print(f"  {board:4s} {name.replace('_', ' '):20s}{numbers}  {verdict}")
            fast, small = figures["-O2"], figures["-Os"]
            print(
                f"       constants {figures['constant_bytes']:,d} bytes, the network's code {fast['code_bytes']:,d};"
                f" -Os: code {small['code_bytes']:,d}, instructions {small['instructions']:,d}"
            )


def show_runtime(section: dict[str, Any]) -> None:
    """Sums on stdout."""
    for kind, boards in section.items():
        sums = ", ".join(f"{board} {sum(files.values()):,d}" for board, files in boards.items())
        print(f"\nall of the runtime's code, {kind}, -Os, bytes: {sums}")


def show_femto(section: dict[str, Any]) -> None:
    """A line on stdout."""
    word = "met  " if section["met"] else "SHORT"
    print(f"\n{word}  the boards equal the interpreter on {section['windows']} FEMTO windows: {section['said']}")


def record(**sections: Any) -> Path:
    """Put these sections into ``benchmarks/results/firmware.json`` and leave the others there as they are."""
    path = RESULTS / "firmware.json"
    known = json.loads(path.read_text()) if path.exists() else {}
    return write_results("firmware", known | sections)


def main() -> None:
    """Measure, write, print."""
    lacking = missing()
    if lacking:
        sys.exit(f"{lacking} is not installed: make toolchain")
    with tempfile.TemporaryDirectory() as name:
        folder = write_config(Path(name))
        network, runtime, watch = network_section(folder), runtime_section(folder), watch_section(folder)
    show_network(network)
    show_runtime(runtime)
    show_watch(watch)
    print(record(versions=versions() | tools(), network=network, runtime=runtime, watch=watch))
    if "FEDTINY_DATA" in os.environ:
        femto = femto_section()
        show_femto(femto)
        record(femto=femto)
        if not femto["met"]:
            sys.exit(1)


if __name__ == "__main__":
    main()
