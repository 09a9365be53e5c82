"""Orders that come in over MQTT: whose count, which count twice, how many, what a restart remembers."""

from contextlib import closing
from datetime import datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from fedtiny import letterbox
from fedtiny.clock import utc_now
from fedtiny.config import Config, Trust
from fedtiny.intake import RefusedError
from fedtiny.ledger import Ledger
from fedtiny.ledger.orders import COMMANDS_KEPT
from fedtiny.letterbox import MOST, Letterbox
from fedtiny.orders import Forget, RollbackHead, parse_order
from fedtiny.protocol import codec, topics
from fedtiny.protocol.messages import Base, FleetCommand
from fedtiny.protocol.signing import public_key
from fedtiny.tell import roll_back

TOPIC = topics.fleet_topic("plant", "command")
RELEASE = "ab" * 32
BY_ANYBODY = f'{{"action":"roll-back","release_id":"{RELEASE}","revision":2}}'.encode()


def signed(operator, revision=4):
    return roll_back(operator, Base(release_id=RELEASE, revision=revision))


@pytest.fixture
def ledger(tmp_path):
    with closing(Ledger(tmp_path / "ledger")) as ledger:
        yield ledger


@pytest.fixture
def operator(tmp_path):
    """An operator's configuration."""
    key, path = Ed25519PrivateKey.generate(), tmp_path / "operator.pem"
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    path.chmod(0o600)
    return Config(trust=Trust(operator=(public_key(key),), key=path))


def orders(ledger):
    """Carry out what waits."""
    found = []
    while (row := ledger.next_order()) is not None:
        found.append(parse_order(row.what))
        ledger.finish_order(row.id, ok=True, outcome="", now=utc_now())
    return found


def test_what_an_operator_has_signed_is_ordered_once_even_after_a_restart(ledger, operator):
    command = signed(operator)
    for _ in range(2):
        box = Letterbox(ledger, operator.trust)
        for _ in range(2):
            box.take(command.topic, command.payload, retained=False)
    assert orders(ledger) == [RollbackHead(revision=4, release_id=RELEASE, command=command.id)]


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        (codec.encode(FleetCommand(action="roll-back", release_id=RELEASE, revision=4)), "signature: missing"),
        (b'{"ed25519":"' + b"0" * 128 + b'"}\n{}', "signature: by none of the pinned keys"),
    ],
)
def test_nobody_else_is_obeyed(ledger, operator, payload, words):
    with pytest.raises(RefusedError, match=words):
        Letterbox(ledger, operator.trust).take(TOPIC, payload, retained=False)
    assert orders(ledger) == []


def test_what_would_act_again_and_again_is_refused(ledger, operator):
    command = signed(operator)
    with pytest.raises(RefusedError, match="retained"):
        Letterbox(ledger, operator.trust).take(command.topic, command.payload, retained=True)
    box = Letterbox(ledger, operator.trust)
    for revision in range(65):
        newer = signed(operator, revision)
        box.take(newer.topic, newer.payload, retained=False)
    with pytest.raises(RefusedError, match="replay: a command older than the last 64"):
        box.take(command.topic, command.payload, retained=False)


def test_without_keys_everybody_is_obeyed_and_garbage_is_still_refused(ledger):
    box = Letterbox(ledger, Trust())
    box.take(TOPIC, BY_ANYBODY, retained=False)
    for garbage in (
        b"",
        b"{}",
        BY_ANYBODY.replace(b"2}", b"-2}"),
        b'{"action":"roll-back","revision":2}',
        b"\xff" * 100,
    ):
        with pytest.raises(RefusedError, match="command: "):
            box.take(TOPIC, garbage, retained=False)
    assert orders(ledger) == [RollbackHead(revision=2, release_id=RELEASE, command="")]


def test_a_fleet_with_keys_and_no_operator_obeys_nobody_and_says_so(ledger, operator, caplog):
    box = Letterbox(ledger, Trust(key=operator.trust.key))
    assert "commands over MQTT are refused" in caplog.text
    for payload in (BY_ANYBODY, signed(operator).payload):
        with pytest.raises(RefusedError, match=r"trust\.operator pins no key"):
            box.take(TOPIC, payload, retained=False)
    assert orders(ledger) == []


def test_more_commands_than_a_minute_may_bring_are_refused_over_a_restart_too(ledger, operator, monkeypatch):
    for number in range(MOST + 3):
        command = signed(operator)
        Letterbox(ledger, operator.trust).take(command.topic, command.payload, retained=False)
        if number == MOST // 2:
            orders(ledger)
    assert [row.ok for row in ledger.commands(100)] == [True] * (MOST // 2 + 1) + [False] * 3
    assert "within a minute" in ledger.commands(1)[0].outcome
    orders(ledger)

    def goes(minutes):
        """Whether one more is taken then."""
        then = (datetime.fromisoformat(utc_now()) + timedelta(minutes=minutes)).isoformat()
        monkeypatch.setattr(letterbox, "utc_now", lambda: then)
        command = signed(operator)
        Letterbox(ledger, operator.trust).take(command.topic, command.payload, retained=False)
        return bool(orders(ledger))

    assert not goes(0)
    assert goes(2)
    assert goes(-1000)  # a clock that was ahead and is set back


def test_the_ledger_keeps_the_newest_commands_and_every_order_of_the_cli(ledger):
    box, mine = Letterbox(ledger, Trust()), Forget(device="pump-1").model_dump_json()
    first = ledger.give_order(mine, utc_now())
    ledger.finish_order(first, ok=True, outcome="", now=utc_now())
    with ledger.transaction():
        for _ in range(COMMANDS_KEPT + 50):
            box.take(TOPIC, BY_ANYBODY, retained=False)
    assert ledger.order(first).what == mine
    assert len(ledger.commands(10_000)) == COMMANDS_KEPT
    assert len(orders(ledger)) == MOST  # none that waits is dropped
