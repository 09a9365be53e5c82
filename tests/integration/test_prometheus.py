"""A real fleet under a real Prometheus, with the files that we ship."""

import json
import os
import re
import shutil
import socket
import subprocess
import time
from pathlib import Path
from urllib.error import URLError
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest

SHIPPED = Path(__file__).parents[2] / "broker"
AGENTS = ("pump-07", "fan-08")
WITHIN_S = 60
pytestmark = [pytest.mark.slow, pytest.mark.parametrize("broker_process", ["embedded"], indirect=True)]


def tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        complain = pytest.fail if os.environ.get("CI") else pytest.skip
        complain(f"{name} is not installed: sudo apt install prometheus")
    return found


def free_ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


class Prometheus:
    """Prometheus with our prometheus.yml, which is told where these processes are and to hurry."""

    def __init__(self, folder: Path, port: int, targets: dict[str, int]) -> None:
        text = (SHIPPED / "prometheus" / "prometheus.yml").read_text().replace("interval: 15s", "interval: 1s")
        for name, target in targets.items():
            assert name in text, name
            text = text.replace(name, f"127.0.0.1:{target}")
        text = text.replace(', "agent-3:9465"', "")
        folder.mkdir()
        (folder / "prometheus.yml").write_text(text)
        shutil.copy(SHIPPED / "prometheus" / "alerts.yml", folder)
        self._url = f"http://127.0.0.1:{port}/api/v1/"
        with (folder / "log").open("wb") as log:
            self.process = subprocess.Popen(
                [
                    tool("prometheus"),
                    f"--config.file={folder / 'prometheus.yml'}",
                    f"--storage.tsdb.path={folder / 'data'}",
                    f"--web.listen-address=127.0.0.1:{port}",
                    "--log.level=warn",
                ],
                stdout=log,
                stderr=log,
            )

    def get(self, path: str, **parameters: str):
        with urlopen(f"{self._url}{path}?{urlencode(parameters)}", timeout=10) as answer:
            body = json.load(answer)
        assert body["status"] == "success", body
        return body["data"]

    def query(self, expression: str) -> list[dict]:
        return self.get("query", query=expression)["result"]

    def until(self, holds, what: str) -> None:
        deadline = time.monotonic() + WITHIN_S
        while time.monotonic() < deadline:
            try:
                if holds():
                    return
            except URLError:
                assert self.process.poll() is None
            time.sleep(0.2)
        raise AssertionError(f"{what}: not within {WITHIN_S} s")

    def sees(self, expression: str, count: int = 1) -> None:
        self.until(lambda: len(self.query(expression)) == count, expression)


@pytest.fixture
def prometheus(coordinator, agent, watcher, tmp_path):
    """Prometheus over a coordinator and two agents, which have taken part in a round."""
    tool("prometheus")
    port, *ports = free_ports(4)
    coordinator("--devices", 2, "--rounds", 1, "--metrics-port", ports[0])
    for name, metrics in zip(AGENTS, ports[1:], strict=True):
        agent(name, "--learn-windows", 40, "--hold-for-revision", 1, "--metrics-port", metrics)
    targets = dict(zip(("coordinator:9464", "agent-1:9465", "agent-2:9465"), ports, strict=True))
    prometheus = Prometheus(tmp_path / "prometheus", port, targets)
    yield prometheus
    prometheus.process.terminate()
    prometheus.process.wait(10)


def dashboard_queries() -> dict[str, str]:
    board = json.loads((SHIPPED / "grafana" / "fedtiny.json").read_text())
    return {
        f"{panel['title']} {target['refId']}": target["expr"]
        for panel in board["panels"]
        for target in panel.get("targets", ())
    }


# What a healthy fleet on a computer like this one does not have: refused messages, drift, heat, a lag behind a sensor.
MAY_BE_EMPTY = re.compile("rejected|lost|drift|temperature|throttled|lag_seconds|loss_|round_duration")


def test_a_real_prometheus_sees_the_fleet(prometheus):
    prometheus.sees("up == 1", 3)
    prometheus.sees("fedtiny_coordinator_revision == 1")
    prometheus.sees("fedtiny_agent_revision == 1", 2)
    prometheus.sees("fedtiny_agent_source_ended == 1 and fedtiny_agent_windows_total > 40", 2)
    prometheus.sees('fedtiny_coordinator_updates_total{fate="used"} == 2')
    prometheus.sees("fedtiny_agent_updates_delivered_total == 1", 2)
    prometheus.sees("fedtiny_device_up == 1 and fedtiny_device_behind == 0", 2)
    prometheus.sees("fedtiny_device_alarm == 2", 2)  # the recordings end in a fault
    prometheus.sees('fedtiny_agent_alarm_unacknowledged{kind="machine"} == 1 and on (device) fedtiny_device_alarm', 2)
    prometheus.sees("fedtiny_coordinator_round_loss_after < fedtiny_coordinator_round_loss_before")
    prometheus.sees("fedtiny_coordinator_snapshot_age_seconds < 3")
    assert {one["metric"]["device"] for one in prometheus.query("fedtiny_agent_info")} == set(AGENTS)

    rules = [rule for group in prometheus.get("rules")["groups"] for rule in group["rules"]]
    assert [(rule["name"], rule["lastError"]) for rule in rules if rule["health"] == "err"] == []
    prometheus.sees('ALERTS{alertname="FedtinyMachineAlarm", alertstate="pending"}', 2)
    pending = prometheus.query('ALERTS{alertname!="FedtinyDiskFilling"}')  # which needs hours to tell a trend
    assert {one["metric"]["alertname"] for one in pending} == {"FedtinyMachineAlarm"}

    for where, expression in dashboard_queries().items():
        for variable, value in {"$__rate_interval": "30s", "$fleet": "plant", "$device": AGENTS[0]}.items():
            expression = expression.replace(variable, value)
        if not MAY_BE_EMPTY.search(expression):
            prometheus.until(lambda query=expression: prometheus.query(query), where)
