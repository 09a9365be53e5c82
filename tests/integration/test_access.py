"""Who can do what at a broker with certificates: Mosquitto and the embedded one, with what fedtiny makes for them.

Under MQTT 3.1.1 a publish that is not let through is acknowledged like any other, so each test looks from the other
side: somebody who sees the topic gets a marker that was sent afterwards, and nothing before it.
"""

import re
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fedtiny import config, tls
from fedtiny.identity import client_id
from fedtiny.ledger import Ledger
from fedtiny.preflight import preflight
from fedtiny.protocol import codec
from fedtiny.protocol.messages import Base, UpdateMessage
from fedtiny.protocol.topics import device_topic, everything_filter, fleet_topic, update_filter
from fedtiny.provisioning.certificates import Authority, certificate_pem, key_pem
from fedtiny.provisioning.fleet import add_device
from fedtiny.provisioning.folder import FleetFolder
from fedtiny.transport import Connected, Disconnected, Received

FLEET = "plant"
HEAD, STATUS = fleet_topic(FLEET, "head"), fleet_topic(FLEET, "status")
EVERYTHING = everything_filter(FLEET)
ORDERS = fleet_topic(FLEET, "command")
COORDINATORS = (
    HEAD,
    ORDERS,
    update_filter(FLEET),
    *(device_topic(FLEET, "+", kind) for kind in ("status", "score", "alarm")),
)
OWN = {"coordinator": STATUS, "operator": device_topic(FLEET, "nobody", "command")}


def update(device: str) -> str:
    return f"fedtiny/v1/{FLEET}/up/0/{device}/update"


def of(device: str, kind: str) -> str:
    return device_topic(FLEET, device, kind)


@pytest.fixture
def until(wait_for):
    """A function: what a connection gets before the payload ``marker``, as (topic, payload); not who is ready."""

    def until(connection, marker):
        before = []
        while (message := wait_for(connection, Received)).payload != marker:
            if not message.payload.startswith(b"ready "):
                before.append((message.topic, message.payload))
        return before

    return until


@pytest.fixture
def join(site, connect, wait_for, until):
    """A function: a connection of a member of the fleet whose subscriptions stand; what was retained is passed over."""

    def join(name, *filters, client_id=None, **options):
        own = OWN.get(name, of(name, "status"))
        connection = connect(site.of(name), client_id or f"test-{name}", *filters, own, **options)
        wait_for(connection, Connected)
        connection.publish(own, b"ready " + name.encode())
        until(connection, b"ready " + name.encode())
        return connection

    return join


@pytest.fixture
def retained(site, connect, until):
    """A function: what is retained for a new connection of ``name`` with these filters."""

    def retained(name, *filters):
        own = OWN.get(name, of(name, "status"))
        connection = connect(site.of(name), f"late-{name}", *filters, own)
        connection.publish(own, b"end of retained")
        return until(connection, b"end of retained")

    return retained


def test_everybody_reaches_what_he_needs(join, until):
    device, other = (join(name, fleet_topic(FLEET, "+"), of(name, "command")) for name in ("pump-07", "pump-08"))
    coordinator = join("coordinator", *COORDINATORS)
    operator = join("operator", EVERYTHING)
    for kind in ("status", "score", "alarm"):
        device.publish(of("pump-07", kind), b"own " + kind.encode(), retain=kind != "score")
        until(operator, b"own " + kind.encode())
    until(coordinator, b"own alarm")
    device.publish(update("pump-07"), b"a delta")
    until(coordinator, b"a delta")
    coordinator.publish(HEAD, b"a head", retain=True)
    for reader in (device, other, operator, coordinator):
        until(reader, b"a head")
    operator.publish(of("pump-07", "command"), b"re-baseline")
    until(device, b"re-baseline")
    operator.publish(ORDERS, b"roll-back")
    until(coordinator, b"roll-back")


