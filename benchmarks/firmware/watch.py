"""What a whole window costs on four cores, from samples to alarm: a release trained on the simulator, as exported.

The firmware is ``boards/watch.c`` around an export under default options: it learns the machine from its first
windows, then scores. Instructions are the mean of the scored windows; features and network are measured alone, the
score is the rest of ``fedtiny_run``. Code and constants are those of the whole program, self-test and replaceable head
among them. RAM is that of one machine.
"""

import subprocess
import sys
from pathlib import Path
from typing import Any, Literal

import numpy as np

from benchmarks.firmware.boards import BOARDS, HERE, build, run_on, section_bytes, text_bytes
from fedtiny.config import load_config
from fedtiny.device import rules_of
from fedtiny.model.artifact import Release
from firmware_export.export import Options, export_release, write_folder

Number = Literal["float", "fixed"]
NUMBERS: dict[Number, float | None] = {"float": None, "fixed": 1 / 8192}  # unit of the samples a count, where int16
SEED = 0
LOOP_INSTRUCTIONS = 2_000_000  # as in boards/watch.c
OPTIMISE = ("-O2", "-Os")


def train(out: Path, data: Path | None = None) -> Release:
    """A release of the base machines of ``data``, None: of the simulator; TensorFlow stays in its own process."""
    command = [sys.executable, "-m", "fedtiny.cli", "train", "--out", str(out), "--seed", str(SEED)]
    command += [] if data is None else ["--data", str(data)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return Release.open(out)


def measure(board: str, src: Path, folder: Path, optimise: str) -> dict[str, Any]:
    """Figures of the exported C in ``src`` on one core: bytes, and instructions a window."""
    elf = build(board, [*sorted(src.glob("*.c")), HERE / "watch.c"], src, folder, optimise=optimise)
    done = run_on(board, elf, folder)
    if done.returncode:
        sys.exit(f"{board}: the program ended with {done.returncode}: {done.stderr}")
    stack = int(np.fromfile(folder / "results.bin", "<u4")[0])
    loop, windows, *ticks = np.fromfile(folder / "ticks.bin", "<u4").tolist()
    whole, features, network = (round(part * LOOP_INSTRUCTIONS / loop / windows) for part in ticks)
    sections = section_bytes(elf)
    ram = sum(size for name, size in section_bytes(folder / f"{board}-watch.o").items() if ".machine_" in name)
    return {
        "instructions": {
            "window": whole,
            "features": features,
            "network": network,
            "score": whole - features - network,
        },
        "windows_scored": windows,
        "program_bytes": text_bytes(elf),
        "constant_bytes": sections.get(".rodata", 0) + sections.get(".data", 0),
        "ram_bytes": ram,
        "stack_bytes": stack,
    }


def watch_section(folder: Path) -> dict[str, Any]:
    """Float and fixed point, core by core."""
    release = train(folder / "release.tflite")
    manifest = release.manifest
    section: dict[str, Any] = {"channels": len(manifest.channels), "samples": manifest.window}
    for number, lsb in NUMBERS.items():
        options = Options(rules=rules_of(load_config(None).edge), number=number, lsb=lsb)
        write_folder(folder / number, export_release(release, options).files)
        section[number] = {
            board: {optimise: measure(board, folder / number / "src", folder, optimise) for optimise in OPTIMISE}
            for board in BOARDS
        }
    return section


def show_watch(section: dict[str, Any]) -> None:
    """A table on stdout."""
    print(f"\na window of {section['samples']:,} samples x {section['channels']} channels, samples to alarm")
    heads = ("instructions", "features", "network", "score", "program", "constants", "RAM", "stack")
    print(f"{'':15s}" + "".join(f"{head:>13s}" for head in heads))
    for number in NUMBERS:
        for board, levels in section[number].items():
            for optimise, figures in levels.items():
                sizes = [figures[f"{part}_bytes"] for part in ("program", "constant", "ram", "stack")]
                row = "".join(f"{value:13,d}" for value in (*figures["instructions"].values(), *sizes))
                print(f"{number:6s}{board:5s}{optimise:4s}{row}")
