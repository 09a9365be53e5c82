"""What a user reads when TLS fails: a broker of ours that shakes hands, or not, with certificates made for the case."""

import re
import socket
import ssl
import threading
from contextlib import suppress

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

from fedtiny import config, tls
from fedtiny.errors import ConfigError
from fedtiny.provisioning import certificates
from fedtiny.provisioning.certificates import Authority, certificate_pem, key_pem
from fedtiny.transport import Connected, Connection, Disconnected


@pytest.fixture
def authority() -> Authority:
    return Authority.create("authority", 100)


@pytest.fixture
def write(tmp_path, authority):
    """A function: the files of a new identity, as certificate and key; ``authority`` is in ca.pem."""
    (tmp_path / "ca.pem").write_bytes(certificate_pem(authority.certificate))

    def write(name, *, signed_by=authority, usage="client", host=None, years=1.0):
        key = Ed25519PrivateKey.generate()
        certificate = signed_by.issue(name, key.public_key(), usage, years, host)
        files = tmp_path / f"{name}.pem", tmp_path / f"{name}.key"
        for path, data in zip(files, (certificate_pem(certificate), key_pem(key)), strict=True):
            path.write_bytes(data)
        return files

    return write


@pytest.fixture
def listen():
    """A function: the port where ``answer`` gets the first client's socket, in a thread."""
    servers, threads = [], []

    def listen(answer):
        server = socket.create_server(("127.0.0.1", 0))
        servers.append(server)

        def serve():
            with suppress(OSError), server.accept()[0] as client:
                client.settimeout(10)
                answer(client)

        threads.append(threading.Thread(target=serve))
        threads[-1].start()
        return server.getsockname()[1]

    yield listen
    for server in servers:
        server.close()
    for thread in threads:
        thread.join()


def reason(where: config.Broker) -> str:
    """Why no connection comes about, without the broker's address."""
    connection = Connection(where, "test", subscriptions=[])
    connection.start()
    try:
        event = connection.next_event(10)
        assert isinstance(event, Disconnected), event
        return event.reason.removeprefix(f"broker {where.host}:{where.port} ")
    finally:
        connection.stop(timeout_s=0)


def handshake(certificate, key, ca=None, says=b""):
    """An answer: a TLS server that asks for a certificate of ``ca``, or for none, reads, and ``says`` something."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    if ca is not None:
        context.load_verify_locations(ca)
        context.verify_mode = ssl.CERT_REQUIRED

    def answer(client):
        with context.wrap_socket(client, server_side=True) as secured:
            secured.recv(1024)
            secured.sendall(says)
            secured.recv(1024)

    return answer


BROKERS = [
    ({"host": "127.0.0.1", "years": -0.1}, "has a certificate that has expired, or this clock is wrong: it shows "),
    ({"host": "192.0.2.1"}, "has a certificate for another host than 127.0.0.1"),
    ({"host": "127.0.0.1", "signed_by": Authority.create("other", 1)}, "has a certificate that is not signed by "),
    ({"host": "127.0.0.1", "usage": "client"}, "has a certificate that cannot be accepted: unsuit"),
]


@pytest.mark.parametrize(("made", "words"), BROKERS, ids=["expired", "host", "authority", "purpose"])
def test_what_is_wrong_with_the_brokers_certificate(tmp_path, write, listen, made, words):
    port = listen(handshake(*write("broker", **{"usage": "server", **made})))
    assert reason(config.Broker(port=port, ca=tmp_path / "ca.pem")).startswith(words)


def test_a_clock_that_stands_before_the_certificate(tmp_path, write, listen, monkeypatch, authority):
    monkeypatch.setattr(certificates, "NOT_BEFORE", authority.certificate.not_valid_after_utc.replace(year=2100))
    port = listen(handshake(*write("broker", usage="server", host="127.0.0.1", years=100)))
    words = "has a certificate that is not valid yet, so this clock is wrong: it shows "
    assert reason(config.Broker(port=port, ca=tmp_path / "ca.pem")).startswith(words)


def test_what_is_wrong_with_our_certificate(tmp_path, write, listen):
    broker, ca = write("broker", usage="server", host="127.0.0.1"), tmp_path / "ca.pem"
    other = Authority.create("other", 1)
    for made, words in (
        ({"years": -0.1}, ("it has expired", "perhaps it refuses our certificate")),
        ({"signed_by": other}, ("it knows no such authority", "perhaps it refuses our certificate")),
    ):
        certificate, key = write("device", **made)
        where = config.Broker(port=listen(handshake(*broker, ca)), ca=ca, certificate=certificate, key=key)
        found = reason(where)
        assert any(word in found for word in words)
        assert str(certificate) in found
    assert "wants a certificate of ours" in reason(config.Broker(port=listen(handshake(*broker, ca)), ca=ca))


def test_tls_to_a_port_without_it(tmp_path, write, listen):
    write("device")

    def plain(client):
        client.recv(1024)
        client.sendall(b"\x20\x02\x00\x01")

    def silent(client):
        client.recv(1024)

    for answer in (plain, silent):
        assert reason(config.Broker(port=listen(answer), ca=tmp_path / "ca.pem")) == "does not speak TLS on this port"


def test_messages_in_one_record_are_all_read(tmp_path, write, listen):
    """After the first of them the socket has nothing to show: the rest is decrypted already."""
    accepted, messages = b"\x20\x02\x00\x00", b"".join(b"\x30\x04\x00\x01a%d" % number for number in range(5))
    files = write("broker", usage="server", host="127.0.0.1")
    where = config.Broker(port=listen(handshake(*files, says=accepted + messages)), ca=tmp_path / "ca.pem")
    connection = Connection(where, "test", subscriptions=[])
    connection.start()
    try:
        assert isinstance(connection.next_event(10), Connected)
        assert [connection.next_event(5).payload for _ in range(5)] == [b"%d" % number for number in range(5)]
    finally:
        connection.stop(timeout_s=0)


def test_files_that_cannot_be_used_are_named_at_once(tmp_path, write):
    certificate, key = write("device")
    _, other_key = write("other")
    secret = Ed25519PrivateKey.generate().private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")
    )
    (tmp_path / "secret.key").write_bytes(secret)
    (tmp_path / "text").write_text("not a certificate")
    good = {"ca": tmp_path / "ca.pem", "certificate": certificate, "key": key}
    for bad, words in (
        ({"ca": tmp_path / "none"}, f"broker.ca: {tmp_path}/none: No such file"),
        ({"ca": tmp_path / "text"}, f"broker.ca: {tmp_path}/text: expected a certificate in PEM"),
        ({"key": tmp_path / "none"}, f"broker.key: {tmp_path}/none: No such file"),
        ({"key": other_key}, f"{other_key} does not belong to {certificate}"),
        ({"key": tmp_path / "secret.key"}, "an unencrypted key in PEM"),
        ({"certificate": tmp_path}, "Is a directory"),
        ({"certificate": tmp_path / "text"}, "expected a certificate"),
    ):
        with pytest.raises(ConfigError, match=re.escape(words)):
            tls.client_context(config.Broker(**{**good, **bad}))
