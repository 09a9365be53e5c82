"""The agent beside a machine that fails and is mended, over real brokers that go away, and killed for real."""

import hashlib
import resource
import shutil
import signal
import subprocess
import sys
import time
from contextlib import closing
from datetime import UTC, datetime

import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from benchmarks.hardship.kills import DEVICE, LEARN, SAMPLES, run_kills, write_fleet
from fedtiny.config import Config, Trust, load_config
from fedtiny.device import KEY, STORE, Device
from fedtiny.device_store import DeviceStore
from fedtiny.edge import Agent, Run
from fedtiny.errors import ProtocolError
from fedtiny.model.artifact import Release, sealed
from fedtiny.preflight import preflight
from fedtiny.protocol import codec, signing, topics
from fedtiny.protocol.messages import Base, Command, HeadMessage, ReleaseMessage, RoundMessage, UpdateMessage
from fedtiny.signal.simulator import CHANNELS, design_machine
from fedtiny.sources import open_source
from fedtiny.transport import Received

pytestmark = pytest.mark.slow

FLEET, WITHIN_S = "plant", 60
one_broker = pytest.mark.parametrize("broker_process", ["embedded"], indirect=True)


def healthy(count):
    return [0.3] * count


def faulty(count):
    return [1.0] * count


def flat(count):
    return [None] * count


@pytest.fixture
def play(tmp_path):
    """A fleet folder with a machine that goes through the parts, a window a recording."""

    def write(*parts):
        model, rows = design_machine(7), []
        for index, life in enumerate(sum(parts, healthy(LEARN))):
            rows.append(model.snapshot(index, 0.3 if life is None else life, SAMPLES))
            if life is None:
                rows[-1][:, 1] = 0.25
        folder = tmp_path / f"data-{len(rows)}"
        write_fleet(folder, rows)
        return folder

    return write


@pytest.fixture
def fleet(watcher, release):
    """The watcher of a fleet whose release is published, with what these tests ask of it."""
    watcher.release = release
    publish_release(watcher)
    return watcher


def publish_release(watcher):
    message = ReleaseMessage(release_id=watcher.release.id, tflite=watcher.release.data)
    watcher.connection.publish(topics.fleet_topic(FLEET, "release"), codec.encode(message), retain=True)
    assert watcher.connection.drain(WITHIN_S)


def alarms(watcher):
    """All that came, first to last."""
    return [m for t, m in watcher.seen if t.kind == "alarm"]


def wait_alarm(watcher, state, kind="machine"):
    return watcher.until(lambda t, m: t.kind == "alarm" and (m.state, m.kind) == (state, kind), f"{kind} {state}")


def wait_status(watcher, what, found):
    return watcher.status(DEVICE, found, what)


def learned(watcher):
    return wait_status(watcher, "the end of its learning", lambda m: m.phase == "watching")


def at_end(watcher):
    return wait_status(watcher, "the end of the recordings", lambda m: m.source_done)


def end(process, number=signal.SIGTERM):
    process.send_signal(number)
    assert process.wait(WITHIN_S) == 0


def logged(path, text):
    deadline = time.monotonic() + WITHIN_S
    while text not in path.read_text():
        assert time.monotonic() < deadline, path.read_text()
        time.sleep(0.02)


def send(watcher, action, command_id):
    topic = topics.device_topic(FLEET, DEVICE, "command")
    watcher.connection.publish(topic, codec.encode(Command(action=action, id=command_id)))
    assert watcher.connection.drain(WITHIN_S)


