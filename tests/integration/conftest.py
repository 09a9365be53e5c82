"""Real brokers on free loopback ports: the embedded one, and Mosquitto with the file that we ship."""

import os
import re
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from fedtiny import config
from fedtiny.broker import EmbeddedBroker, accepts_clients

MOSQUITTO_CONF = Path(__file__).parents[2] / "broker" / "mosquitto.conf"


class Embedded:
    def __init__(self, folder: Path) -> None:
        self._broker = EmbeddedBroker(folder)
        self._broker.start()
        self.config = config.Broker(port=self._broker.port)
        self.start, self.stop = self._broker.start, self._broker.stop

    def kill(self) -> None:
        os.kill(self._broker.pid, signal.SIGKILL)
        self._broker.wait()


class Mosquitto:
    def __init__(self, folder: Path) -> None:
        executable = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")
        if executable is None:
            complain = pytest.fail if os.environ.get("CI") else pytest.skip
            complain("Mosquitto is not installed: sudo apt install mosquitto")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.config = config.Broker(port=probe.getsockname()[1])
        folder.mkdir()
        text = MOSQUITTO_CONF.read_text()
        for line, instead in (
            (r"listener 1883 127\.0\.0\.1", f"listener {self.config.port} 127.0.0.1"),
            (r"persistence_location .*", f"persistence_location {folder}/"),
        ):
            text, count = re.subn(rf"(?m)^{line}$", instead, text)
            assert count == 1, line
        if os.geteuid() == 0:
            text += "user root\n"  # else it gives its rights up and cannot write into the folder
        (folder / "mosquitto.conf").write_text(text)
        self._command = [executable, "-c", str(folder / "mosquitto.conf")]
        self._log = folder / "mosquitto.log"
        self.start()

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)
        deadline = time.monotonic() + 20
        while not accepts_clients(self.config.host, self.config.port):
            assert self._process.poll() is None, self._log.read_text()
            assert time.monotonic() < deadline, self._log.read_text()

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(10)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


@pytest.fixture(params=["embedded", "mosquitto"])
def broker_process(request, tmp_path):
    """A running broker: ``config``, ``kill()``, ``start()`` on the same port."""
    process = {"embedded": Embedded, "mosquitto": Mosquitto}[request.param](tmp_path / "broker")
    yield process
    process.stop()


@pytest.fixture
def broker(broker_process) -> config.Broker:
    """Where a real broker listens; the test runs once for each kind."""
    return broker_process.config


@pytest.fixture
def wait_for():
    """A function: the connection's next event of a kind; the events before it are passed over."""

    def wait(connection, kind, timeout_s=15.0):
        deadline = time.monotonic() + timeout_s
        while (left := deadline - time.monotonic()) > 0:
            event = connection.next_event(left)
            if isinstance(event, kind):
                return event
        raise AssertionError(f"no {kind.__name__} in {timeout_s} s")

    return wait
