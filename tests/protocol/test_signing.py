import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from fedtiny.errors import ConfigError, ProtocolError
from fedtiny.protocol import codec, topics
from fedtiny.protocol.messages import Base, Command, HeadMessage, Message, RoundMessage, UpdateMessage
from fedtiny.protocol.signing import load_certificate, load_key, public_key, sign, verify, verify_device

KEY, OTHER = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
PINNED = [public_key(KEY)]
BASE = Base(release_id="a1" * 32, revision=3)
SIGNED: list[tuple[str, Message]] = [
    (
        topics.fleet_topic("plant", "head"),
        HeadMessage(release_id=BASE.release_id, revision=4, weights=bytes(90), output_min=-1, output_max=1),
    ),
    (
        topics.fleet_topic("plant", "round"),
        RoundMessage(round_number=2, state="open", base=BASE, strategy="krum", deadline_s=9, opened_utc=""),
    ),
    (topics.device_topic("plant", "pump-1", "command"), Command(action="acknowledge", id="1", issued_ms=7)),
]
EACH = pytest.mark.parametrize(("topic", "message"), SIGNED, ids=lambda value: type(value).__name__)


def signed(topic: str, message: Message, key: Ed25519PrivateKey = KEY) -> bytes:
    return sign(topic, codec.encode(message), key, message.encoding)


@EACH
def test_a_signed_message_is_its_body_behind_a_prefix_that_other_readers_skip(topic, message):
    payload, body = signed(topic, message), codec.encode(message)
    assert verify(topic, payload, PINNED) == body
    assert payload.endswith(body)
    for came in (payload, body):
        assert codec.decode(type(message), came) == message


@EACH
def test_a_message_has_one_signed_form(topic, message):
    body = codec.encode(message)
    another = sign(topic, body, KEY, "json" if message.encoding == "cbor" else "cbor")
    with pytest.raises(ProtocolError, match="signature: missing"):
        verify(topic, another, PINNED)
    with pytest.raises(ProtocolError):
        codec.decode(type(message), another)


@given(which=st.sampled_from(SIGNED), data=st.data())
def test_a_change_of_any_byte_is_refused(which, data):
    topic, message = which
    payload = bytearray(signed(topic, message))
    payload[data.draw(st.integers(0, len(payload) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(ProtocolError, match="signature"):
        verify(topic, bytes(payload), PINNED)


@given(which=st.sampled_from(SIGNED), data=st.data())
def test_a_message_is_good_on_its_own_topic_alone(which, data):
    topic, message = which
    there = data.draw(st.sampled_from([t for t, _ in SIGNED] + [t.replace("plant", "farm") for t, _ in SIGNED]))
    if there != topic:
        with pytest.raises(ProtocolError, match=r"signature: (by none of the pinned keys|missing)"):
            verify(there, signed(topic, message), PINNED)


@given(st.sampled_from(SIGNED), st.integers(0, 200), st.binary(max_size=80))
def test_what_is_cut_short_or_grows_is_refused(which, cut, more):
    topic, message = which
    payload = signed(topic, message)
    for other in (payload[: -1 - cut], payload + more + b"\0"):
        with pytest.raises(ProtocolError, match="signature"):
            verify(topic, other, PINNED)


@EACH
def test_unsigned_and_signed_by_another_is_refused_and_any_pinned_key_is_good(topic, message):
    with pytest.raises(ProtocolError, match="signature: missing"):
        verify(topic, codec.encode(message), PINNED)
    with pytest.raises(ProtocolError, match="signature: by none"):
        verify(topic, signed(topic, message, OTHER), PINNED)
    both = [*PINNED, public_key(OTHER)]
    assert verify(topic, signed(topic, message), both) == verify(topic, signed(topic, message, OTHER), both)


def test_the_size_limit_holds_for_the_body():
    topic, message = SIGNED[1]
    fits = message.model_copy(update={"outcome": ""})
    fits = fits.model_copy(update={"outcome": "x" * (message.max_bytes - len(codec.encode(fits)))})
    assert len(signed(topic, fits)) > message.max_bytes
    assert codec.decode(RoundMessage, signed(topic, fits)) == fits


# --- devices ---


def certificate(name: str, key: Ed25519PrivateKey, issuer: str, by: Ed25519PrivateKey, days: int = 1) -> bytes:
    """X.509 DER for ``key``; valid since yesterday, for ``days`` from now."""
    subject, ca = (x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, one)]) for one in (name, issuer))
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(ca, subject, key.public_key(), x509.random_serial_number())
    span = now - timedelta(days=1 + abs(days)), now + timedelta(days=days)
    return builder.not_valid_before(span[0]).not_valid_after(span[1]).sign(by, None).public_bytes(Encoding.DER)


