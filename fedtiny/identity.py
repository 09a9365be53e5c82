"""Who a device is: its key and certificate, and what is wrong with them before anybody refuses them."""

import hmac
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from fedtiny.config import Config, Trust
from fedtiny.errors import ConfigError
from fedtiny.protocol import signing

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.x509 import Certificate

BEGIN, END = ssl.PEM_HEADER, ssl.PEM_FOOTER
SOON_DAYS = 14  # that a certificate must still be good for


@dataclass(frozen=True)
class Identity:
    """What a device signs with. ``certificate``: X.509 DER."""

    key: "Ed25519PrivateKey"
    certificate: bytes


def own_identity(trust: Trust) -> Identity | None:
    """From the files of ``trust``; None where they are not set, ConfigError where they cannot be used."""
    if trust.key is None or trust.certificate is None:
        return None
    try:  # cryptography's reader of certificates would cost 2 MB for this
        text = trust.certificate.read_text()
        certificate = ssl.PEM_cert_to_DER_cert(text[text.index(BEGIN) : text.index(END) + len(END)])
    except OSError as error:
        raise ConfigError(f"{trust.certificate}: cannot be read: {error.strerror}") from None
    except ValueError:
        raise ConfigError(f"{trust.certificate}: expected an X.509 certificate in PEM") from None
    return Identity(signing.load_key(trust.key), certificate)


def client_id(config: Config, name: str) -> str:
    """The MQTT client id of ``name``, a device or "coordinator": the same at every start.

    Who connects by the id of another ends its connection and, with a clean session, loses it the messages that wait
    (MQTT 3.1.1, 3.1.2.4). So where there is a private key, the id ends in what only its holder can tell: an HMAC
    (RFC 2104) under the key's file. ConfigError where that cannot be read.
    """
    plain, key = f"fedtiny-{config.fleet}-{name}", config.broker.key or config.trust.key
    if key is None:
        return plain
    try:
        return f"{plain}-{hmac.digest(key.read_bytes(), plain.encode(), 'sha256').hex()[:16]}"
    except OSError as error:
        raise ConfigError(f"{key}: cannot be read: {error.strerror}") from None


def check_identity(config: Config) -> str:
    """What ``config`` says of keys and certificates, in a line; ConfigError names the first thing that is wrong."""
    broker, trust = config.broker, config.trust
    found = [
        f"{len(keys)} {who} pinned" for who, keys in (("coordinator", trust.coordinator), ("operator", trust.operator))
    ]
    if broker.ca is not None:
        _check_time(broker.ca, signing.load_certificate(broker.ca))
    if trust.key is not None:
        signing.load_key(trust.key)
    if trust.certificate is not None:
        _check_holder(trust.certificate, config)
    for certificate, key in dict.fromkeys([(broker.certificate, broker.key), (trust.certificate, trust.key)]):
        if certificate is not None and key is not None:
            ends = _check_pair(certificate, key)
            found.append(f"{certificate} is good until {ends:%Y-%m-%d}")
    return ", ".join(found)


def _check_holder(path: Path, config: Config) -> None:
    """Check that updates signed under this certificate count as this device's; a broker may know it by another."""
    certificate, ca = signing.load_certificate(path), config.trust.devices
    if ca is not None and not signing.issued_by(certificate, signing.load_certificate(ca)):
        raise ConfigError(f"{path}: not issued by the CA in {ca}")
    name = signing.common_name(certificate)
    if config.device is not None and name != config.device:
        raise ConfigError(f"{path}: it is of {name!r}, this device is {config.device!r}")


def _check_pair(path: Path, key: Path) -> datetime:
    """Check a certificate and its key; returns when the certificate ends."""
    certificate = signing.load_certificate(path)
    if certificate.public_key() != signing.load_any_key(key).public_key():
        raise ConfigError(f"{path}: not the certificate of the key in {key}")
    return _check_time(path, certificate)


def _check_time(path: Path, certificate: "Certificate") -> datetime:
    begins, ends, now = certificate.not_valid_before_utc, certificate.not_valid_after_utc, datetime.now(UTC)
    if now < begins:
        raise ConfigError(f"{path}: good from {begins:%Y-%m-%d} on, and the clock says {now:%Y-%m-%d}")
    if now > ends:
        raise ConfigError(f"{path}: expired on {ends:%Y-%m-%d}")
    if (left := (ends - now).days) < SOON_DAYS:
        raise ConfigError(f"{path}: expires in {left} days, on {ends:%Y-%m-%d}; renew it")
    return ends