def test_a_device_writes_only_what_is_its_own(join, until, retained):
    operator, coordinator = join("operator", EVERYTHING), join("coordinator", *COORDINATORS)
    device = join("pump-07")
    kinds = ("status", "score", "alarm", "command")
    forbidden = [fleet_topic(FLEET, kind) for kind in ("release", "head", "round", "status", "command")]
    forbidden += [of("pump-08", kind) for kind in kinds]
    forbidden += [of("pump-07", "command"), update("pump-08"), "fedtiny/v1/other/global/head", "elsewhere"]
    for qos in (0, 1):
        for topic in forbidden:
            device.publish(topic, b"forged", qos=qos, retain=True)
    device.publish(update("pump-07"), b"end of updates")
    device.publish(of("pump-07", "status"), b"end")
    assert device.drain(10)
    assert until(operator, b"end") == []
    assert [topic for topic, _ in until(coordinator, b"end of updates") if topic != of("pump-07", "status")] == []
    assert retained("operator", EVERYTHING) == []


def test_a_device_reads_nothing_of_others(join, until, retained):
    everything = ("#", "+/#", EVERYTHING, of("pump-07", "command"), of("+", "command"), of("pump-07", "alarm"))
    everything += (of("+", "status"), update_filter(FLEET), update("pump-07"), "$SYS/#", "$MQTT/#", "$MQTT/sub/#")
    everything += ("$JS/#", f"$share/g/{update_filter(FLEET)}", f"$share/g/{of('pump-07', 'command')}")
    spies = [join("pump-08", HEAD, *everything), join("pump-09", HEAD, *((name, 0) for name in everything))]
    device = join("pump-07", of("pump-07", "command"))
    coordinator, operator = join("coordinator", *COORDINATORS), join("operator", EVERYTHING)
    for retain in (False, True):
        device.publish(update("pump-07"), b"a delta", retain=retain)
        until(coordinator, b"a delta")
        device.publish(of("pump-07", "alarm"), b"an alarm", retain=retain)
        until(operator, b"an alarm")
        operator.publish(of("pump-07", "command"), b"a command", retain=retain)
        until(device, b"a command")
    coordinator.publish(HEAD, b"a head")
    for spy in spies:
        assert until(spy, b"a head") == []
    assert retained("pump-10", *everything) == []


def test_staff_keeps_to_its_own_business(join, until, retained):
    device = join("pump-07", of("pump-07", "command"), fleet_topic(FLEET, "+"))
    operator, coordinator = join("operator", EVERYTHING), join("coordinator", *COORDINATORS, EVERYTHING)
    device.publish(update("pump-07"), b"a delta", retain=True)
    until(coordinator, b"a delta")
    coordinator.publish(ORDERS, b"forged order")
    operator.publish(HEAD, b"forged head", retain=True)
    operator.publish(of("pump-07", "status"), b"forged status", retain=True)
    operator.publish(update("pump-07"), b"forged delta")
    operator.publish(of("pump-07", "command"), b"end")
    assert until(device, b"end") == []
    assert not {(update("pump-07"), b"a delta"), (ORDERS, b"forged order")} & set(until(operator, b"end"))
    assert retained("operator", EVERYTHING) == []
    assert (update("pump-07"), b"a delta") in retained("coordinator", update_filter(FLEET))


def identity(site, authority: Authority, name: str, years: float) -> config.Broker:
    """A way to the devices' port with a new certificate of ``authority``."""
    key = Ed25519PrivateKey.generate()
    folder = Path(tempfile.mkdtemp(dir=site.fleet))
    (folder / "key.pem").write_bytes(key_pem(key))
    (folder / "certificate.pem").write_bytes(certificate_pem(authority.issue(name, key.public_key(), "client", years)))
    files = {"certificate": folder / "certificate.pem", "key": folder / "key.pem"}
    return site.of("pump-07").model_copy(update=files)


def stolen(site) -> dict:
    """The files of the one device that was revoked."""
    [folder] = (site.fleet / "revoked").iterdir()
    return {name: folder / f"{name}.pem" for name in ("ca", "certificate", "key")}


def devices_authority(site) -> Authority:
    with FleetFolder.opened(site.fleet) as fleet:
        return fleet.authority("devices")


def of_another_authority(site):
    return identity(site, Authority.create(f"fedtiny {FLEET} devices", 1), "pump-07", 1)


def expired(site):
    return identity(site, devices_authority(site), "pump-07", -0.01)


def revoked(site):
    where = site.of("pump-07")
    site.revoke("pump-07")
    return where.model_copy(update=stolen(site))


def without_a_certificate(site):
    return site.of("pump-07").model_copy(update={"certificate": None, "key": None})


def in_plain_text(site):
    return config.Broker(port=site.of("pump-07").port)