def tell(broker, action, *arguments):
    command = [sys.executable, "-m", "fedtiny.cli", "edge", "tell", DEVICE, action, "--fleet", FLEET, *arguments]
    done = subprocess.run([*command, "--port", str(broker.port)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, f"{DEVICE}: {action}, handed to the broker\n"), done.stderr


def stored(folder):
    with closing(DeviceStore(folder / STORE)) as store:
        return store.get(KEY)


def test_an_alarm_of_a_lonely_killed_agent_is_delivered_once_in_order_with_its_time(
    broker_process, fleet, agent, play, tmp_path
):
    data = play(healthy(10), faulty(8), healthy(20))
    first = agent(DEVICE, "--data", data, "--hold-for-revision", 1)  # there is none: it stands still
    learned(fleet)
    end(first)
    broker_process.stop()
    lonely = agent(DEVICE, "--data", data)
    logged(tmp_path / f"{DEVICE}.log", "machine alarm cleared")
    lonely.kill()
    lonely.wait()
    back = datetime.now(UTC)
    broker_process.start()
    publish_release(fleet)  # done when the watcher is connected again
    agent(DEVICE, "--data", data)
    wait_alarm(fleet, "cleared")
    at_end(fleet)
    raised, cleared = {alarm.number: alarm for alarm in alarms(fleet)}.values()
    assert (raised.number, raised.state, cleared.number, cleared.state) == (1, "raised", 2, "cleared")
    assert datetime.fromisoformat(raised.at_utc) <= datetime.fromisoformat(cleared.at_utc) <= back
    assert len(set(alarms(fleet))) == 2, "a number with two contents"
    assert 70 < raised.window < 80 < cleared.window < 100


def test_commands_take_effect_once_and_last(broker, fleet, agent, play, tmp_path):
    data = play(healthy(10), faulty(8))
    process = agent(DEVICE, "--data", data)
    raised = wait_alarm(fleet, "raised")
    tell(broker, "acknowledge")
    seen = wait_alarm(fleet, "acknowledged")
    assert (seen.number, seen.raised_utc, [a.state for a in seen.standing]) == (2, raised.raised_utc, ["acknowledged"])
    end(process)
    assert stored(tmp_path / DEVICE)["alarms"]["standing"]["machine"]["state"] == "acknowledged"

    send(fleet, "re-baseline", "twice")  # while it is away
    send(fleet, "re-baseline", "twice")
    fleet.seen.clear()
    process = agent(DEVICE, "--data", data)
    cleared = wait_alarm(fleet, "cleared")
    assert (cleared.number, cleared.reason, cleared.standing) == (3, "re-baseline", ())
    assert wait_status(fleet, "learning anew", lambda m: m.phase == "learning").learned == 0
    end(process)
    agent(DEVICE, "--data", play(healthy(15), faulty(8)))  # after maintenance
    assert wait_alarm(fleet, "raised").number == 4
    assert (tmp_path / f"{DEVICE}.log").read_text().count("command: re-baseline") == 1


@one_broker
def test_a_sensor_fault_is_no_machine_fault_and_teaches_nothing(fleet, agent, play, tmp_path):
    process = agent(DEVICE, "--data", play(healthy(20), flat(10), healthy(20)))
    raised, cleared = wait_alarm(fleet, "raised", "sensor"), wait_alarm(fleet, "cleared", "sensor")
    assert raised.reason == f"flat: every sample of channel {CHANNELS[1]} is 0.25"
    assert [(a.kind, a.state) for a in raised.standing] == [("sensor", "raised")]
    assert cleared.standing == ()
    status = at_end(fleet)
    assert (status.sensor_faults, status.windows) == (10, LEARN + 50)
    assert {a.kind for a in alarms(fleet)} == {"sensor"}
    end(process)
    state = tmp_path / DEVICE
    device = Device(load_config(None), state, DEVICE)
    device.close()
    # of the last 20 windows, those that cleared the alarm are not trusted either
    assert len(device.watch.detectors["0"].recent.rows()) == 20 + 20 - (cleared.window - LEARN - 30) + 1


@one_broker
def test_heads_are_tried_before_they_are_trusted(fleet, agent, play, release):
    agent(DEVICE, "--data", play(healthy(60)), "--hold-for-revision", 1)
    own = wait_status(fleet, "a head of its own", lambda m: m.head and m.head.use == "personal").head
    assert own.loss_personal < own.loss_global
    worse = np.ones_like(release.head.weights)
    message = HeadMessage(
        release_id=release.id, revision=1, weights=worse.tobytes(), output_min=-9, output_max=9, strategy="fedavg"
    )
    fleet.connection.publish(topics.fleet_topic(FLEET, "head"), codec.encode(message), retain=True)
    kept = wait_status(fleet, "the refusal", lambda m: m.head and m.head.use == "kept")
    assert kept.base.revision == 1
    assert kept.head.loss_global > kept.head.loss_before
    opened = round_message(release, 1, 1)
    announce(fleet, opened, key=None)
    update = fleet.until(lambda t, m: t.kind == "update", "its answer")
    assert update.base == opened.base
    assert update.loss_after < update.loss_before


@one_broker
def test_a_bad_head_that_comes_before_its_release_does_not_spoil_it(watcher, agent, play, release):
    message = HeadMessage(release_id=release.id, revision=1, weights=b"short", output_min=-1, output_max=1)
    watcher.connection.publish(topics.fleet_topic(FLEET, "head"), codec.encode(message), retain=True)
    agent(DEVICE, "--data", play(healthy(10)))
    wait_status(watcher, "its first status", lambda m: m.phase == "waiting")
    watcher.release = release
    publish_release(watcher)
    status = at_end(watcher)
    assert (status.phase, status.base.revision, status.windows) == ("watching", 0, LEARN + 10)
    assert "release" not in status.rejected


def test_two_agents_with_one_id_notice_each_other_and_stay_calm(fleet, start, tmp_path):
    processes = [
        start("edge", "run", "--device", "fan-08", "--state", tmp_path / name, "--speed", 0, log=f"{name}.log")
        for name in ("one", "two")
    ]
    for name in ("one", "two"):
        logged(tmp_path / f"{name}.log", "another agent uses the id 'fan-08'")
    fleet.status("fan-08", lambda m: m.conflict, "the conflict")
    assert all(process.poll() is None for process in processes)
    assert sum(t.kind == "status" for t, _ in fleet.seen) < 40


@one_broker
def test_a_full_disk_stops_neither_scoring_nor_alarms(fleet, agent, play, tmp_path):
    data = play(healthy(10), faulty(8), healthy(20), faulty(8))
    process = agent(DEVICE, "--data", data, "--hold-for-revision", 1)
    base = learned(fleet).base
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (512, resource.RLIM_INFINITY))
    release_hold(fleet, base)
    status = at_end(fleet)
    assert status.rejected["storage"] > 0
    assert status.windows == LEARN + 46
    fleet.until(lambda t, m: t.kind == "alarm" and m.number == 3, "all its alarms")
    assert [a.state for a in alarms(fleet)] == ["raised", "cleared", "raised"]
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    send(fleet, "acknowledge", "now")
    wait_alarm(fleet, "acknowledged")
    end(process)
    saved = stored(tmp_path / DEVICE)
    assert (saved["alarms"]["number"], saved["counters"]["windows"]) == (4, LEARN + 46)


