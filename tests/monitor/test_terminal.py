"""The monitor as a process in a terminal of its own, on a real broker."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time

import pytest
from hearsay import status

from fedtiny.broker import EmbeddedBroker
from fedtiny.config import Broker
from fedtiny.protocol import codec, topics
from fedtiny.protocol.messages import Command
from fedtiny.transport import Connection, Received

pytestmark = pytest.mark.slow
WITHIN_S = 60


class Terminal:
    """80 by 24 cells, and what was written to them by Python with ``arguments``."""

    def __init__(self, *arguments):
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        command = [sys.executable, *arguments]
        environment = os.environ | {"TERM": "xterm-256color"}
        self.process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment)
        os.close(theirs)
        self._file = ours

    def press(self, keys):
        os.write(self._file, keys.encode())

    def until(self, words):
        """Wait until ``words`` have been written, after what was waited for last."""
        written, deadline = "", time.monotonic() + WITHIN_S
        while words not in written:
            assert time.monotonic() < deadline, f"no {words!r} in {written!r}"
            if select.select([self._file], [], [], 0.1)[0]:
                written += os.read(self._file, 65536).decode(errors="replace")

    def end(self):
        """Its exit code, and what it still writes: it would wait until that is read."""
        written, deadline = b"", time.monotonic() + WITHIN_S
        while time.monotonic() < deadline:
            if select.select([self._file], [], [], 0.1)[0]:
                try:
                    written += os.read(self._file, 65536)
                except OSError:  # the last one has let go of the terminal
                    break
        return self.process.wait(10), written.decode()

    def close(self):
        self.process.kill()
        self.process.wait()
        os.close(self._file)


@pytest.fixture
def broker(tmp_path):
    with EmbeddedBroker(tmp_path / "broker") as broker:
        yield broker


@pytest.fixture
def terminal(broker):
    terminal = Terminal("-m", "fedtiny.cli", "monitor", "--port", str(broker.port))
    yield terminal
    terminal.close()


@pytest.fixture
def device(broker):
    """The connection of the device m1, which hears its commands."""
    topic = topics.device_topic("plant", "m1", "command")
    connection = Connection(Broker(port=broker.port), "m1", subscriptions=[(topic, 1)])
    connection.start()
    connection.publish(topics.device_topic("plant", "m1", "status"), codec.encode(status("m1")), retain=True)
    yield connection
    connection.stop(timeout_s=0)


def test_an_operator_sees_a_device_tells_it_something_and_leaves(broker, terminal, device):
    terminal.until("1 of 1 devices online")
    terminal.press("a")
    terminal.until("acknowledge its alarms?")
    terminal.press("y")
    terminal.until("handed to the broker")
    deadline = time.monotonic() + WITHIN_S
    while not isinstance(event := device.next_event(1.0), Received):
        assert time.monotonic() < deadline
    assert codec.decode(Command, event.payload).action == "acknowledge"
    broker.stop()
    terminal.until("LOST since")
    terminal.press("q")
    assert terminal.end()[0] == 0


def test_it_ends_when_it_is_told_to(terminal):
    terminal.until("0 of 0 devices online")
    terminal.process.send_signal(signal.SIGTERM)
    terminal.until("\x1b[?1049l")  # the terminal is as it was
    assert terminal.end()[0] == 0


@pytest.mark.parametrize("level", ["info", "debug"])
def test_a_crash_says_what_it_was_and_tells_no_secrets(level, tmp_path):
    """One line, after the terminal is as it was. The log has the places in the code, without the values there."""
    (tmp_path / "fedtiny.toml").write_text('broker = {port = 9, username = "me", password = "sesame"}\n')
    program = """
from fedtiny.cli import main
from fedtiny.monitor.app import MonitorApp

def tick(self):
    broker = self._config.broker
    raise RuntimeError(f"{broker!r} is odd")

MonitorApp.tick = tick
main()
"""
    terminal = Terminal("-c", program, "monitor", "--config", "fedtiny.toml", "--log-level", level)
    try:
        terminal.until("\x1b[?1049l")
        code, written = terminal.end()
    finally:
        terminal.close()
    assert code == 1
    assert "sesame" not in written
    lines = [line for line in re.sub(r"\x1b\[[^a-zA-Z]*[a-zA-Z]", "", written).splitlines() if line]
    assert lines[-1].startswith("Error: an error has ended the screen: RuntimeError: Broker(")
    assert lines[-1].endswith(" is odd (--log-level debug says where)")
    assert len(lines) == 1 or (level == "debug" and any("in tick" in line for line in lines))
