"""The layout that docs/add-a-target.md makes as an example, built and run."""

import re
import shutil
from pathlib import Path

from building import run, tool
from test_targets import RULES, check_watching, said_by

from firmware_export import targets, templating
from firmware_export.export import Options, export_release, write_folder

PAGE = Path(__file__).parents[2] / "docs" / "add-a-target.md"


def test_the_example_of_a_target_builds_and_runs(tmp_path, monkeypatch, release):
    templates = tmp_path / "templates"
    shutil.copytree(templating.TEMPLATES, templates)
    shown = re.findall(
        r"`firmware_export/templates/(make/\S+|parts/build_make\.md)`:\n\n```\w+\n(.*?)```", PAGE.read_text(), re.S
    )
    for name, text in shown:
        (templates / name).parent.mkdir(parents=True, exist_ok=True)
        (templates / name).write_text(text)
    for module in (targets, templating):
        monkeypatch.setattr(module, "TEMPLATES", templates)
    monkeypatch.setattr(targets, "TARGETS", (*targets.TARGETS, "make"))
    write_folder(tmp_path / "export", export_release(release, Options(rules=RULES, name="pump", target="make")).files)
    run([tool("make"), "-C", tmp_path / "export", "-j2", "lib", "example"])
    check_watching(said_by(tmp_path / "export" / "example", lambda lines: lines[-1].startswith("score")))
