import os
import shutil
import subprocess
from pathlib import Path

import pytest

from fedtiny.cli import main

UNITS = sorted((Path(__file__).parents[1] / "broker" / "systemd").glob("*.service"))
PROGRAM = "/opt/fedtiny/bin/fedtiny"

pytestmark = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None and "CI" not in os.environ, reason="systemd-analyze is not installed"
)


@pytest.fixture(params=UNITS, ids=lambda unit: unit.stem)
def unit(request, tmp_path) -> Path:
    """A unit whose program is there: systemd-analyze looks for it."""
    copy = tmp_path / request.param.name
    copy.write_text(request.param.read_text().replace(PROGRAM, shutil.which("true")))
    return copy


def test_systemd_understands_the_unit(unit):
    done = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_unit_is_hardened(unit):
    """At most 1.5 of 10 in systemd's own measure of exposure."""
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=15", "--no-pager", unit],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_the_command_line_of_the_unit_exists(unit):
    [line] = [line for line in unit.read_text().splitlines() if line.startswith("ExecStart=")]
    program, *words = line.removeprefix("ExecStart=").split()
    assert program == PROGRAM
    command = main
    while words and not words[0].startswith("-"):
        command = command.commands[words.pop(0)]
    options = {name for option in command.params for name in option.opts}
    assert {word for word in words if word.startswith("--")} <= options
