"""The sizes that an export prints are those of a real build for a Cortex-M4, and it runs there from sample to alarm."""

import numpy as np
import pytest
from building import tool

from benchmarks.firmware.boards import COMPILER, EMULATOR, HERE, build, run_on, section_bytes, text_bytes
from fedtiny.config import load_config
from fedtiny.device import rules_of
from firmware_export.export import Options, export_release, write_folder
from firmware_export.sizes import STATE


@pytest.mark.parametrize("number", ["float", "fixed"])
def test_sizes_are_told_before_anyone_compiles(number, release, tmp_path):
    tool(COMPILER)
    tool(EMULATOR)
    lsb = 1 / 8192 if number == "fixed" else None
    rules = rules_of(load_config(None, edge__learn_windows=20).edge)
    exported = export_release(release, Options(rules=rules, number=number, lsb=lsb))
    write_folder(tmp_path / "out", exported.files)
    src = tmp_path / "out" / "src"
    elf = build("M4", [*sorted(src.glob("*.c")), HERE / "watch.c"], src, tmp_path, optimise="-Os")
    done = run_on("M4", elf, tmp_path)
    assert done.returncode == 0, done.stderr
    stack, state = np.fromfile(tmp_path / "results.bin", "<u4").tolist()
    model, unit = section_bytes(tmp_path / "M4-fedtiny_model.o"), section_bytes(tmp_path / "M4-watch.o")
    constants = sum(size for name, size in model.items() if name.startswith((".rodata", ".data.rel.ro")))
    buffers = sum(size for name, size in unit.items() if name.startswith(".bss.machine"))
    assert exported.sizes.constants == pytest.approx(constants, rel=0.01)
    assert exported.sizes.code == pytest.approx(text_bytes(elf), rel=0.1)
    assert exported.sizes.ram == pytest.approx(buffers, abs=8)
    assert exported.sizes.stack == pytest.approx(stack, rel=0.15)
    assert state == STATE
