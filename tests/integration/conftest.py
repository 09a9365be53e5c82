"""Real brokers on free loopback ports, the embedded one and Mosquitto with the file that we ship; real processes."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fedtiny import config
from fedtiny.broker import EmbeddedBroker, accepts_clients
from fedtiny.errors import ProtocolError
from fedtiny.protocol import codec, topics
from fedtiny.protocol.messages import (
    Alarm,
    DeviceStatus,
    FleetStatus,
    HeadMessage,
    RoundMessage,
    UpdateMessage,
)
from fedtiny.transport import Connection, Received

MOSQUITTO_CONF = Path(__file__).parents[2] / "broker" / "mosquitto.conf"
FLEET = "plant"
WITHIN_S = 60
KINDS = {"round": RoundMessage, "head": HeadMessage, "update": UpdateMessage, "alarm": Alarm}


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


class Watcher:
    """Sees all of a fleet's topics; waits for what a test needs."""

    def __init__(self, broker):
        filters = [(topics.everything_filter(FLEET), 1)]
        self.connection = Connection(broker, "test-watcher", subscriptions=filters)
        self.connection.start()
        self.seen = []

    def until(self, found, what):
        """The first message (topic, message) for which ``found`` holds, seen already or yet to come."""
        for entry in self.seen:
            if found(*entry):
                return entry[1]
        deadline = time.monotonic() + WITHIN_S
        while time.monotonic() < deadline:
            event = self.connection.next_event(0.2)
            if isinstance(event, Received):
                topic = topics.parse(event.topic)
                kind = KINDS.get(topic.kind)
                if topic.kind == "status":
                    kind = DeviceStatus if topic.device else FleetStatus
                try:
                    message = codec.decode(kind, event.payload) if kind else event.payload
                except ProtocolError:
                    continue  # some tests throw garbage
                self.seen.append((topic, message))
                if found(topic, message):
                    return message
        raise AssertionError(f"{what} was not seen within {WITHIN_S} s; seen: {[t.kind for t, _ in self.seen]}")

    def status(self, device, found, what):
        return self.until(lambda t, m: t.kind == "status" and t.device == device and found(m), what)

    def head(self, revision):
        return self.until(lambda t, m: t.kind == "head" and m.revision >= revision, f"revision {revision}")

    def open_round(self, number):
        return self.until(
            lambda t, m: t.kind == "round" and m.round_number == number and m.state == "open", f"round {number}"
        )


@pytest.fixture
def watcher(broker):
    watcher = Watcher(broker)
    yield watcher
    watcher.connection.stop()


@pytest.fixture
def start(broker, tmp_path):
    """Start ``fedtiny ARGUMENTS`` as a process against the broker; all end with the test."""
    processes = []

    def run(*arguments, log="log"):
        where = ["--port", str(broker.port), "--fleet", FLEET]
        with (tmp_path / log).open("ab") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "fedtiny.cli", *map(str, arguments), *where], stdout=output, stderr=output
            )
        processes.append(process)
        return process

    yield run
    for process in processes:
        process.kill()
        process.wait()


@pytest.fixture
def coordinator(start, release_path, tmp_path):
    def run(*arguments):
        state = tmp_path / "coordinator"
        return start("coordinator", "--release", release_path, "--state", state, *arguments, log="coordinator.log")

    return run


@pytest.fixture
def agent(start, tmp_path):
    def run(device, *arguments):
        state = tmp_path / device
        return start("edge", "run", "--device", device, "--state", state, "--speed", 0, *arguments, log=f"{device}.log")

    return run