def release_hold(fleet, base):
    """The head that a device has, as revision 1: what it waits for."""
    weights = fleet.release.head.weights
    message = HeadMessage(
        release_id=base.release_id, revision=1, weights=weights.tobytes(), output_min=-9, output_max=9
    )
    fleet.connection.publish(topics.fleet_topic(FLEET, "head"), codec.encode(message), retain=True)


AGES_AGO = """
import fedtiny.clock
fedtiny.clock.utc_now = lambda: "2001-01-01T00:00:00+00:00"
from fedtiny.cli import main
main()
"""


@one_broker
def test_a_clock_that_is_set_back_changes_no_order(broker, fleet, agent, play, tmp_path):
    process = agent(DEVICE, "--data", play(healthy(10), faulty(8)))
    wait_alarm(fleet, "raised")
    end(process)
    where = ["--state", tmp_path / DEVICE, "--data", play(healthy(50)), "--fleet", FLEET, "--port", broker.port]
    command = [sys.executable, "-c", AGES_AGO, "edge", "run", "--device", DEVICE, "--speed", 0, *where]
    with subprocess.Popen(list(map(str, command)), stderr=subprocess.DEVNULL) as process:
        cleared = wait_alarm(fleet, "cleared")
        end(process)
    assert (cleared.number, cleared.at_utc[:4]) == (2, "2001")
    assert cleared.raised_utc == wait_alarm(fleet, "raised").at_utc > cleared.at_utc


@one_broker
def test_evidence_is_bounded_and_can_be_scored_again(fleet, agent, play, release_path, tmp_path):
    settings = tmp_path / "fedtiny.toml"
    settings.write_text("[edge]\nevidence_files = 2\n")
    process = agent(DEVICE, "--config", settings, "--data", play(*[healthy(60), faulty(8)] * 3))
    at_end(fleet)
    fleet.until(lambda t, m: t.kind == "alarm" and m.number == 5, "the third alarm")
    end(process)
    state = tmp_path / DEVICE
    named = [a.evidence for a in alarms(fleet) if a.state == "raised"]
    assert sorted(file.name for file in (state / "evidence").iterdir()) == named[1:]
    command = [sys.executable, "-m", "fedtiny.cli", "edge", "score", state / "evidence" / named[-1], "--json"]
    done = subprocess.run([*command, "--state", state], capture_output=True, text=True, check=True)
    assert done.stdout.count('"anomalous": true') >= 3


