"""Orders that come in over MQTT: whose count, which count twice, what a restart remembers."""

from contextlib import closing

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from fedtiny.config import Config, Trust
from fedtiny.intake import RefusedError
from fedtiny.ledger import Ledger
from fedtiny.letterbox import Letterbox
from fedtiny.orders import RollbackHead, parse_order
from fedtiny.protocol import codec, topics
from fedtiny.protocol.messages import FleetCommand
from fedtiny.protocol.signing import public_key
from fedtiny.tell import roll_back

TOPIC = topics.fleet_topic("plant", "command")


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
    found = []
    while (row := ledger.next_order()) is not None:
        found.append(parse_order(row.what))
        ledger.finish_order(row.id, ok=True, outcome="", now="")
    return found


def test_what_an_operator_has_signed_is_ordered_once_even_after_a_restart(ledger, operator):
    command = roll_back(operator, 4)
    for _ in range(2):
        box = Letterbox(ledger, operator.trust)
        for _ in range(2):
            box.take(command.topic, command.payload, retained=False)
    assert orders(ledger) == [RollbackHead(revision=4, command=command.id)]


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        (codec.encode(FleetCommand(action="roll-back", revision=4, id="x")), "signature: missing"),
        (b'{"ed25519":"' + b"0" * 128 + b'"}\n{}', "signature: by none of the pinned keys"),
    ],
)
def test_nobody_else_is_obeyed(ledger, operator, payload, words):
    with pytest.raises(RefusedError, match=words):
        Letterbox(ledger, operator.trust).take(TOPIC, payload, retained=False)
    assert orders(ledger) == []


def test_what_would_act_again_and_again_is_refused(ledger, operator):
    command = roll_back(operator, 4)
    with pytest.raises(RefusedError, match="retained"):
        Letterbox(ledger, operator.trust).take(command.topic, command.payload, retained=True)
    box = Letterbox(ledger, operator.trust)
    for revision in range(65):
        newer = roll_back(operator, revision)
        box.take(newer.topic, newer.payload, retained=False)
    with pytest.raises(RefusedError, match="replay: a command older than the last 64"):
        box.take(command.topic, command.payload, retained=False)


def test_without_keys_everybody_is_obeyed_and_garbage_is_still_refused(ledger):
    box = Letterbox(ledger, Trust())
    box.take(TOPIC, b'{"action":"roll-back","revision":2}', retained=False)
    for garbage in (b"", b"{}", b'{"action":"roll-back","revision":-1}', b'{"action":"publish"}', b"\xff" * 100):
        with pytest.raises(RefusedError, match="command: "):
            box.take(TOPIC, garbage, retained=False)
    assert orders(ledger) == [RollbackHead(revision=2)]
