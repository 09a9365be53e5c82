"""TLS towards the broker, and what its failures mean in plain words.

In TLS 1.3 a broker says only after the handshake that it does not accept our certificate, as the answer to the first
thing that we send; paho then reports no more than a lost connection. So the socket keeps its last error for us.
"""

import ssl
from datetime import UTC, datetime
from pathlib import Path

from fedtiny import config
from fedtiny.errors import ConfigError

# Codes of OpenSSL's x509_vfy.h.
_NOT_YET_VALID, _EXPIRED = 9, 10
_WRONG_HOST = (62, 64)
_UNKNOWN_AUTHORITY = (18, 19, 20, 21)

# Parts of the names of TLS alerts (RFC 8446, section 6), as OpenSSL writes them; the first that fits counts.
_ALERTS = {
    "CERTIFICATE_EXPIRED": "refuses our certificate {own}: it has expired",
    "CERTIFICATE_REVOKED": "refuses our certificate {own}: it was revoked",
    "UNKNOWN_CA": "refuses our certificate {own}: it knows no such authority",
    "CERTIFICATE_REQUIRED": "wants a certificate of ours: certificate and key in [broker]",
    "CERTIFICATE": "refuses our certificate {own}",
}


class TlsSocket(ssl.SSLSocket):
    """A socket that remembers why it could not be read any more."""

    failure: OSError | None = None

    def do_handshake(self, block: bool = False) -> None:
        """As ever, and closed when it fails: paho would leave it open."""
        try:
            super().do_handshake(block)
        except OSError:
            self.close()
            raise

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        """As ever."""
        try:
            return super().recv(buflen, flags)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except OSError as error:
            self.failure = error
            raise


def client_context(broker: config.Broker) -> ssl.SSLContext | None:
    """TLS 1.2 or later with the broker's name checked, as ``broker`` says; None for plain TCP.

    Raises ConfigError when a file is missing, cannot be read or does not fit.
    """
    if broker.ca is None:
        return None
    _readable("ca", broker.ca)
    try:
        context = ssl.create_default_context(cafile=broker.ca)
    except ssl.SSLError:
        raise ConfigError(f"broker.ca: {broker.ca}: expected a certificate in PEM") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.sslsocket_class = TlsSocket
    if broker.certificate is not None and broker.key is not None:
        _readable("certificate", broker.certificate)
        _readable("key", broker.key)
        try:
            context.load_cert_chain(broker.certificate, broker.key, password=lambda: "")  # else it asks the terminal
        except ssl.SSLError as error:
            if error.reason == "KEY_VALUES_MISMATCH":
                raise ConfigError(f"broker.key: {broker.key} does not belong to {broker.certificate}") from None
            raise ConfigError(
                f"broker.certificate, broker.key: expected a certificate and an unencrypted key in PEM, found "
                f"{broker.certificate} and {broker.key}"
            ) from None
    return context


def handshake_failure(error: Exception, broker: config.Broker) -> str | None:
    """What ended the handshake, as the end of a sentence about the broker; None when TLS had no part in it."""
    if broker.ca is None:
        return None
    if isinstance(error, ssl.SSLCertVerificationError):
        clock = f"this clock is wrong: it shows {datetime.now(UTC):%Y-%m-%d}"
        if error.verify_code == _EXPIRED:
            return f"has a certificate that has expired, or {clock}"
        if error.verify_code == _NOT_YET_VALID:
            return f"has a certificate that is not valid yet, so {clock}"
        if error.verify_code in _WRONG_HOST:
            return f"has a certificate for another host than {broker.host}"
        if error.verify_code in _UNKNOWN_AUTHORITY:
            return f"has a certificate that is not signed by {broker.ca}"
        return f"has a certificate that cannot be accepted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return _alert(error, broker) or "does not speak TLS on this port"
    if isinstance(error, ConnectionResetError):
        return "does not speak TLS on this port"
    return "does not answer the TLS handshake" if "handshake" in str(error) else None


def refusal(sock: TlsSocket, broker: config.Broker) -> str:
    """Why a connection ended after the handshake and before the broker's first word."""
    if isinstance(sock.failure, ssl.SSLError) and (alert := _alert(sock.failure, broker)):
        return alert
    if broker.certificate is None:
        return _ALERTS["CERTIFICATE_REQUIRED"].replace("wants", "ended the connection; perhaps it wants")
    return f"ended the connection; perhaps it refuses our certificate {broker.certificate}"


def _alert(error: ssl.SSLError, broker: config.Broker) -> str | None:
    """The broker's alert in words, None where the error is not one about certificates."""
    name = error.reason or ""
    words = next((words for part, words in _ALERTS.items() if "ALERT" in name and part in name), None)
    return words and words.format(own=broker.certificate or "(there is none)")


def _readable(key: str, path: Path) -> None:
    try:
        path.open("rb").close()
    except OSError as error:
        raise ConfigError(f"broker.{key}: {path}: {error.strerror}") from None