@one_broker
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_cleanly_when_asked_to(fleet, agent, play, tmp_path, number):
    process = agent(DEVICE, "--data", play(*[healthy(15), faulty(8)] * 20), "--hold-for-revision", 1)
    base = learned(fleet).base
    release_hold(fleet, base)
    online = wait_status(fleet, "revision 1", lambda m: m.base and m.base.revision == 1)
    end(process, number)
    last = wait_status(fleet, "its goodbye", lambda m: m.state == "offline")
    assert (last.boot_id, last.windows > 0) == (online.boot_id, True)
    with closing(DeviceStore(tmp_path / DEVICE / STORE)) as store:
        saved = store.get(KEY)["alarms"]["number"]
        waiting = [codec.decode(type(a), m.payload).number for m in store.waiting(limit=100) for a in alarms(fleet)[:1]]
    arrived = {a.number for a in alarms(fleet)}
    assert arrived | set(waiting) == set(range(1, saved + 1))


@one_broker
def test_kills_lose_double_and_change_nothing(broker_process, broker, release, tmp_path):
    folder = tmp_path / "kills"
    folder.mkdir()
    found = run_kills(release, folder, broker_process, broker, kills=14, episodes=15)
    assert set(found["wrong"].values()) == {0}, found
    assert found["lives_that_told_of_an_alarm"] > 2
    assert found["alarm_messages"] == 30


@one_broker
def test_a_bad_head_that_comes_while_the_machine_is_learned_is_not_used(fleet, agent, play, release):
    """A device that joins a running fleet meets the newest head before it has a window to try it on."""
    bad = HeadMessage(
        release_id=release.id,
        revision=3,
        weights=(np.random.default_rng(0).normal(size=release.head.weights.shape) * 5).astype("<f4").tobytes(),
        output_min=-50.0,
        output_max=50.0,
    )
    fleet.connection.publish(topics.fleet_topic(FLEET, "head"), codec.encode(bad), retain=True)
    agent("press-01", "--data", play(healthy(10)), "--hold-for-revision", 3)
    status = fleet.status("press-01", lambda m: m.phase == "watching" and m.head is not None, "watching")
    assert (status.head.use, status.head.revision, status.base.revision) == ("kept", 0, 3)


@one_broker
def test_a_retained_command_is_refused(fleet, agent, play):
    """It would be carried out at every connect."""
    topic = topics.device_topic(FLEET, "press-01", "command")
    fleet.connection.publish(topic, codec.encode(Command(action="re-baseline")), retain=True)
    agent("press-01", "--data", play(healthy(20)))
    status = fleet.status("press-01", lambda m: m.source_done, "the end of the source")
    assert status.rejected == {"command": 1}
    assert status.phase == "watching"


# --- trust ---

COORDINATOR, OPERATOR, STRANGER, OWN = (Ed25519PrivateKey.generate() for _ in range(4))


@pytest.fixture
def pinned(tmp_path):
    """The configuration of a device that knows its coordinator and its operator."""
    path = tmp_path / "pinned.toml"
    path.write_text(
        f'[trust]\ncoordinator = ["{signing.public_key(COORDINATOR)}"]\noperator = ["{signing.public_key(OPERATOR)}"]\n'
    )
    return path


@pytest.fixture
def other(release):
    """A release like ``release``, with another id."""
    return Release(sealed(release.data.replace(b'"name":"dense', b'"name":"tense')))


def publish(watcher, topic, message, key, *, retain=True):
    payload = codec.encode(message)
    if key is not None:
        payload = signing.sign(topic, payload, key, message.encoding)
    watcher.connection.publish(topic, payload, retain=retain)
    assert watcher.connection.drain(WITHIN_S)


def announce(watcher, message, key=COORDINATOR):
    kind = {ReleaseMessage: "release", HeadMessage: "head", RoundMessage: "round"}[type(message)]
    publish(watcher, topics.fleet_topic(FLEET, kind), message, key)


def release_message(release, serial):
    return ReleaseMessage(release_id=release.id, serial=serial, tflite=release.data)


def head_message(release, revision, serial, **fields):
    weights = (release.head.weights * (1 + revision / 1000)).tobytes()
    return HeadMessage(
        release_id=release.id,
        revision=revision,
        serial=serial,
        weights=weights,
        output_min=release.head.output_min,
        output_max=release.head.output_max,
        **fields,
    )


