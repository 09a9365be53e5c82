"""A real coordinator and a real broker; devices that this test plays."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding

from fedtiny.config import Config
from fedtiny.federation.updates import pack_delta, pack_statistics
from fedtiny.ledger import Ledger
from fedtiny.letterbox import MOST
from fedtiny.model.artifact import Release, sealed
from fedtiny.model.head import Statistics, solve, statistics
from fedtiny.protocol import codec, signing, topics
from fedtiny.protocol.messages import Base, DeviceStatus, UpdateMessage
from fedtiny.provisioning.fleet import add_device, init_fleet
from fedtiny.tell import roll_back
from fedtiny.transport import Connection, Received

FLEET = "plant"
pytestmark = [pytest.mark.slow, pytest.mark.parametrize("broker_process", ["embedded"], indirect=True)]


class Devices:
    """Devices that say where they are and send what they are told to."""

    def __init__(self, connection, release):
        self.connection, self.release = connection, release
        self.shape = release.head.weights.shape

    def say(self, *devices, revision=0, **status):
        base = Base(release_id=status.pop("release_id", self.release.id), revision=revision)
        for device in devices:
            message = DeviceStatus(device=device, state="online", phase="watching", base=base, **status)
            topic = topics.device_topic(FLEET, device, "status")
            self.connection.publish(topic, codec.encode(message), retain=True)

    def send(self, device, opened, payload=None, key=None, **changes):
        payload = pack_delta(np.full(self.shape, 0.01, np.float32)) if payload is None else payload
        fields = {
            "device": device,
            "round_number": opened.round_number,
            "base": opened.base,
            "kind": opened.kind,
            "num_examples": 10,
            "payload": payload,
            "output_min": -1.0,
            "output_max": 1.0,
            "loss_before": 1.0,
            "loss_after": 0.5,
        } | changes
        topic, body = topics.update_topic(FLEET, device, 1), codec.encode(UpdateMessage(**fields))
        self.connection.publish(topic, body if key is None else signing.sign(topic, body, key, "cbor"))


@pytest.fixture
def devices(watcher, release):
    return Devices(watcher.connection, release)


@pytest.fixture
def order(tmp_path):
    """Run an operator's command on the coordinator's ledger; its JSON lines."""

    def run(*arguments):
        command = [sys.executable, "-m", "fedtiny.cli", *map(str, arguments), "--json"]
        done = subprocess.run([*command, "--state", tmp_path / "coordinator"], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    return run


def closed(watcher, number):
    return watcher.until(
        lambda t, m: t.kind == "round" and m.round_number == number and m.state == "closed",
        f"the end of round {number}",
    )


def fates(tmp_path, device):
    ledger = Ledger(tmp_path / "coordinator", guest=True)
    try:
        return [(row.fate, row.reason) for row in ledger.updates_of(device, 100)]
    finally:
        ledger.close()


def test_a_buffer_takes_late_updates_for_less_and_says_what_is_too_old(watcher, coordinator, devices, tmp_path):
    (tmp_path / "b.toml").write_text('[coordinator]\nmode = "buffered"\nquorum = 2\nrounds = 0\nmax_staleness = 1\n')
    coordinator("--config", tmp_path / "b.toml")
    first = watcher.open_round(1)
    one = pack_delta(np.full(devices.shape, 1.0, np.float32))
    start = devices.release.head.weights
    for device in "ab":
        devices.send(device, first, one)
    assert np.allclose(watcher_weights(watcher, 1, start.shape) - start, 1.0, atol=1e-6)
    before = watcher_weights(watcher, 1, start.shape)
    for device in "cd":  # to the revision before: each counts for 1/sqrt(2)
        devices.send(device, first, one)
    assert np.allclose(watcher_weights(watcher, 2, start.shape) - before, 0.5**0.5, atol=1e-6)
    devices.send("e", first, one)
    devices.send("f", first, one, base=Base(release_id=devices.release.id, revision=2))
    devices.send("g", first, one, base=Base(release_id=devices.release.id, revision=2))
    watcher.head(3)
    ((fate, reason),) = fates(tmp_path, "e")
    assert (fate, reason.split(":")[0]) == ("refused", "stale")


def watcher_weights(watcher, revision, shape):
    message = watcher.until(lambda t, m: t.kind == "head" and m.revision == revision, f"revision {revision}")
    return np.frombuffer(message.weights, "<f4").reshape(shape)


def test_only_the_invited_are_asked_and_rounds_wait_for_new_data(watcher, coordinator, devices, tmp_path):
    (tmp_path / "i.toml").write_text(
        "[coordinator]\ninvite = 2\nquorum = 2\nrounds = 1\nnew_windows = 50\ndevices = 4\n"
    )
    coordinator("--config", tmp_path / "i.toml")
    devices.say(*"abcd")
    opened = watcher.open_round(1)
    assert len(opened.invited) == 2
    outsider = min(set("abcd") - set(opened.invited))
    for device in (outsider, *opened.invited):
        devices.send(device, opened)
    watcher.head(1)
    assert closed(watcher, 1).answered == opened.invited
    assert fates(tmp_path, outsider)[0][0] == "refused"
    devices.say(*"abcd", revision=1, fresh=12)
    devices.say("a", revision=1, fresh=14)
    assert watcher.open_round(2).base.revision == 1


def test_an_operator_rolls_the_head_back_pins_it_and_lets_go(watcher, coordinator, devices, order):
    coordinator("--rounds", 0, "--quorum", 1)
    devices.say("a")
    devices.send("a", watcher.open_round(1))
    original = watcher.until(lambda t, m: t.kind == "head" and m.revision == 0, "revision 0")
    watcher.head(1)
    (receipt,) = order("head", "rollback", 0)
    assert receipt["state"] == "done"
    back = watcher.head(2)
    assert (back.restores, back.weights, back.serial) == (0, original.weights, original.serial + 2)
    devices.say("a", revision=2)
    again = watcher.until(lambda t, m: t.kind == "round" and m.state == "open" and m.base.revision == 2, "a round at 2")
    order("head", "pin")
    watcher.until(
        lambda t, m: t.kind == "round" and m.state == "closed" and m.round_number == again.round_number, "end"
    )
    status = watcher.until(lambda t, m: t.kind == "status" and t.device is None and m.pinned == 2, "the pin")
    assert status.revision == 2
    order("head", "unpin")
    watcher.until(lambda t, m: t.kind == "round" and m.round_number > again.round_number, "the next round")
    assert [row["restores"] for row in order("head", "list")] == [0, None, None]


def test_an_operator_rolls_the_head_back_from_afar_and_sees_what_came_of_it(watcher, coordinator, devices, tmp_path):
    coordinator("--rounds", 0, "--quorum", 1)
    devices.say("a")
    devices.send("a", watcher.open_round(1))
    watcher.head(1)
    watcher.until(lambda t, m: t.kind == "release", "the release")
    watcher.seen.clear()
    sent = []
    for revision in (9, *(k % 2 for k in range(MOST + 4))):  # at once
        command = roll_back(Config(fleet=FLEET), Base(release_id=devices.release.id, revision=revision))
        watcher.connection.publish(command.topic, command.payload)
        sent.append(command.id)
    status = watcher.until(
        lambda t, m: t.kind == "status" and t.device is None and len(m.orders) == len(sent), "what became of all"
    )
    told = {one.command: one for one in status.orders}
    missing, first, *others = (told[command] for command in sent)
    assert (missing.ok, missing.order) == (False, "roll back head")
    assert "has no revision 9" in missing.outcome
    assert first.outcome.startswith("revision 2 brings revision 0 back")
    assert {one.outcome for one in others if not one.ok} == {
        f"{MOST} commands wait or were carried out within a minute; give it again later"
    }
    assert watcher.head(2 + sum(one.ok for one in others)).restores in (0, 1)
    assert sum(one.ok for one in told.values()) <= MOST
    assert not any(t.kind == "release" for t, _ in watcher.seen)


def test_an_operator_publishes_another_release_and_rolls_it_back(
    watcher, coordinator, devices, order, release_path, tmp_path
):
    process = coordinator("--rounds", 0)
    devices.say("a")
    devices.send("a", watcher.open_round(1))
    head = watcher.head(1)
    other = tmp_path / "other.tflite"
    rate = b'"sample_rate_hz":12800.0'
    assert devices.release.data.count(rate) == 1
    other.write_bytes(sealed(devices.release.data.replace(rate, b'"sample_rate_hz":12801.0')))
    order("release", "publish", other)
    first, second = devices.release.id, Release.open(other).id
    seen = watcher.until(lambda t, m: t.kind == "release" and m.release_id == second, "the other release")
    order("release", "rollback")
    again = watcher.until(
        lambda t, m: t.kind == "release" and m.release_id == first and m.serial > seen.serial, "the first release"
    )
    back = watcher.until(
        lambda t, m: t.kind == "head" and m.release_id == first and m.serial > again.serial, "its head"
    )
    assert (back.revision, back.restores, back.weights) == (2, 1, head.weights)
    process.terminate()
    process.wait()
    watcher.seen.clear()
    coordinator("--rounds", 0)  # started with the first again, which is the current one
    assert watcher.until(lambda t, m: t.kind == "release", "the release").serial == again.serial


def test_what_ridge_has_of_a_device_is_replaced_and_forgotten_exactly(
    watcher, coordinator, devices, order, rng, tmp_path
):
    (tmp_path / "r.toml").write_text('[coordinator]\nstrategy = "ridge"\nmode = "buffered"\nquorum = 1\nrounds = 0\n')
    coordinator("--config", tmp_path / "r.toml")
    outputs, columns = devices.shape
    opened = watcher.open_round(1)

    def local(seed):
        chance = np.random.default_rng(seed)
        return statistics(
            chance.standard_normal((40, columns - 1), np.float32), chance.standard_normal((40, outputs), np.float32)
        )

    sent = [("a", local(1)), ("b", local(2)), ("a", local(3)), ("c", local(4))]
    for revision, (device, data) in enumerate(sent, 1):
        devices.send(device, opened, pack_statistics(data), num_examples=data.count)
        watcher.head(revision)
    total = [data for device, data in (sent[2], sent[1], sent[3])]
    assert np.allclose(watcher_weights(watcher, 4, devices.shape), solved(total, devices.release), atol=1e-5)
    order("fleet", "forget", "c")
    forgotten = watcher_weights(watcher, 5, devices.shape)
    assert np.allclose(forgotten, solved(total[:2], devices.release), atol=1e-5)
    assert np.array_equal(forgotten, watcher_weights(watcher, 3, devices.shape))  # as if it had never been


def solved(parts, release):
    total = Statistics(sum(p.gram for p in parts), sum(p.cross for p in parts), sum(p.count for p in parts))
    return solve(total, release.head.weights, 0.01)


def test_a_device_that_keeps_sending_bad_updates_is_quarantined_and_a_blocked_one_refused(
    watcher, coordinator, devices, order, tmp_path
):
    (tmp_path / "q.toml").write_text("[coordinator]\nquorum = 6\nrounds = 0\nstrikes = 2\n")
    coordinator("--config", tmp_path / "q.toml")
    watcher.until(lambda t, m: t.kind == "status" and t.device is None and m.state == "online", "the coordinator")
    order("fleet", "block", "g", "--reason", "fell off")
    honest = [pack_delta(np.full(devices.shape, 0.01 * k, np.float32)) for k in (1, 1.1, 0.9, 1.05, 0.95)]
    bad = pack_delta(np.full(devices.shape, 50.0, np.float32))
    for number in (1, 2):
        devices.say(*"abcdefg", revision=number - 1)
        opened = watcher.open_round(number)
        for device, payload in zip("abcdefg", [*honest, bad, bad], strict=True):
            devices.send(device, opened, payload)
        end = closed(watcher, number)
        assert (end.updates, end.left_out) == (6, 1)
        assert set(end.answered) == set("abcdef")
    rows = {row["device"]: row for row in order("fleet", "list")}
    assert (rows["f"]["standing"], rows["f"]["counts"]["left out"]) == ("quarantined", 2)
    assert "norm" in rows["f"]["reason"]
    assert (rows["g"]["standing"], rows["g"]["reason"]) == ("blocked", "fell off")
    assert rows["a"]["counts"] == {"used": 2}
    order("fleet", "unblock", "f")
    assert {row["device"]: row["standing"] for row in order("fleet", "list")}["f"] == "active"


def test_a_signed_fleet_takes_no_unsigned_update_and_signs_what_it_publishes(
    broker, watcher, coordinator, devices, tmp_path
):
    init_fleet(tmp_path / "fleet", FLEET, "localhost")
    home, own = tmp_path / "fleet" / "coordinator", add_device(tmp_path / "fleet", "a")
    (tmp_path / "s.toml").write_text(
        f'[trust]\nkey = "{home / "key.pem"}"\ndevices = "{home / "devices-ca.pem"}"\n'
        "[coordinator]\nrounds = 1\ndeadline_s = 3\n"
    )
    listener = Connection(broker, "test-listener", subscriptions=[(f"fedtiny/v1/{FLEET}/global/#", 1)])
    listener.start()
    coordinator("--config", tmp_path / "s.toml")
    devices.say("a", "b")
    opened = watcher.open_round(1)
    assert opened.signed
    devices.send("b", opened)
    certificate = signing.load_certificate(own / "certificate.pem").public_bytes(Encoding.DER)
    key = signing.load_key(own / "key.pem")
    devices.send("b", opened, certificate=certificate, key=key)  # as if it were a
    devices.send("a", opened, certificate=certificate, key=key)
    assert watcher.head(1).devices == 1
    assert [(fate, why.split(":")[0]) for fate, why in fates(tmp_path, "b")] == [("refused", "signature")] * 2
    public, kinds = signing.public_key(signing.load_key(home / "key.pem")), set()
    while kinds < {"release", "head", "round"}:
        event = listener.next_event(10)
        if isinstance(event, Received) and not event.topic.endswith("status"):
            signing.verify(event.topic, event.payload, [public])
            kinds.add(event.topic.rsplit("/", 1)[-1])
    listener.stop()


def test_a_signed_fleet_goes_on_above_all_that_it_has_seen_when_the_ledger_is_lost(
    watcher, coordinator, devices, order, tmp_path
):
    init_fleet(tmp_path / "fleet", FLEET, "localhost")
    (tmp_path / "s.toml").write_text(f'[trust]\nkey = "{tmp_path / "fleet" / "coordinator" / "key.pem"}"\n')
    arguments = ("--config", tmp_path / "s.toml", "--rounds", 0, "--deadline", 2)
    process = coordinator(*arguments)
    for number in (1, 2):
        devices.say("a", revision=number - 1)
        devices.send("a", watcher.open_round(number))
        watcher.head(number)
    order("head", "rollback", 1)
    last = watcher.head(3)
    process.terminate()
    process.wait()
    shutil.rmtree(tmp_path / "coordinator")
    watcher.seen.clear()
    coordinator(*arguments)
    head = watcher.until(lambda t, m: t.kind == "head" and m.revision == 4, "the fleet's head, above all that was")
    assert (head.weights, head.restores) == (last.weights, 3)
    assert head.serial > last.serial
    devices.say("a", revision=4)
    opened = watcher.until(lambda t, m: t.kind == "round" and m.state == "open" and m.base.revision == 4, "a round")
    assert (opened.serial, opened.round_number) > (last.serial, 2)
    devices.send("a", opened)
    watcher.head(5)


def test_a_coordinator_whose_key_nobody_follows_says_so(broker, start, release_path, tmp_path):
    stranger = signing.public_key(Ed25519PrivateKey.generate())
    init_fleet(tmp_path / "fleet", FLEET, "localhost")
    key = tmp_path / "fleet" / "coordinator" / "key.pem"
    (tmp_path / "s.toml").write_text(f'[trust]\nkey = "{key}"\ncoordinator = ["{stranger}"]\n')
    arguments = ("--release", release_path, "--config", tmp_path / "s.toml", "--state", tmp_path / "c")
    process = start("coordinator", *arguments)
    assert process.wait(30) == 1
    assert "no device would follow" in (tmp_path / "log").read_text()


def test_a_coordinator_behind_its_devices_goes_on_above_them_when_nobody_has_kept_their_head(
    watcher, coordinator, devices
):
    devices.say("a", "b", revision=7)
    devices.say("liar", revision=2**40 - 1)  # which would be the end of all counting
    coordinator("--quorum", 2)
    head = watcher.until(lambda t, m: t.kind == "head" and m.revision == 8, "a head above theirs")
    assert head.restores == 0
    devices.say("a", "b", "liar", revision=8)
    opened = watcher.until(lambda t, m: t.kind == "round" and m.state == "open", "a round")
    for device in ("a", "b", "liar"):
        devices.send(device, opened)
    watcher.head(9)
