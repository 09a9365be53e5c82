"""MISRA C:2012 as cppcheck's addon sees it: nothing but the deviations that docs/firmware.md lists, with reasons."""

import re
import shutil
import subprocess
from pathlib import Path

from building import RUNTIME, tool, write_config

DOCS = Path(__file__).parents[2] / "docs" / "firmware.md"
FINDING = re.compile(r"^(\w+\.[ch]):(\d+): ([\w.-]+): (.*)$", re.MULTILINE)


def deviations() -> dict[str, str]:
    """Rule to where it is deviated from: names of files, or ``all``."""
    _, section = DOCS.read_text().split("\n## MISRA", 1)
    return dict(re.findall(r"^\| (\d+\.\d+) [^|]*\| ([^|]+?) \|", section, re.MULTILINE))


def start(folder: Path, *, fixed: bool) -> subprocess.Popen[str]:
    """cppcheck over the whole runtime, one number type; it writes beside what it reads, so it reads copies."""
    shutil.copytree(RUNTIME, folder)
    write_config(folder, fixed_point=fixed, sample_int16=fixed)
    (folder / "build").mkdir()
    command = [
        tool("cppcheck"),
        "--addon=misra",
        "--enable=warning,portability,performance",
        "--std=c99",
        "--quiet",
        "--cppcheck-build-dir=build",
        "-DFEDTINY_CHECK",  # one configuration: that of fedtiny_config.h
        "--template={file}:{line}: {id}: {message}",
        *sorted(path.name for path in folder.glob("*.c")),
    ]
    return subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True)


def test_only_documented_deviations(tmp_path):
    known = deviations()
    assert known
    unknown = []
    runs = [start(tmp_path / name, fixed=name == "fixed") for name in ("float", "fixed")]
    for process in runs:
        _, text = process.communicate()
        found = FINDING.findall(text)
        assert process.returncode == 0, text
        assert found, text  # the addon ran: there are deviations
        for file, line, kind, message in found:
            where = known.get(kind.removeprefix("misra-c2012-"), "")
            if where != "all" and file not in where.split(", "):
                unknown.append(f"{file}:{line}: {kind}: {message}")
    assert not unknown, "\n".join(sorted(set(unknown)))