def round_message(release, number, revision, **fields):
    given = {"round_number": number, "state": "open", "strategy": "fedavg", "deadline_s": 60, "opened_utc": "now"}
    return RoundMessage(base=Base(release_id=release.id, revision=revision), **given | fields)


def at(watcher, release, revision):
    base = Base(release_id=release.id, revision=revision)
    return wait_status(watcher, f"revision {revision}", lambda m: m.base == base and m.state == "online")


def operator_says(watcher, number, key=OPERATOR):
    command = Command(action="acknowledge", id=str(number), issued_ms=number)
    publish(watcher, topics.device_topic(FLEET, DEVICE, "command"), command, key, retain=False)


def test_a_pinned_agent_believes_its_fleet_alone_and_nothing_of_the_past(
    broker, watcher, agent, play, pinned, release, other, tmp_path
):
    data, log = play(healthy(20)), tmp_path / f"{DEVICE}.log"
    process = agent(DEVICE, "--config", pinned, "--data", data, "--hold-for-revision", 99)
    announce(watcher, release_message(release, 1), key=None)
    logged(log, "refused: 'fedtiny/v1/plant/global/release': signature: missing")
    announce(watcher, release_message(release, 5))
    learned(watcher)
    announce(watcher, head_message(release, 2, 6), STRANGER)
    announce(watcher, head_message(release, 3, 7))
    assert at(watcher, release, 3).rejected == {"signature": 2}
    announce(watcher, round_message(release, 8, 3))
    watcher.until(lambda t, m: t.kind == "update" and m.round_number == 8, "its update")

    past = [head_message(release, 9, 6), release_message(other, 4), round_message(release, 7, 3)]
    for message in past:
        announce(watcher, message)
    operator_says(watcher, 1, STRANGER)
    operator_says(watcher, 2)
    operator_says(watcher, 2)
    told = wait_status(watcher, "its refusals", lambda m: m.rejected == {"signature": 3, "replay": 3})
    assert (told.base.release_id, told.base.revision, told.phase) == (release.id, 3, "watching")
    process.kill()
    process.wait()
    assert log.read_text().count("command: acknowledge") == 1

    operator_says(watcher, 2)  # and what is retained by now is of the past
    watcher.seen.clear()
    agent(DEVICE, "--config", pinned, "--data", data)
    wait_status(watcher, "its next life", lambda m: m.state == "online" and m.boot_id != told.boot_id)
    announce(watcher, head_message(release, 4, 8))
    assert at(watcher, release, 4).rejected == {"replay": 3}
    key = tmp_path / "operator.pem"
    key.write_bytes(OPERATOR.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    key.chmod(0o600)
    (tmp_path / "operator.toml").write_text('[trust]\nkey = "operator.pem"\n')
    tell(broker, "re-baseline", "--config", tmp_path / "operator.toml")
    logged(log, "command: re-baseline")
    assert log.read_text().count("command: acknowledge") == 1
    assert not [m for t, m in watcher.seen if t.kind == "update" and m.round_number == 7]


def test_an_agent_heeds_only_its_own_topics_whatever_a_broker_sends(tmp_path):
    trust = Trust(operator=(signing.public_key(OPERATOR),))
    settings = Config(device="fan-08", fleet=FLEET, state=tmp_path, trust=trust)
    one = Agent(settings, open_source(settings), Run())
    body = codec.encode(Command(action="acknowledge", id="1", issued_ms=1))
    try:
        for fleet, device in ((FLEET, "another"), ("another", "fan-08")):
            topic = topics.device_topic(fleet, device, "command")
            with pytest.raises(ProtocolError, match="not for this device"):
                one._receive(Received(topic, signing.sign(topic, body, OPERATOR, "json"), retained=False, mid=1, qos=1))
    finally:
        one._connection.stop()
        one._device.close()


@one_broker
def test_rolling_back_is_followed_within_one_message(watcher, agent, play, pinned, release, other, tmp_path):
    agent(DEVICE, "--config", pinned, "--data", play(healthy(10)), "--hold-for-revision", 99)
    announce(watcher, release_message(release, 1))
    announce(watcher, head_message(release, 1, 2))
    at(watcher, release, 1)
    announce(watcher, release_message(other, 3))
    at(watcher, other, 0)
    announce(watcher, head_message(other, 1, 4))
    at(watcher, other, 1)
    announce(watcher, head_message(release, 2, 6, restores=1))  # it may come before its release
    announce(watcher, release_message(release, 5))
    at(watcher, release, 2)
    announce(watcher, head_message(release, 3, 7, restores=1))
    at(watcher, release, 3)
    announce(watcher, release_message(release, 8))  # the one at hand: changes nothing but the count
    announce(watcher, release_message(other, 7))
    announce(watcher, head_message(release, 4, 9))
    assert at(watcher, release, 4).rejected == {"replay": 1}
    assert (tmp_path / f"{DEVICE}.log").read_text().count("taken") == 3


def authority():
    """(the CA's certificate, that of the device), both over ``OWN``: which key a certificate is for is what counts."""
    name = [x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, who)]) for who in ("CA", DEVICE)]
    span = datetime(1970, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
    return [
        x509.CertificateBuilder(name[0], one, OWN.public_key(), number, *span).sign(OWN, None)
        for number, one in enumerate(name, 1)
    ]


@one_broker
def test_updates_are_signed_where_the_round_asks_for_it(broker, watcher, connect, agent, play, release, tmp_path):
    ca, certificate = authority()
    (tmp_path / "own.pem").write_bytes(OWN.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    (tmp_path / "own.pem").chmod(0o600)
    (tmp_path / "certificate.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    (tmp_path / "own.toml").write_text('[trust]\nkey = "own.pem"\ncertificate = "certificate.pem"\n')
    taker = connect(broker, "taker", topics.update_filter(FLEET))
    announce(watcher, release_message(release, 0), key=None)
    announce(watcher, round_message(release, 1, 0, signed=True), key=None)
    data, log = play(healthy(10)), tmp_path / f"{DEVICE}.log"
    poor = agent(DEVICE, "--data", data, "--hold-for-revision", 99)
    logged(log, "round 1 asks for signed updates: set trust.key and trust.certificate")
    end(poor)
    agent(DEVICE, "--config", tmp_path / "own.toml", "--data", data, "--hold-for-revision", 99)
    received = taker.next_event(WITHIN_S)
    while not isinstance(received, Received):
        received = taker.next_event(WITHIN_S)
    update = codec.decode(UpdateMessage, received.payload)
    signing.verify_device(received.topic, received.payload, update.certificate, ca)
    logged(log, f"round 1: update {hashlib.sha256(received.payload).hexdigest()[:12]} delivered")
    assert log.read_text().count("asks for signed updates") == 1


@one_broker
def test_in_buffered_mode_a_device_that_is_behind_tells_its_own_base_and_waits_for_the_next_head(
    fleet, agent, play, release
):
    agent(DEVICE, "--data", play(healthy(60)), "--hold-for-revision", 1)
    ready = learned(fleet)
    assert (ready.examples > 0, ready.fresh) == (True, LEARN)
    announce(fleet, round_message(release, 4, 2, mode="buffered", min_examples=ready.examples + 1), key=None)
    for number in (5, 6):
        announce(fleet, round_message(release, number, 2, mode="buffered", max_staleness=2), key=None)
    update = fleet.until(lambda t, m: t.kind == "update", "its first update")
    assert (update.round_number, update.base.revision, update.num_examples) == (5, 0, ready.examples)
    announce(fleet, head_message(release, 1, 0), key=None)
    update = fleet.until(lambda t, m: t.kind == "update" and m.base.revision == 1, "the next")
    assert update.round_number == 6
    assert at(fleet, release, 1).fresh == 0
    status = at_end(fleet)
    assert 0 < status.fresh <= 60
    assert status.examples > ready.examples
    assert len([m for t, m in fleet.seen if t.kind == "update"]) == 2


def test_edge_check_finds_out_what_a_broker_with_certificates_says(site, tmp_path):
    site.of(DEVICE)
    folder = shutil.copytree(site.fleet / "devices" / DEVICE, tmp_path / "device")

    def said():
        config = load_config(folder / "fedtiny.toml", state=tmp_path / "state")
        found = {one.what: one for one in preflight(config)}
        assert found["trust"].text.startswith("1 coordinator pinned, 1 operator pinned, "), found["trust"]
        return found["broker"].fine, found["broker"].text

    fine, text = said()
    assert fine, text
    assert text.endswith("accepts us, encrypted")
    site.revoke(DEVICE)
    fine, text = said()
    assert not fine
    assert "refuse" in text
