import os
import re
import signal
import socket
import stat
import subprocess
import sys
import time

import pytest

from fedtiny import broker as broker_module
from fedtiny import config
from fedtiny.broker import EmbeddedBroker, accepts_clients, run_broker
from fedtiny.errors import ConfigError, TransportError
from fedtiny.provisioning.fleet import add_device, init_fleet, revoke
from fedtiny.transport import Connected, Connection, Disconnected, Received


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
        try:
            port = int(re.search(r"mqtt://0\.0\.0\.0:(\d+)", process.stdout.readline())[1])
            process.send_signal(how)
            _, errors = process.communicate(timeout=10)
        finally:
            process.kill()  # of one that has not ended: where SIGINT is ignored, as behind nohup
    assert process.returncode == 0
    assert errors.splitlines() == ["warning: 0.0.0.0 is open to the network, without authentication or TLS"]
    assert not accepts_clients("127.0.0.1", port)


def test_a_running_broker_follows_the_fleet(tmp_path, unused_port, wait_for):
    """Who is added may come in, who is revoked has to go, without a restart; the fleet's port is the broker's."""
    fleet, port = tmp_path / "fleet", unused_port
    init_fleet(fleet, "plant", "127.0.0.1", port=port, staff_port=port)
    program = (
        "import pathlib, sys; from fedtiny.broker import run_broker\n"
        "run_broker('127.0.0.1', None, pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))\n"
    )
    arguments = [sys.executable, "-c", program, str(tmp_path / "state"), str(fleet)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
        assert f"mqtts://127.0.0.1:{port}" in process.stdout.readline()
        where = config.load_config(add_device(fleet, "pump-07") / "fedtiny.toml").broker
        device = Connection(where, "device", subscriptions=[])
        device.start()
        wait_for(device, Connected)
        revoke(fleet, "pump-07")
        wait_for(device, Disconnected)
        device.stop(timeout_s=0)
        process.send_signal(signal.SIGTERM)
    assert process.returncode == 0


def test_who_was_revoked_goes_though_his_rights_could_not_be_written_at_first(tmp_path, unused_port, wait_for):
    fleet = tmp_path / "fleet"
    init_fleet(fleet, "plant", "127.0.0.1", port=unused_port, staff_port=unused_port)
    where = config.load_config(add_device(fleet, "pump-07") / "fedtiny.toml").broker
    with EmbeddedBroker(tmp_path / "state", port=unused_port, fleet_folder=fleet) as broker:
        device = Connection(where, "device", subscriptions=[])
        device.start()
        wait_for(device, Connected)
        revoke(fleet, "pump-07")
        authority = fleet / "broker" / "staff-ca.pem"
        away = authority.rename(tmp_path / "away.pem")
        with pytest.raises(ConfigError, match=r"staff-ca\.pem: No such file"):
            broker.refresh()
        away.rename(authority)
        broker.refresh()
        wait_for(device, Disconnected)
        device.stop(timeout_s=0)


def test_a_fleet_for_mosquitto_is_named(tmp_path):
    init_fleet(tmp_path / "fleet", "plant", "127.0.0.1")
    with pytest.raises(ConfigError, match=r"fleet: made for Mosquitto, with ports 8883 and 8884.* --embedded"):
        run_broker("127.0.0.1", None, tmp_path / "state", tmp_path / "fleet")


def test_with_a_fleet_nothing_else_is_open(tmp_path):
    """Not the server's own protocol, which knows users without passwords, and no file to other users."""
    fleet, state = tmp_path / "fleet", tmp_path / "state"
    init_fleet(fleet, "plant", "127.0.0.1", port=8883, staff_port=8883)
    with EmbeddedBroker(state, fleet_folder=fleet):
        assert stat.S_IMODE((state / "nats-server.conf").stat().st_mode) == 0o600
        text = (state / "nats-server.conf").read_text()
        user = re.search(r'"user": "(SERIALNUMBER=\w+,CN=coordinator)"', text)[1]
        log = (state / "nats-server.log").read_text()
        port = int(re.search(r"Listening for client connections on 127\.0\.0\.1:(\d+)", log)[1])
        with socket.create_connection(("127.0.0.1", port), timeout=10) as client, client.makefile("rwb") as lines:
            assert lines.readline().startswith(b"INFO")
            lines.write(b'CONNECT {"user": "%b", "pass": "", "verbose": true}\r\n' % user.encode())
            lines.flush()
            assert lines.readline() == b"-ERR 'Authorization Violation'\r\n"


def test_a_fleet_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere/broker/fleet\.json: cannot be read"):
        EmbeddedBroker(tmp_path / "state", fleet_folder=tmp_path / "nowhere").start()
