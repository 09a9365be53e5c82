"""The compose file and the Dockerfiles without an engine: valid, closed, pinned, and all that they name is there."""

import ipaddress
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest
import yaml

from fedtiny.cli import main
from fedtiny.signal.fleet import open_fleet

BROKER = Path(__file__).parents[1] / "broker"
DOCKERFILES = sorted((BROKER / "containers").glob("*.Dockerfile"))
TEXT = (BROKER / "compose.yml").read_text()
COMPOSE = yaml.safe_load(TEXT)
SERVICES = COMPOSE["services"]
AGENTS = [name for name in SERVICES if name.startswith("agent-")]
ONE_SHOT = ("setup", "trainer", "operator")


def tool(name: str) -> str:
    found = shutil.which(name, path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    if found is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"{name} is not installed: make setup")
    return found


@pytest.mark.parametrize(
    "command",
    [
        ["check-jsonschema", "--builtin-schema", "vendor.compose-spec", BROKER / "compose.yml"],
        ["hadolint", "--ignore", "DL3008", *DOCKERFILES],  # versions of apt's packages: Debian stable's
    ],
    ids=lambda command: command[0],
)
def test_others_find_nothing_wrong(command):
    done = subprocess.run([tool(command[0]), *command[1:]], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_closed(name):
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service.get("cap_add", []) == (["CHOWN"] if name == "setup" else [])
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not service.get("privileged")
    assert "mem_limit" in service or name == "setup"
    assert service["image"].endswith(":local") or re.fullmatch(r"[a-z/-]+:v?\d+\.\d+\.\d+", service["image"])
    if name not in ONE_SHOT:
        assert service["restart"] == "unless-stopped"
        assert "healthcheck" in service or ":local" in service["image"]  # ours have theirs in the image


@pytest.mark.parametrize("name", [name for name in SERVICES if "ports" in SERVICES[name]])
def test_a_port_is_open_to_this_machine_alone(name):
    for port in SERVICES[name]["ports"]:
        address = re.sub(r"\$\{\w+:-(.*?)\}", r"\1", port).split(":")[0]
        assert ipaddress.ip_address(address).is_loopback


def test_no_secret_is_written_down():
    for service in SERVICES.values():
        for key, value in service.get("environment", {}).items():
            assert key.endswith("__FILE") or not re.search("PASSWORD|SECRET|TOKEN|KEY", key), (key, value)


def test_what_is_mounted_and_built_is_there():
    for service in SERVICES.values():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert (BROKER / source).exists() if source.startswith(".") else source in COMPOSE["volumes"], volume
        if "build" in service:
            assert (BROKER / service["build"]["context"] / service["build"]["dockerfile"]).is_file()


def test_prometheus_and_grafana_look_for_services():
    jobs = yaml.safe_load((BROKER / "prometheus" / "prometheus.yml").read_text())["scrape_configs"]
    targets = {target for job in jobs for config in job["static_configs"] for target in config["targets"]}
    assert targets == {"coordinator:9464", *(f"{agent}:9465" for agent in AGENTS)}
    [data] = yaml.safe_load((BROKER / "grafana/provisioning/datasources/prometheus.yml").read_text())["datasources"]
    assert data["url"] == "http://prometheus:9090"


@pytest.mark.parametrize("words", [SERVICES[name]["command"] for name in ("coordinator", *AGENTS)], ids=str)
def test_a_command_line_exists(words):
    command, words = main, list(words)
    while isinstance(command, click.Group):
        command = command.commands[words.pop(0)]
    context = command.make_context("fedtiny", words)
    if machine := context.params.get("source__machine"):
        fleet = open_fleet(None)
        assert machine in fleet.machines
        assert machine not in fleet.base


def test_dockerfiles_start_what_exists_and_as_nobody_in_particular():
    for file in DOCKERFILES:
        text = file.read_text()
        [words] = re.findall(r'^CMD \["(.*)"\]$', text, re.M)
        command, words = main, words.split('", "')
        while isinstance(command, click.Group):
            command = command.commands[words.pop(0)]
        command.make_context("fedtiny", words)
        assert "\nUSER 10001:10001\n" in text
        assert re.search(r'^ENTRYPOINT \["/opt', text, re.M)  # no shell in between: signals arrive
