"""Ed25519 signatures (RFC 8032) in front of messages, and the files that keys and certificates come from.

A signed message is a prefix and then its body, byte for byte what it would be without: readers that have pinned no key
skip the prefix. Before CBOR it is a byte string of 64 bytes, which makes a CBOR sequence (RFC 8742); before JSON a line
of its own. The signature covers the topic too, so that a message is good in no other place, fleet or device.

``cryptography`` costs 8 MB of memory and comes in where a key is used.
"""

import base64
import os
import re
import stat
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from fedtiny.errors import ConfigError, ProtocolError
from fedtiny.protocol import topics

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
    from cryptography.x509 import Certificate

CONTEXT = b"fedtiny/v1 signed message\0"
Encoding = Literal["json", "cbor"]
_LINE = re.compile(rb'\{"ed25519":"([0-9a-f]{128})"\}\n')


def split(payload: bytes, encoding: Encoding) -> tuple[bytes | None, bytes]:
    """(signature or None, body) of a message as it came; nothing is verified.

    Each encoding has one form of prefix: a message that could come in two would count as two.
    """
    if encoding == "cbor":
        signed = payload[:2] == b"\x58\x40" and len(payload) >= 66
        return (payload[2:66], payload[66:]) if signed else (None, payload)
    line = _LINE.match(payload)
    return (None, payload) if line is None else (bytes.fromhex(line[1].decode()), payload[line.end() :])


def sign(topic: str, body: bytes, key: "Ed25519PrivateKey", encoding: Encoding) -> bytes:
    """``body`` with its signature in front, as it goes to ``topic``."""
    signature = key.sign(_covered(topic, body))
    if encoding == "cbor":
        return b"\x58\x40" + signature + body
    return b'{"ed25519":"%b"}\n' % signature.hex().encode() + body


def verify(topic: str, payload: bytes, keys: Sequence[str]) -> bytes:
    """The body of a message that came on ``topic``, where one of ``keys`` has signed it.

    keys: Ed25519 public keys, 32 bytes in base64. Raises ProtocolError "signature: ..." where none of them has.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    signature, body = _signed(topic, payload)
    covered = _covered(topic, body)
    if any(_good(Ed25519PublicKey.from_public_bytes(base64.b64decode(key)), signature, covered) for key in keys):
        return body
    raise ProtocolError("signature: by none of the pinned keys")


def verify_device(topic: str, payload: bytes, certificate_der: bytes, ca: "Certificate") -> None:
    """Check that the device in ``topic`` has signed the message that came there.

    certificate_der: X.509, from inside the message. It must be issued by ``ca``, valid now, and name the device as its
    CN. Raises ProtocolError "signature: ..." where anything of this is not so.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    signature, body = _signed(topic, payload)
    try:
        certificate = x509.load_der_x509_certificate(certificate_der)
    except (ValueError, x509.InvalidVersion):
        raise ProtocolError("signature: its certificate is none") from None
    if not issued_by(certificate, ca):  # from here on the certificate is one that we have made
        raise ProtocolError("signature: its certificate is not of the fleet's CA")
    name, key, ends = common_name(certificate), certificate.public_key(), certificate.not_valid_after_utc
    if name != topics.parse(topic).device:
        raise ProtocolError(f"signature: its certificate is of {name!r}, not of the topic's device")
    if not certificate.not_valid_before_utc <= datetime.now(UTC) <= ends:
        raise ProtocolError(f"signature: its certificate is not good now; it ends on {ends:%Y-%m-%d}")
    if not isinstance(key, Ed25519PublicKey) or not _good(key, signature, _covered(topic, body)):
        raise ProtocolError("signature: not by the certificate's key")


def issued_by(certificate: "Certificate", ca: "Certificate") -> bool:
    """Whether ``ca`` has signed ``certificate``, which may be anything that parses."""
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

    try:
        certificate.verify_directly_issued_by(ca)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def common_name(certificate: "Certificate") -> str:
    """The CN of its subject, which names its holder; empty where there is not exactly one."""
    from cryptography.x509.oid import NameOID

    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(names[0].value) if len(names) == 1 else ""


def load_key(path: Path) -> "Ed25519PrivateKey":
    """The private key in a PEM file that its owner alone may read; ConfigError says what is wrong with it."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = load_any_key(path)
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigError(f"{path}: expected an Ed25519 key, found {type(key).__name__.removesuffix('PrivateKey')}")
    return key


def load_any_key(path: Path) -> "PrivateKeyTypes":
    """As load_key, for TLS, which takes keys of other kinds too."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    data, mode = _read(path)
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ConfigError(f"{path}: others than its owner may use this key (mode {mode:03o}): chmod 600 {path}")
    try:
        return load_pem_private_key(data, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ConfigError(f"{path}: expected a private key in PEM, without a password") from None


def load_certificate(path: Path) -> "Certificate":
    """The first certificate in a PEM file; ConfigError where there is none."""
    from cryptography import x509

    data, _ = _read(path)
    try:
        return x509.load_pem_x509_certificate(data)
    except ValueError:
        raise ConfigError(f"{path}: expected an X.509 certificate in PEM") from None


def public_key(key: "Ed25519PrivateKey | Ed25519PublicKey") -> str:
    """As others pin it: 32 bytes in base64."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    public = key.public_key() if isinstance(key, Ed25519PrivateKey) else key
    return base64.b64encode(public.public_bytes_raw()).decode()


def _covered(topic: str, body: bytes) -> bytes:
    return b"%b%b\0%b" % (CONTEXT, topic.encode(), body)


def _signed(topic: str, payload: bytes) -> tuple[bytes, bytes]:
    signature, body = split(payload, "cbor" if topics.parse(topic).kind in topics.CBOR_KINDS else "json")
    if signature is None:
        raise ProtocolError("signature: missing")
    return signature, body


def _good(key: "Ed25519PublicKey", signature: bytes, covered: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature

    try:
        key.verify(signature, covered)
    except InvalidSignature:
        return False
    return True


def _read(path: Path) -> tuple[bytes, int]:
    """A small file's content, and its permissions."""
    try:
        with path.open("rb") as file:
            return file.read(64 * 1024), stat.S_IMODE(os.fstat(file.fileno()).st_mode)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
