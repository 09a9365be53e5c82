import json

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fedtiny.config import Config, Trust
from fedtiny.device import KEY, STORE, Device
from fedtiny.device_store import DeviceStore
from fedtiny.errors import ProtocolError
from fedtiny.guard import COMMANDS, Guard
from fedtiny.protocol import codec, topics
from fedtiny.protocol.messages import Command
from fedtiny.protocol.signing import public_key, sign

COORDINATOR, OPERATOR, NEXT = (Ed25519PrivateKey.generate() for _ in range(3))
PINNED = Trust(coordinator=(public_key(COORDINATOR),), operator=(public_key(OPERATOR),))
TOPIC = topics.device_topic("plant", "pump-1", "command")


def again(guard: Guard, trust: Trust = PINNED) -> Guard:
    """The next life."""
    return Guard(trust, json.loads(json.dumps(guard.saved())))


def command(number: int) -> Command:
    return Command(action="acknowledge", id=str(number), issued_ms=1000 + number)


def test_each_kind_of_message_has_its_signers():
    body = codec.encode(command(1))
    guard = Guard(PINNED, {})
    assert guard.body("command", TOPIC, sign(TOPIC, body, OPERATOR, "json")) == body
    for kind in ("release", "head", "round"):
        assert guard.body(kind, TOPIC, sign(TOPIC, body, COORDINATOR, "json")) == body
        with pytest.raises(ProtocolError, match="signature"):
            guard.body(kind, TOPIC, sign(TOPIC, body, OPERATOR, "json"))
    with pytest.raises(ProtocolError, match="signature"):
        guard.body("command", TOPIC, sign(TOPIC, body, COORDINATOR, "json"))
    assert guard.body("status", TOPIC, body) == body  # of this device, and of nobody else by the broker's rules


def test_what_is_older_than_seen_is_refused_in_every_life_and_the_same_comes_again():
    guard = Guard(PINNED, {})
    guard.see("head", 7)
    assert guard.unsaved
    for one in (guard, again(guard)):
        one.see("head", 7)
        one.see("release", 5)
        with pytest.raises(ProtocolError, match="replay: head 6, 7 has been seen"):
            one.see("head", 6)
        one.see("head", 8)


NEXT_ALONE = Trust(coordinator=(public_key(NEXT),))


def test_while_one_key_replaces_another_what_the_first_has_signed_still_counts():
    guard = Guard(PINNED, {})
    guard.see("release", 500)
    for trust in (Trust(coordinator=PINNED.coordinator + NEXT_ALONE.coordinator), NEXT_ALONE):
        guard = again(guard, trust)
        with pytest.raises(ProtocolError, match="replay"):
            guard.see("release", 499)
    guard.see("release", 501)


def test_rounds_come_in_the_order_of_their_heads_and_then_of_their_numbers():
    guard = Guard(PINNED, {})
    guard.see("round", 7, 900)
    guard = again(guard)
    guard.see("round", 8, 1)  # a ledger that begins anew counts its rounds anew, above the serials of the old one
    guard.see("round", 8, 2)
    for serial, number in ((8, 1), (7, 901)):
        with pytest.raises(ProtocolError, match="replay: round"):
            guard.see("round", serial, number)


def test_a_coordinator_set_up_anew_with_a_key_of_its_own_counts_from_the_beginning():
    guard = Guard(PINNED, {})
    guard.see("release", 500)
    again(guard, NEXT_ALONE).see("release", 1)


def test_without_pinned_keys_all_is_believed_and_numbers_count_for_nothing():
    guard = Guard(Trust(), {})
    assert guard.body("head", TOPIC, b"anything") == b"anything"
    guard.see("head", 2**53)
    guard.see("head", 1)
    again(guard).see("head", 1)  # what anybody could say then does not count once keys are pinned
    for number in range(COMMANDS + 2):
        guard.done(Command(action="acknowledge", id=str(number), issued_ms=2**53))
    assert not guard.has_done(command(0))
    assert guard.has_done(command(COMMANDS))
    assert not guard.has_done(Command(action="acknowledge"))
    assert not again(guard).has_done(command(1000))


def test_a_command_is_done_once_and_one_of_the_past_is_refused():
    guard = Guard(PINNED, {})
    numbers = [*range(30, 80), *range(100, 130)]  # 80 of them, 64 are remembered
    for number in [*numbers[::2], *numbers[1::2]]:  # of operators whose clocks differ
        if number == 110:
            guard = again(guard)
        assert not guard.has_done(command(number))
        guard.done(command(number))
        assert guard.has_done(command(number))
    for number in numbers:
        if number >= numbers[-COMMANDS]:
            assert guard.has_done(command(number))
        else:
            with pytest.raises(ProtocolError, match="replay: a command older than"):
                guard.has_done(command(number))
    assert not guard.has_done(command(90))


def test_a_signed_command_needs_an_id():
    with pytest.raises(ProtocolError, match="replay: a command without an id"):
        Guard(PINNED, {}).has_done(Command(action="re-baseline", issued_ms=5))


def test_a_store_from_before_there_were_signatures(tmp_path):
    store = DeviceStore(tmp_path / STORE)
    store.put(KEY, {"release_id": "", "commands": ["1", "2"], "counters": {"windows": 5}})
    store.close()
    device = Device(Config(trust=PINNED), tmp_path, "pump-1")
    assert device.guard.has_done(command(2))
    assert not device.guard.has_done(command(3))
    assert (device.counters.windows, device.counters.fresh) == (5, 0)
    device.close()
