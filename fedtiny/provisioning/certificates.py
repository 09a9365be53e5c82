"""X.509 certificates with Ed25519 keys: an authority that issues them and says which of them count no more.

Profile: RFC 5280, strict enough for Python's VERIFY_X509_STRICT. Ed25519 in certificates: RFC 8410.

A name consists of CN, who it is, and serialNumber, which of its certificates: a broker that grants rights by the
whole name can then tell a new certificate from a revoked one of the same device.
"""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

YEAR = timedelta(days=365.25)
# Devices without a battery for their clock wake up in 1970, and must find their broker's certificate valid.
NOT_BEFORE = datetime(1970, 1, 1, tzinfo=UTC)

Usage = Literal["client", "server"]
_PURPOSES = {"client": ExtendedKeyUsageOID.CLIENT_AUTH, "server": ExtendedKeyUsageOID.SERVER_AUTH}


def key_pem(key: Ed25519PrivateKey) -> bytes:
    """The private key as unencrypted PKCS #8."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def certificate_pem(certificate: x509.Certificate) -> bytes:
    """The certificate as PEM."""
    return certificate.public_bytes(Encoding.PEM)


@dataclass(frozen=True)
class Authority:
    """A certificate authority: what it issues is believed by whoever has its certificate."""

    certificate: x509.Certificate
    key: Ed25519PrivateKey

    @classmethod
    def create(cls, name: str, years: float) -> "Authority":
        """A new one that signs its own certificate, valid for ``years`` from now."""
        key, subject = Ed25519PrivateKey.generate(), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate = (
            _builder(subject, subject, key.public_key(), x509.random_serial_number(), _in(years))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(signs=True), critical=True)
            .sign(key, None)
        )
        return cls(certificate, key)

    def issue(
        self, name: str, key: Ed25519PublicKey, usage: Usage, years: float, host: str | None = None
    ) -> x509.Certificate:
        """A certificate for the holder of ``key``; a server's also for ``host``, a DNS name or an IP address.

        It is good for ``years``, and not longer than the authority.
        """
        serial = x509.random_serial_number()
        subject = x509.Name(
            [
                x509.NameAttribute(NameOID.COMMON_NAME, name),
                x509.NameAttribute(NameOID.SERIAL_NUMBER, serial_text(serial)),
            ]
        )
        ends = min(_in(years), self.certificate.not_valid_after_utc)
        authority = self.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        builder = (
            _builder(subject, self.certificate.subject, key, serial, ends)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(signs=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([_PURPOSES[usage]]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(authority), critical=False)
        )
        if host is not None:
            builder = builder.add_extension(x509.SubjectAlternativeName([_general_name(host)]), critical=False)
        return builder.sign(self.key, None)

    def issued(self, certificate: x509.Certificate) -> bool:
        """Whether ``certificate`` is one of ours, valid or not."""
        try:
            certificate.verify_directly_issued_by(self.certificate)
        except (ValueError, TypeError, InvalidSignature):
            return False
        return True

    def revocation_list(self, revoked: Iterable[tuple[int, datetime]]) -> bytes:
        """The PEM list of (serial number, since when) that count no more; good for as long as the authority is.

        OpenSSL refuses everybody once a list is past its next update, so that must not come by surprise.
        """
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.certificate.subject)
            .last_update(NOT_BEFORE)
            .next_update(self.certificate.not_valid_after_utc)
        )
        for serial, since in revoked:
            entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(since).build()
            builder = builder.add_revoked_certificate(entry)
        return builder.sign(self.key, None).public_bytes(Encoding.PEM)


def serial_text(serial: int) -> str:
    """A certificate's serial number as it stands in its name and in our lists."""
    return f"{serial:040x}"


def _in(years: float) -> datetime:
    return datetime.now(UTC) + years * YEAR


def _builder(
    subject: x509.Name, issuer: x509.Name, key: Ed25519PublicKey, serial: int, ends: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(serial)
        .not_valid_before(NOT_BEFORE)
        .not_valid_after(ends)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _key_usage(*, signs: bool) -> x509.KeyUsage:
    """An authority signs certificates and lists, everybody else only for himself."""
    return x509.KeyUsage(
        digital_signature=not signs,
        key_cert_sign=signs,
        crl_sign=signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
