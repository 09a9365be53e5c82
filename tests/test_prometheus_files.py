"""The files for Prometheus and Grafana that we ship, and the page about them."""

import json
import os
import re
import shutil
import subprocess
from itertools import combinations
from pathlib import Path

import pytest

from fedtiny.exposition.agent import AGENT
from fedtiny.exposition.coordinator import COORDINATOR
from fedtiny.exposition.page import refreshed

ROOT = Path(__file__).parents[1]
RULES, RULE_TESTS = (ROOT / "broker" / "prometheus" / name for name in ("alerts.yml", "alerts.test.yml"))
BOARD = ROOT / "broker" / "grafana" / "fedtiny.json"
SERIES = [*AGENT.series, *AGENT.always, *COORDINATOR.series, *COORDINATOR.always]
NAMES = {one.exposed_name for one in SERIES} | {AGENT.age, COORDINATOR.age}


@pytest.fixture
def promtool():
    program = shutil.which("promtool")
    if program is None:
        complain = pytest.fail if os.environ.get("CI") else pytest.skip
        complain("promtool is not installed: sudo apt install prometheus")

    def run(*arguments):
        done = subprocess.run([program, *arguments], cwd=RULES.parent, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr

    return run


@pytest.fixture(scope="module")
def panels():
    return json.loads(BOARD.read_text())["panels"]


@pytest.mark.parametrize("path", [RULES, RULE_TESTS, BOARD], ids=lambda path: path.name)
def test_every_metric_that_is_asked_for_exists(path):
    asked = set(re.findall(r"\bfedtiny_\w+", path.read_text()))
    assert asked
    assert asked <= NAMES


def test_names_follow_the_conventions():
    assert len(NAMES) == len(SERIES) + 2
    for one in SERIES:
        assert re.fullmatch(r"fedtiny_[a-z_]+[a-z]", one.name)
        assert not one.name.endswith("_total")
        assert one.help.endswith(".")


def test_promtool_accepts_the_files_and_every_rule_fires_when_it_should(promtool):
    promtool("check", "config", "prometheus.yml")
    promtool("check", "rules", RULES.name)
    promtool("test", "rules", RULE_TESTS.name)


def test_every_rule_is_tested_both_ways_and_explained():
    tests, page = RULE_TESTS.read_text(), (ROOT / "docs" / "metrics.md").read_text()
    for alert in re.findall(r"- alert: (\w+)", RULES.read_text()):
        cases = re.findall(rf"alertname: {alert}\n\s+eval_time: \S+\n\s+(\S+)", tests)
        assert "exp_alerts:" in cases, alert
        assert set(cases) > {"exp_alerts:"}, alert
        assert f"`{alert}`" in page


def test_the_page_lists_what_is_served():
    page = (ROOT / "docs" / "metrics.md").read_text()
    assert refreshed(page) == page, "run make docs"
    assert {name for name in NAMES if f"| `{name}` |" in page} == NAMES


def test_the_dashboard_is_one_that_grafana_takes(panels):
    board = json.loads(BOARD.read_text())
    assert (board["schemaVersion"], board["uid"], board.get("id")) == (39, "fedtiny", None)
    assert len({panel["id"] for panel in panels}) == len(panels)
    for panel in panels:
        if panel["type"] != "row":
            assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
            assert panel["targets"], panel["title"]
            assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
    known = {variable["name"] for variable in board["templating"]["list"]} | {"__rate_interval", "__value.raw"}
    assert set(re.findall(r"\$\{?([a-z_]+(?:\.raw)?)", json.dumps(panels))) <= known


def test_no_panel_of_the_dashboard_lies_on_another(panels):
    for panel in panels:
        assert panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24
    for one, other in combinations([panel["gridPos"] for panel in panels], 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        above = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or above, (one, other)
