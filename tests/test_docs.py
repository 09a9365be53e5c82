"""What the documentation shows exists: commands and their options, settings, make targets, examples of code."""

import re
import shlex
import signal
import subprocess
import sys
import tomllib
from contextlib import suppress
from pathlib import Path
from xml.etree import ElementTree

import click
import pytest

from docs.pictures import overview
from fedtiny.cli import main
from fedtiny.cli_base import Command
from fedtiny.config import Config, load_config
from fedtiny.scaffold import models, source_models

ROOT = Path(__file__).parent.parent
PAGES = sorted(
    page
    for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("broker/**/*.md")]
    if page.name not in ("cli.md", "CHANGELOG.md")
)
FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`([^`]+)`")
LINK = re.compile(r"\]\((?!\w+:)([^)\s#]+)[^)]*\)")  # to a file
PROGRAM = re.compile(r"(.*/)?fedtiny")
ENDS = {"|", "&&", "&", ">"}


def blocks(page: Path, language: str) -> list[str]:
    return [text for kind, text in FENCE.findall(page.read_text()) if kind == language]


def spans(page: Path) -> list[str]:
    """Inline code, a blank for each line break."""
    return [" ".join(text.split()) for text in INLINE.findall(FENCE.sub("", page.read_text()))]


def calls(line: str) -> list[list[str]]:
    """The arguments of each call of fedtiny in a line of shell."""
    commands: list[list[str]] = [[]]
    for word in shlex.split(line, comments=True):
        if word in ENDS:
            commands.append([])
        else:
            commands[-1].append(word)
    found = [command[3:] if command[:2] == ["sudo", "-u"] else command for command in commands]
    return [arguments for program, *arguments in filter(None, found) if PROGRAM.fullmatch(program) and arguments]


def parse(arguments: list[str]) -> None:
    """All that click does with ``arguments`` but running the command."""
    main.main(arguments, "fedtiny", standalone_mode=False)


@pytest.fixture(autouse=True)
def nothing_runs(monkeypatch):
    monkeypatch.setattr(Command, "invoke", lambda self, context: None)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_commands_and_settings_of_a_page_exist(page, tmp_path):
    for block in blocks(page, "sh"):
        for line in block.replace("\\\n", " ").splitlines():
            for call in calls(line):
                parse(call)
    for span in spans(page):
        for call in calls(span) if span.startswith("fedtiny ") and "..." not in span else ():
            with suppress(click.BadParameter, click.exceptions.NoArgsIsHelpError):  # a name in a sentence, or N
                parse(call)
    for block in blocks(page, "toml"):
        if tomllib.loads(block).keys() & Config.model_fields.keys():
            (tmp_path / "fedtiny.toml").write_text(block)
            load_config(tmp_path / "fedtiny.toml")


def test_the_check_would_notice():
    with pytest.raises(click.NoSuchOption, match="--sped"):
        parse(*calls(".venv/bin/fedtiny edge run --sped 0  # as fast as it goes"))
    with pytest.raises(click.UsageError, match="No such command 'starte'"):
        parse(*calls("sudo -u fedtiny /opt/fedtiny/bin/fedtiny edge starte"))


def test_make_targets_exist():
    there = set(re.findall(r"^([a-z][a-z0-9-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in PAGES:
        if page.name != "add-a-target.md":  # which shows a Makefile of its own
            code = spans(page) + "".join(blocks(page, "sh")).splitlines()
            asked = {name for line in code for name in re.findall(r"^make ([a-z][a-z0-9-]*)\b(?!=)", line)}
            assert asked <= there, page


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CHANGELOG.md"], ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_into_the_repository_lead_somewhere(page):
    for target in LINK.findall(FENCE.sub("", page.read_text())):
        assert (page.parent / target).exists(), f"{page.name}: {target}"


def rows(page: str) -> dict[str, set[str]]:
    """The settings of each section of docs/configure.md."""
    found: dict[str, set[str]] = {}
    for part in re.split(r"^#+ (?=\S)", page, flags=re.MULTILINE):
        title = part.splitlines()[0] if part else ""
        found[title] = set(re.findall(r"^\| `(\w+)` \|", part, re.MULTILINE))
    return {title: names for title, names in found.items() if names}


def test_every_setting_is_documented_and_no_other():
    documented = rows((ROOT / "docs/configure.md").read_text())
    tables = {name: found[0] for name, field in Config.model_fields.items() if (found := models(field.annotation))}
    expected = {f"[{name}]": set(table.model_fields) for name, table in tables.items() if name != "source"}
    expected["At the top"] = set(Config.model_fields) - set(tables)
    shared = documented.pop("[source]")
    for kind, model in source_models().items():
        expected[f'kind = "{kind}"'] = set(model.model_fields) - shared - {"kind"}
    assert documented == expected


def test_the_example_of_a_source_feeds_an_agent(tmp_path):
    (code,) = blocks(ROOT / "docs/add-a-source.md", "python")
    (tmp_path / "fedtiny.toml").write_text('device = "pump-07"\n[broker]\nport = 9\n')
    driver = """
class Driver:
    reads = 0
    def read(self, timeout_s):
        self.reads += 1
        if self.reads == 4:
            print("read", flush=True)
        threading.Event().wait(timeout_s / 10)
        return (None if self.reads == 2 else np.ones((320, 2), np.int16)), self.reads == 3
    def close(self):
        print("closed", flush=True)
main(Driver())
"""
    (tmp_path / "example.py").write_text(code + driver)
    with subprocess.Popen([sys.executable, "example.py"], stdout=subprocess.PIPE, text=True, cwd=tmp_path) as agent:
        assert agent.stdout.readline() == "read\n"
        agent.send_signal(signal.SIGTERM)
        assert agent.stdout.readline() == "closed\n"
    assert agent.returncode == 0


def test_the_overview_is_what_its_script_draws():
    assert (ROOT / "docs/pictures/overview.svg").read_text() == overview.draw()
    assert ElementTree.fromstring(overview.draw()).tag.endswith("svg")