def test_strangers_are_refused(site, connect, wait_for):
    for stranger, words in (
        (of_another_authority, "our certificate"),
        (expired, "our certificate"),
        (without_a_certificate, "wants a certificate of ours"),
        (in_plain_text, "does not answer as an MQTT broker; if it wants TLS"),
        (revoked, "our certificate|not authorized"),
    ):
        where = stranger(site)
        event = wait_for(connect(where, "stranger"), Connected | Disconnected)
        assert isinstance(event, Disconnected), stranger
        assert re.search(rf"broker 127\.0\.0\.1:{where.port} .*({words})", event.reason), (stranger, event.reason)


def test_a_listener_is_for_its_own_authority(site, connect, wait_for):
    """On Mosquitto; the embedded broker has one listener and knows each certificate by itself."""
    device, operator = site.of("pump-07"), site.of("operator")
    if device.port == operator.port:
        where = identity(site, devices_authority(site), "operator", 1)  # a devices' authority that was stolen
        assert "not authorized" in wait_for(connect(where, "forged"), Disconnected).reason
        return
    for own, other in ((device, operator), (operator, device)):
        where = own.model_copy(update={"port": other.port})
        assert "our certificate" in wait_for(connect(where, "stray"), Disconnected).reason


def test_a_revoked_device_is_out_and_a_new_key_lets_it_in_again(site, join, connect, wait_for, until):
    device, other = join("pump-07"), join("pump-08", HEAD)
    where = site.of("pump-07")
    site.revoke("pump-07")
    wait_for(device, Disconnected)
    device.stop(timeout_s=0)
    again = join("pump-07")
    assert again is not device
    assert isinstance(
        wait_for(connect(where.model_copy(update=stolen(site)), "thief"), Connected | Disconnected), Disconnected
    )
    join("coordinator").publish(HEAD, b"a head", retain=True)
    until(other, b"a head")


def will_packet(client_id: str, topic: str, payload: str) -> bytes:
    """An MQTT 3.1.1 CONNECT: clean session, keep-alive 60 s, a retained will with QoS 1."""
    texts = b"".join(len(text).to_bytes(2, "big") + text.encode() for text in (client_id, topic, payload))
    body = b"\x00\x04MQTT\x04\x2e\x00\x3c" + texts
    assert len(body) < 128
    return bytes([0x10, len(body)]) + body


def test_a_will_on_a_topic_of_others_does_nothing(site, join, until):
    operator = join("operator", EVERYTHING)
    where = site.of("pump-07")
    for topic, payload in ((of("pump-08", "status"), "forged"), (STATUS, "forged"), (of("pump-07", "status"), "gone")):
        with (
            socket.create_connection((where.host, where.port), timeout=10) as plain,
            tls.client_context(where).wrap_socket(plain, server_hostname=where.host) as device,
        ):
            device.sendall(will_packet("pump-07", topic, payload))
            assert device.recv(4) == b"\x20\x02\x00\x00"
            device.shutdown(socket.SHUT_RDWR)  # no DISCONNECT: it died
    assert until(operator, b"gone") == []


def test_the_client_id_of_another_gives_nothing_away(site, join, connect, wait_for, until):
    """Even to who knows it. Mosquitto does not mind; at the embedded broker the other has to connect again."""
    command, name = of("pump-07", "command"), f"fedtiny-{FLEET}-pump-07"
    operator = join("operator", EVERYTHING)
    victim = join("pump-07", command, client_id=name, persistent=True)
    thief = connect(site.of("pump-08"), name, command, persistent=True)
    wait_for(thief, Connected)
    if site.kind == "mosquitto":
        operator.publish(command, b"one")
        until(victim, b"one")
    else:
        wait_for(victim, Disconnected)
    victim.stop(timeout_s=0)
    operator.publish(command, b"while it is away")
    until(operator, b"while it is away")
    again = connect(site.of("pump-08"), name, command, persistent=True)
    wait_for(again, Connected)
    for connection in (thief, again):
        connection.stop(timeout_s=0)
        while (event := connection.next_event(0.0)) is not None:
            assert not isinstance(event, Received)
    back = connect(site.of("pump-07"), name, command, persistent=True)
    until(back, b"while it is away")


def id_of(site, name: str) -> str:
    return client_id(config.Config(fleet=FLEET, broker=site.of(name)), name)


