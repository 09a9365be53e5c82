import socket
import subprocess
import sys
import threading
from contextlib import suppress

import pytest

from fedtiny import config, transport
from fedtiny.errors import TransportError
from fedtiny.transport import Connected, Disconnected, Published, Received

# A client in a process of its own, to be killed: connects, publishes "hello", prints what it gets.
CLIENT = """
import sys
from fedtiny import config
from fedtiny.transport import Connection, Received
port, persistent = int(sys.argv[1]), sys.argv[2] == "persistent"
connection = Connection(config.Broker(port=port), "victim", subscriptions=[("work", 1)],
                        will=("status", b"gone"), persistent=persistent, manual_ack=True)
connection.start()
connection.publish("status", b"hello", retain=True)
while True:
    event = connection.next_event(60)
    if isinstance(event, Received):
        print(event.topic, event.payload.decode(), flush=True)
"""


@pytest.fixture
def victim(broker):
    """A function that starts CLIENT; it is killed at the latest when the test ends."""
    processes = []

    def start(*arguments):
        process = subprocess.Popen(
            [sys.executable, "-c", CLIENT, str(broker.port), *arguments], stdout=subprocess.PIPE, text=True
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        with process:
            process.kill()


def test_qos1_round_trip(broker, connect, subscribe, wait_for):
    receiver = subscribe(broker, "receiver", "up/+/data")
    sender = connect(broker, "sender")
    payload = bytes(range(256)) * 400
    token = sender.publish("up/7/data", payload)
    assert sender.drain(10)
    assert wait_for(sender, Published) == Published(token)
    received = wait_for(receiver, Received)
    assert (received.topic, received.payload, received.qos) == ("up/7/data", payload, 1)
    assert not received.retained
    assert sender.bytes_up == len("up/7/data") + len(payload)
    assert receiver.bytes_down == sender.bytes_up + len("ready/receiver")


def test_retained_message_reaches_who_comes_later(broker, connect, wait_for):
    sender = connect(broker, "sender")
    sender.publish("kept", b"old", retain=True)
    sender.publish("kept", b"new", retain=True)
    sender.stop()
    received = wait_for(connect(broker, "later", "kept"), Received)
    assert (received.payload, received.retained) == (b"new", True)


def test_will_is_published_for_a_killed_client_and_not_for_one_that_stopped(
    broker, connect, subscribe, victim, wait_for
):
    watcher = subscribe(broker, "watcher", "status")
    polite = connect(broker, "polite", will=("status", b"polite is gone"))
    wait_for(polite, Connected)
    polite.stop()
    process = victim("clean")
    assert wait_for(watcher, Received).payload == b"hello"
    process.kill()
    assert wait_for(watcher, Received).payload == b"gone"
    received = wait_for(connect(broker, "later", "status"), Received)
    assert (received.payload, received.retained) == (b"gone", True)


def test_what_is_published_while_the_broker_is_down_arrives(broker_process, connect, subscribe, wait_for):
    where = broker_process.config
    receiver = subscribe(where, "receiver", "data")
    sender = connect(where, "sender")
    wait_for(sender, Connected)
    broker_process.kill()
    assert f"{where.host}:{where.port}: connection lost" in wait_for(sender, Disconnected).reason
    tokens = {sender.publish("data", b"%d" % number, retain=True) for number in range(100)}
    assert not sender.drain(0)
    broker_process.start()
    assert sender.drain(20)
    assert {wait_for(sender, Published).token for _ in tokens} == tokens
    wait_for(receiver, Connected)
    while wait_for(receiver, Received).payload != b"99":
        pass  # it joins again before or after the sender does: then it gets the retained last one


def test_unacknowledged_message_comes_again_after_a_kill(broker, connect, victim, wait_for):
    process = victim("persistent")
    sender = connect(broker, "sender", "status")
    assert wait_for(sender, Received).payload == b"hello"
    sender.publish("work", b"once")
    assert process.stdout.readline() == "work once\n"
    process.kill()
    process.wait()

    heir = connect(broker, "victim", "work", persistent=True, manual_ack=True)
    assert wait_for(heir, Connected).session_present
    again = wait_for(heir, Received)
    assert again.payload == b"once"
    heir.acknowledge(again)
    heir.stop()

    sender.publish("work", b"next")
    last = connect(broker, "victim", "work", persistent=True, manual_ack=True)
    assert wait_for(last, Received).payload == b"next"


def test_who_was_away_gets_the_commands_once_and_the_retained_messages_each_time(broker, connect, wait_for):
    def device():
        filters = ("global/+", 0), "device/7/command"
        return connect(broker, "device", *filters, persistent=True, manual_ack=True)

    def receive(connection, count):
        received = [wait_for(connection, Received) for _ in range(count)]
        for message in received:
            connection.acknowledge(message)
        return sorted((message.payload, message.qos, message.retained) for message in received)

    operator = connect(broker, "operator")
    operator.publish("global/head", b"head 1", retain=True)
    operator.publish("global/round", b"round 1", retain=True)
    assert operator.drain(10)
    first = device()
    assert not wait_for(first, Connected).session_present
    assert receive(first, 2) == [(b"head 1", 0, True), (b"round 1", 0, True)]
    first.stop()

    operator.publish("device/7/command", b"command 1")
    operator.publish("global/head", b"head 2", retain=True)
    operator.publish("device/7/command", b"command 2")
    assert operator.drain(10)
    retained = [(b"head 2", 0, True), (b"round 1", 0, True)]
    second = device()
    assert wait_for(second, Connected).session_present
    assert receive(second, 4) == [(b"command 1", 1, False), (b"command 2", 1, False), *retained]
    second.stop()

    operator.publish("device/7/command", b"command 3")
    assert operator.drain(10)
    third = device()
    assert wait_for(third, Connected).session_present
    assert receive(third, 3) == [(b"command 3", 1, False), *retained]


class Relay:
    """Between a client and the broker: swallows what the broker says while ``deaf``, and cuts the connection."""

    def __init__(self, broker: config.Broker) -> None:
        self.deaf = False
        self._broker, self._server = broker, socket.create_server(("127.0.0.1", 0))
        self.config = config.Broker(port=self._server.getsockname()[1])
        self._pair: list[socket.socket] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            with client, socket.create_connection((self._broker.host, self._broker.port)) as broker:
                self._pair = [client, broker]
                back = threading.Thread(target=self._pump, args=(broker, client))
                back.start()
                self._pump(client, broker)
                self.cut()
                back.join()

    def _pump(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if not (self.deaf and target is self._pair[0]):
                    target.sendall(data)

    def cut(self) -> None:
        for end in self._pair:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self.cut()


@pytest.fixture
def relay(broker):
    relay = Relay(broker)
    yield relay
    relay.close()


def test_lost_acknowledgements_cost_repeats_and_nothing_else(broker, connect, relay, subscribe, wait_for):
    """The broker has taken messages, we do not know: each comes at most once more, in order, before newer ones."""
    receiver = subscribe(broker, "receiver", "data")
    sender = connect(relay.config, "sender")
    wait_for(sender, Connected)
    relay.deaf = True
    in_flight = [sender.publish("data", b"%d" % number) for number in range(30)]  # paho has 20 on their way at most
    received = [int(wait_for(receiver, Received).payload) for _ in range(20)]
    assert received == list(range(20))
    relay.deaf = False
    relay.cut()
    wait_for(sender, Disconnected)
    while_away = [sender.publish("data", b"%d" % number) for number in range(30, 35)]
    tokens = [wait_for(sender, Published).token for _ in range(35)]
    assert tokens == in_flight + while_away
    while received[-1] != 34:
        received.append(int(wait_for(receiver, Received).payload))
    assert received == [*range(20), *range(35)]


def test_unread_messages_pause_reading_and_are_not_lost(broker, connect, subscribe, wait_for, monkeypatch):
    monkeypatch.setattr(transport, "MAX_UNREAD_BYTES", 1 << 20)
    receiver = subscribe(broker, "receiver", "data")
    sender = connect(broker, "sender")
    for number in range(400):
        sender.publish("data", number.to_bytes(2, "big") * 5000)
    assert sender.drain(20)
    received = [wait_for(receiver, Received) for _ in range(400)]
    assert [int.from_bytes(message.payload[:2], "big") for message in received] == list(range(400))


def test_wrong_port_is_named_and_tried_again(connect, wait_for):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    connection = connect(config.Broker(port=port), "lost")
    reason = wait_for(connection, Disconnected).reason
    assert reason == f"broker 127.0.0.1:{port} cannot be reached: Connection refused"
    with socket.create_server(("127.0.0.1", port)) as server:
        server.settimeout(10)
        server.accept()[0].close()
        assert "does not answer as an MQTT broker" in wait_for(connection, Disconnected).reason


def test_publishing_offline_is_bounded(connect, monkeypatch):
    monkeypatch.setattr(transport, "MAX_OUTSTANDING_BYTES", 100_000)
    connection = connect(config.Broker(port=1), "offline")
    connection.publish("data", bytes(60_000))
    connection.publish("data", bytes(60_000), qos=0)  # dropped, and costs nothing
    with pytest.raises(TransportError, match=r"127\.0\.0\.1:1: .* exceed the limit of 100000"):
        connection.publish("data", bytes(60_000))


@pytest.fixture
def scripted():
    """A function that serves one client after another with the bytes given, each after something came in."""
    servers = []

    def serve(*conversations):
        server = socket.create_server(("127.0.0.1", 0))
        servers.append(server)

        def run():
            for answers in conversations:
                client, _ = server.accept()
                with client:
                    for answer in answers:
                        client.recv(4096)
                        client.sendall(answer)
                    while client.recv(4096):
                        pass

        threading.Thread(target=run, daemon=True).start()
        return config.Broker(port=server.getsockname()[1])

    yield serve
    for server in servers:
        server.close()


def test_bad_credentials_are_a_clear_reason(connect, scripted, wait_for):
    where = scripted([b"\x20\x02\x00\x05"])
    reason = wait_for(connect(where, "stranger"), Disconnected).reason
    assert reason == f"broker 127.0.0.1:{where.port} refused the connection: not authorized"


def test_a_message_that_cannot_be_converted_kills_nothing(connect, scripted, wait_for):
    not_utf8, fine = b"\x30\x05\x00\x02\xff\xfex", b"\x30\x04\x00\x01ay"
    where = scripted([b"\x20\x02\x00\x00", b"\x90\x03\x00\x01\x00" + not_utf8 + fine])
    connection = connect(where, "robust", "#")
    received = wait_for(connection, Received)
    assert (received.topic, received.payload, connection.faults) == ("a", b"y", 1)


def test_a_broken_packet_costs_the_connection_not_the_thread(connect, scripted, wait_for):
    short_connack = b"\x20\x01\x00"
    where = scripted([short_connack], [b"\x20\x02\x00\x00"])
    connection = connect(where, "robust")
    assert f"broker 127.0.0.1:{where.port}" in wait_for(connection, Disconnected).reason
    wait_for(connection, Connected)
