"""A fleet of real processes on this machine: release, broker, coordinator and agents, plain or with certificates."""

import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from fedtiny import config
from fedtiny.broker import EmbeddedBroker
from fedtiny.child import start_child
from fedtiny.config import load_config
from fedtiny.provisioning.fleet import add_device, init_fleet
from fedtiny.provisioning.folder import staff_config
from fedtiny.scaffold import render
from fedtiny.signal.simulator import CHANNELS, design_machine

RATE_HZ, SAMPLES = 12_800, 2_048  # of the simulated signal; of a window
WINDOWS = 80  # of a machine's recording, which is played over and over
FLEET, HOST = "site", "127.0.0.1"
NOTHING: Mapping[str, Any] = MappingProxyType({})


def train_release(folder: Path, **sections: Mapping[str, Any]) -> Path:
    """A small release for the simulator's machines; ``sections`` of its configuration."""
    path, settings = folder / "release.tflite", folder / "train.toml"
    settings.write_text(staff_config(FLEET, **({"train": {"epochs": 40}} | sections)))
    train = [sys.executable, "-m", "fedtiny.cli", "train", "--config", str(settings), "--out", str(path)]
    subprocess.run(train, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return path


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


class Site:
    """Everything below ``folder``, which exists.

    devices: their names. secured: TLS with certificates, signed global state and updates. device_port: where devices
    find the broker, where that is not its own port. coordinator, edge: settings of these sections; source: of the
    devices' replay.
    """

    def __init__(
        self,
        folder: Path,
        devices: list[str],
        *,
        secured: bool,
        device_port: int | None = None,
        coordinator: Mapping[str, Any] = NOTHING,
        edge: Mapping[str, Any] = NOTHING,
        source: Mapping[str, Any] = NOTHING,
    ) -> None:
        self.folder, self._fleet = folder, folder / "fleet"
        port = free_port()
        given = {f"source.{key}": value for key, value in source.items()}
        given |= {f"edge.{key}": value for key, value in edge.items()} | {"source.data": folder / "data"}
        self._write_data(devices)
        if secured:
            init_fleet(self._fleet, FLEET, HOST, port=device_port or port, staff_port=port)
            for device in devices:
                add_device(self._fleet, device, given=given)
        else:
            (self._fleet / "coordinator").mkdir(parents=True)
            (self._fleet / "coordinator" / "fedtiny.toml").write_text(staff_config(FLEET, broker={"port": port}))
            for device in devices:
                where = {"device": device, "fleet": FLEET, "broker.port": device_port or port}
                (self._fleet / "devices" / device).mkdir(parents=True)
                (self._fleet / "devices" / device / "fedtiny.toml").write_text(render(where | given))
        with (self._fleet / "coordinator" / "fedtiny.toml").open("a") as file:
            file.write(staff_config(FLEET, coordinator=coordinator).split("\n", 1)[1])
        self.broker = EmbeddedBroker(folder / "broker", port=port, fleet_folder=self._fleet if secured else None)
        self.state = folder / "coordinator"

    def _write_data(self, devices: list[str]) -> None:
        """A healthy machine each, and one for the trainer, which is never looked at."""
        for number, name in enumerate(["base", *devices]):
            machine = design_machine(number)
            normal = self.folder / "data" / name / "normal"
            normal.mkdir(parents=True)
            np.save(normal / "all.npy", np.stack([machine.snapshot(index, 0.3, SAMPLES) for index in range(WINDOWS)]))
        names = ", ".join(f'"{channel}"' for channel in CHANNELS)
        text = f'sample_rate_hz = {RATE_HZ}\nchannels = [{names}]\nbase = ["base"]\n'
        (self.folder / "data" / "fleet.toml").write_text(text)

    @property
    def observers_way(self) -> config.Broker:
        """To the broker, for somebody who reads all but updates."""
        home = self._fleet / "operator"
        return load_config((home if home.exists() else self._fleet / "coordinator") / "fedtiny.toml").broker

    def start_coordinator(self, release: Path) -> "subprocess.Popen[bytes]":
        """``fedtiny coordinator``; its log is ``coordinator.log``."""
        where = ["--config", str(self._fleet / "coordinator" / "fedtiny.toml"), "--state", str(self.state)]
        return self._start("coordinator", ["coordinator", "--release", str(release), *where])

    def start_agent(self, device: str, *arguments: str) -> "subprocess.Popen[bytes]":
        """``fedtiny edge run``; its log is ``DEVICE.log``."""
        where = ["--config", str(self._fleet / "devices" / device / "fedtiny.toml")]
        where += ["--state", str(self.folder / "states" / device)]
        return self._start(device, ["edge", "run", *where, *arguments])

    def log(self, name: str) -> str:
        """What a process has said in all its lives; times are seconds since 1970."""
        path = self.folder / f"{name}.log"
        return path.read_text() if path.exists() else ""

    def order(self, *arguments: str) -> None:
        """An operator's command on the coordinator's ledger."""
        command = [sys.executable, "-m", "fedtiny.cli", *arguments, "--state", str(self.state)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

    def _start(self, name: str, arguments: list[str]) -> "subprocess.Popen[bytes]":
        with (self.folder / f"{name}.log").open("ab") as log:
            return start_child([sys.executable, "-m", "fedtiny.cli", *arguments], stdout=log, stderr=log)