def test_a_clean_session_under_the_name_of_another_takes_nothing_from_it(site, join, connect, wait_for, until):
    """By the id of another it would end that one's session, with all that waits in it."""
    sender, operator = join("pump-08"), join("operator", EVERYTHING)
    members = {"coordinator": update_filter(FLEET), "pump-07": of("pump-07", "command")}
    for name, waits_for in members.items():
        join(name, waits_for, client_id=id_of(site, name), persistent=True).stop()
    sender.publish(update("pump-08"), b"waits")
    operator.publish(of("pump-07", "command"), b"waits")
    assert sender.drain(10)
    assert operator.drain(10)
    for thief in ("pump-09", "operator"):
        for name in members:
            wait_for(connect(site.of(thief), f"fedtiny-{FLEET}-{name}"), Connected)
    for name, waits_for in members.items():
        until(connect(site.of(name), id_of(site, name), waits_for, persistent=True), b"waits")


@contextmanager
def coordinator(site, release_path):
    """The real one, killed at the end; its ledger is in ``state``."""
    command = [sys.executable, "-m", "fedtiny.cli", "coordinator", "--release", release_path, "--state", "state"]
    with Path("log").open("a") as log:
        process = subprocess.Popen(
            [*command, "--config", site.fleet / "coordinator" / "fedtiny.toml"], stdout=log, stderr=log
        )
        try:
            yield
        finally:
            process.kill()
            process.wait()


@pytest.mark.slow
def test_nobody_takes_updates_from_a_coordinator_that_is_away(site, join, connect, wait_for, release_path):
    device, operator = join("pump-07"), join("operator", STATUS)
    with coordinator(site, release_path):
        while b'"online"' not in wait_for(operator, Received, 60).payload:
            pass
    message = UpdateMessage(
        device="pump-07",
        round_number=1,
        base=Base(release_id="0" * 64, revision=0),
        kind="delta",
        num_examples=10,
        payload=b"a delta",
        output_min=-1.0,
        output_max=1.0,
        loss_before=1.0,
        loss_after=0.5,
    )
    device.publish(update("pump-07"), codec.encode(message))
    assert device.drain(10)
    for thief in ("pump-08", "operator"):
        wait_for(connect(site.of(thief), f"fedtiny-{FLEET}-coordinator"), Connected)
    deadline = time.monotonic() + 60
    with coordinator(site, release_path), closing(Ledger(Path("state"), guest=True)) as ledger:
        while not ledger.updates_of("pump-07", 1):
            assert time.monotonic() < deadline, Path("log").read_text()
            time.sleep(0.1)


def test_a_check_leaves_what_waits_for_the_agent(site, join, connect, until, tmp_path):
    command, name = of("pump-07", "command"), id_of(site, "pump-07")
    operator = join("operator", EVERYTHING)
    join("pump-07", command, client_id=name, persistent=True).stop()
    operator.publish(command, b"while it is away")
    assert operator.drain(10)
    given = config.load_config(site.fleet / "devices" / "pump-07" / "fedtiny.toml", state=tmp_path / "state")
    assert {one.what: one.fine for one in preflight(given)}["broker"]
    until(connect(site.of("pump-07"), name, command, persistent=True), b"while it is away")


def test_a_big_release_and_a_burst_of_small_messages_arrive_over_tls(join, until):
    """Several messages in a TLS record do not show at the socket; one message in many records comes bit by bit."""
    device, coordinator = join("pump-07", fleet_topic(FLEET, "+")), join("coordinator")
    release = bytes(range(256)) * 31_250
    coordinator.publish(fleet_topic(FLEET, "release"), release, retain=True)
    for number in range(300):
        coordinator.publish(HEAD, b"%d" % number, qos=number % 2)
    received = until(device, b"299")
    assert (fleet_topic(FLEET, "release"), release) in received
    numbers = [int(payload) for topic, payload in received if topic == HEAD]
    assert [n for n in numbers if n % 2] == list(range(1, 299, 2))
    assert [n for n in numbers if n % 2 == 0] == list(range(0, 300, 2))


def test_a_second_fleet_member_is_added_while_the_broker_runs(site, connect, wait_for):
    add_device(site.fleet, "fan-01")
    site.apply()
    wait_for(connect(site.of("fan-01"), "fan"), Connected)