DEVICE, CA_KEY = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
CA = x509.load_der_x509_certificate(certificate("plant CA", CA_KEY, "plant CA", CA_KEY))
GOOD = certificate("pump-1", DEVICE, "plant CA", CA_KEY)
UPDATES = topics.update_topic("plant", "pump-1", 4)


def update(of: bytes) -> UpdateMessage:
    return UpdateMessage(
        device="pump-1",
        round_number=1,
        base=BASE,
        kind="delta",
        num_examples=9,
        payload=b"x",
        certificate=of,
        output_min=0,
        output_max=1,
        loss_before=1,
        loss_after=1,
    )


def test_an_update_is_signed_by_the_device_in_its_topic():
    verify_device(UPDATES, signed(UPDATES, update(GOOD), DEVICE), GOOD, CA)


@pytest.mark.parametrize(
    ("topic", "der", "key", "words"),
    [
        (UPDATES.replace("pump-1", "pump-2"), GOOD, DEVICE, "of 'pump-1', not of the topic's device"),
        (UPDATES, GOOD, OTHER, "not by the certificate's key"),
        (UPDATES, certificate("pump-1", OTHER, "plant CA", OTHER), OTHER, "not of the fleet's CA"),
        (UPDATES, certificate("pump-1", OTHER, "pump-1", DEVICE), OTHER, "not of the fleet's CA"),
        (UPDATES, certificate("pump-1", DEVICE, "plant CA", CA_KEY, days=-1), DEVICE, "not good now; it ends"),
        (UPDATES, GOOD[:-30], DEVICE, "its certificate is none"),
        (UPDATES, b"", DEVICE, "its certificate is none"),
    ],
)
def test_whoever_else_signs_is_refused(topic, der, key, words):
    with pytest.raises(ProtocolError, match=f"signature: .*{words}"):
        verify_device(topic, signed(topic, update(der), key), der, CA)


def test_an_unsigned_update_is_refused():
    with pytest.raises(ProtocolError, match="signature: missing"):
        verify_device(UPDATES, codec.encode(update(GOOD)), GOOD, CA)


@given(st.data())
def test_a_damaged_certificate_is_a_protocol_error(data):
    der = bytearray(GOOD)
    der[data.draw(st.integers(0, len(der) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(ProtocolError, match="signature"):
        verify_device(UPDATES, signed(UPDATES, update(bytes(der)), DEVICE), bytes(der), CA)


# --- files ---


def write_key(path: Path, key, password: bytes | None = None) -> Path:
    secret = BestAvailableEncryption(password) if password else NoEncryption()
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, secret))
    path.chmod(0o600)
    return path


def test_a_key_comes_back_from_its_file(tmp_path):
    assert public_key(load_key(write_key(tmp_path / "key.pem", KEY))) == public_key(KEY) == public_key(KEY.public_key())


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_key_that_others_can_use_is_refused(tmp_path, mode):
    path = write_key(tmp_path / "key.pem", KEY)
    path.chmod(mode)
    with pytest.raises(ConfigError, match=rf"mode {mode:o}\): chmod 600"):
        load_key(path)


def test_what_is_no_key_or_certificate_is_named(tmp_path):
    (tmp_path / "text").write_text("not a key")
    (tmp_path / "text").chmod(0o600)
    write_key(tmp_path / "locked", KEY, b"secret")
    write_key(tmp_path / "curve", generate_private_key(SECP256R1()))
    for name, expected in (("text", "a private key"), ("locked", "a private key"), ("curve", "an Ed25519 key")):
        with pytest.raises(ConfigError, match=f"{name}: expected {expected}"):
            load_key(tmp_path / name)
    with pytest.raises(ConfigError, match="text: expected an X"):
        load_certificate(tmp_path / "text")
    for load in (load_key, load_certificate):
        with pytest.raises(ConfigError, match="none: cannot be read: No such file"):
            load(tmp_path / "none")


def test_a_process_that_has_no_keys_does_not_pay_for_them():
    code = "import sys, fedtiny.protocol.codec, fedtiny.protocol.signing; sys.exit('cryptography' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
