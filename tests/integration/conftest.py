"""Real brokers on free loopback ports, the embedded one and Mosquitto with the file that we ship; real processes."""

import os
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
    ReleaseMessage,
    RoundMessage,
    UpdateMessage,
)
from fedtiny.provisioning.fleet import add_device, init_fleet, revoke
from fedtiny.provisioning.mosquitto import FOLDER
from fedtiny.transport import Connected, Connection, Received

MOSQUITTO_CONF = Path(__file__).parents[2] / "broker" / "mosquitto.conf"
FLEET = "plant"
WITHIN_S = 60
KINDS = {"release": ReleaseMessage, "round": RoundMessage, "head": HeadMessage, "update": UpdateMessage, "alarm": Alarm}


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
    """Mosquitto with the configuration ``text``, where persistent messages go to ``folder``."""

    def __init__(self, folder: Path, text: str, where: config.Broker) -> None:
        executable = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")
        if executable is None:
            complain = pytest.fail if os.environ.get("CI") else pytest.skip
            complain("Mosquitto is not installed: sudo apt install mosquitto")
        folder.mkdir()
        text = replaced(text, "persistence_location /var/lib/mosquitto/", f"persistence_location {folder}/")
        if os.geteuid() == 0:
            text += "user root\n"  # else it gives its rights up and cannot write into the folder
        (folder / "mosquitto.conf").write_text(text)
        self.config = where
        self._command = [executable, "-c", str(folder / "mosquitto.conf")]
        self._log = folder / "mosquitto.log"
        self.start()

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)
        deadline = time.monotonic() + 20
        while not accepts_clients(self.config.host, self.config.port, self.config.ca):
            assert self._process.poll() is None, self._log.read_text()
            assert time.monotonic() < deadline, self._log.read_text()

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(10)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


def replaced(text: str, old: str, new: str) -> str:
    assert old in text, old
    return text.replace(old, new)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def open_mosquitto(folder: Path) -> Mosquitto:
    """With the file that we ship, open to anybody."""
    where = config.Broker(port=free_port())
    text = replaced(MOSQUITTO_CONF.read_text(), "listener 1883 127.0.0.1", f"listener {where.port} 127.0.0.1")
    return Mosquitto(folder, text, where)


class EmbeddedSite:
    """A fleet with certificates around the embedded broker."""

    kind = "embedded"

    def __init__(self, folder: Path) -> None:
        self.fleet = folder / "fleet"
        port = free_port()
        init_fleet(self.fleet, FLEET, "127.0.0.1", port=port, staff_port=port)
        self._start(folder)

    def _start(self, folder: Path) -> None:
        self._broker = EmbeddedBroker(folder / "broker", port=self.of("operator").port, fleet_folder=self.fleet)
        self._broker.start()

    def of(self, name: str) -> config.Broker:
        """The way to the broker of "coordinator", "operator", or a device, which is added at its first use."""
        folder = self.fleet / name
        if name not in ("coordinator", "operator"):
            folder = self.fleet / "devices" / name
            if not folder.exists():
                add_device(self.fleet, name)
                self.apply()
        return config.load_config(folder / "fedtiny.toml").broker

    def revoke(self, name: str) -> None:
        revoke(self.fleet, name)
        self.apply()

    def apply(self) -> None:
        """What `fedtiny broker` does once it has seen a change of the fleet's folder; until it counts."""
        log = self.fleet.parent / "broker" / "nats-server.log"
        before = log.read_text().count("Reloaded server configuration")
        self._broker.refresh()
        deadline = time.monotonic() + 10
        while log.read_text().count("Reloaded server configuration") == before:
            assert time.monotonic() < deadline, log.read_text()

    def stop(self) -> None:
        self._broker.stop()


class MosquittoSite(EmbeddedSite):
    """The same around Mosquitto, with the files that the fleet's folder has for it."""

    kind = "mosquitto"

    def __init__(self, folder: Path) -> None:
        self.fleet = folder / "fleet"
        init_fleet(self.fleet, FLEET, "127.0.0.1", port=free_port(), staff_port=free_port())
        self._start(folder)

    def _start(self, folder: Path) -> None:
        text = replaced((self.fleet / "broker" / "mosquitto.conf").read_text(), str(FOLDER), str(self.fleet / "broker"))
        self._broker = Mosquitto(folder / "broker", text, self.of("operator"))

    def revoke(self, name: str) -> None:
        revoke(self.fleet, name)
        self._broker.stop()
        self._broker.start()

    def apply(self) -> None:
        pass


@pytest.fixture
def unused_port() -> int:
    return free_port()


@pytest.fixture(params=["embedded", "mosquitto"])
def broker_process(request, tmp_path):
    """A running broker: ``config``, ``kill()``, ``start()`` on the same port."""
    process = {"embedded": Embedded, "mosquitto": open_mosquitto}[request.param](tmp_path / "broker")
    yield process
    process.stop()


@pytest.fixture
def broker(broker_process) -> config.Broker:
    """Where a real broker listens; the test runs once for each kind."""
    return broker_process.config


@pytest.fixture(params=[EmbeddedSite, MosquittoSite], ids=lambda kind: kind.kind)
def site(request, tmp_path):
    """A fleet with certificates and its running broker: ``of(name)``, ``revoke(name)``, ``fleet``."""
    site = request.param(tmp_path)
    yield site
    site.stop()


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


@pytest.fixture
def connect():
    """A function that makes a connection, closed when the test ends; a filter without a QoS gets 1."""
    made = []

    def connect(broker, client_id, *filters, **options):
        subscriptions = [name if isinstance(name, tuple) else (name, 1) for name in filters]
        connection = Connection(broker, client_id, subscriptions=subscriptions, **options)
        made.append(connection)
        connection.start()
        return connection

    yield connect
    for connection in made:
        connection.stop(timeout_s=0)


@pytest.fixture
def subscribe(connect, wait_for):
    """Like connect, and returns once the broker has the subscriptions."""

    def subscribe(broker, client_id, *filters, **options):
        connection = connect(broker, client_id, *filters, "ready/" + client_id, **options)
        wait_for(connection, Connected)
        connection.publish("ready/" + client_id, b"")
        connection.acknowledge(wait_for(connection, Received))
        return connection

    return subscribe


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
