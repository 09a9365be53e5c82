import os
import re
import signal
import socket
import subprocess
import sys
import time

import pytest

from fedtiny import broker as broker_module
from fedtiny import config
from fedtiny.broker import EmbeddedBroker, accepts_clients
from fedtiny.errors import ConfigError, TransportError
from fedtiny.transport import Connected, Connection, Received


def test_retained_and_queued_messages_survive_a_kill(tmp_path, wait_for):
    broker = EmbeddedBroker(tmp_path / "state")
    broker.start()
    where = config.Broker(port=broker.port)
    try:
        away = Connection(where, "away", subscriptions=[("queue/#", 1)], persistent=True)
        away.start()
        wait_for(away, Connected)
        away.publish("queue/ready", b"")  # back once the subscription stands
        wait_for(away, Received)
        away.stop()
        sender = Connection(where, "sender", subscriptions=[])
        sender.start()
        sender.publish("kept", b"retained", retain=True)
        for number in range(50):
            sender.publish("queue/a", b"%d" % number)
        assert sender.drain(10)

        os.kill(broker.pid, signal.SIGKILL)
        broker.wait()
        sender.stop()
        broker.start()

        back = Connection(where, "away", subscriptions=[("queue/#", 1), ("kept", 1)], persistent=True)
        back.start()
        assert wait_for(back, Connected).session_present
        received = [wait_for(back, Received) for _ in range(51)]
        assert [int(m.payload) for m in received if m.topic == "queue/a"] == list(range(50))
        assert [m.payload for m in received if m.retained] == [b"retained"]
        back.stop()
    finally:
        broker.stop()


def test_the_server_dies_with_a_killed_parent(tmp_path):
    program = (
        "import pathlib, sys; from fedtiny.broker import EmbeddedBroker\n"
        "broker = EmbeddedBroker(pathlib.Path(sys.argv[1])); broker.start()\n"
        "print(broker.port, flush=True); broker.wait()\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / "state")], stdout=subprocess.PIPE, text=True
    )
    with parent:
        port = int(parent.stdout.readline())
        assert accepts_clients("127.0.0.1", port)
        parent.kill()
    deadline = time.monotonic() + 10
    while accepts_clients("127.0.0.1", port):
        assert time.monotonic() < deadline, "nats-server outlived its parent"


def test_a_port_in_use_is_named(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(TransportError, match=rf"127\.0\.0\.1:{port}: Address already in use"):
            EmbeddedBroker(tmp_path, port=port).start()


def test_a_state_folder_has_one_broker(tmp_path):
    with (
        EmbeddedBroker(tmp_path),
        pytest.raises(ConfigError, match="another broker uses it"),
    ):
        EmbeddedBroker(tmp_path).start()


def test_a_missing_server_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(broker_module.shutil, "which", lambda *args, **kwargs: None)
    with pytest.raises(ConfigError, match=re.escape("pip install 'fedtiny[broker]'")):
        EmbeddedBroker(tmp_path).start()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_run_broker_says_where_and_ends_cleanly(tmp_path, how):
    program = (
        "import pathlib, sys; from fedtiny.broker import run_broker\n"
        "run_broker('0.0.0.0', 0, pathlib.Path(sys.argv[1]))\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        port = int(re.search(r"mqtt://0\.0\.0\.0:(\d+)", process.stdout.readline())[1])
        process.send_signal(how)
        _, errors = process.communicate(timeout=10)
    assert process.returncode == 0
    assert errors.splitlines() == ["warning: 0.0.0.0 is open to the network, without authentication or TLS"]
    assert not accepts_clients("127.0.0.1", port)
