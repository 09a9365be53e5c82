import socket
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from fedtiny.broker import EmbeddedBroker
from fedtiny.config import load_config
from fedtiny.preflight import preflight
from fedtiny.store import locked


def findings(**settings) -> dict[str, tuple[bool, str]]:
    return {one.what: (one.fine, one.text) for one in preflight(load_config(None, **settings))}


def test_a_device_that_can_start(tmp_path):
    with EmbeddedBroker(tmp_path / "broker") as broker:
        found = findings(device="fan-08", state=tmp_path / "state", broker__port=broker.port)
    assert list(found) == ["device", "state", "interpreter", "source", "trust", "metrics", "broker"]
    assert all(fine for fine, _ in found.values()), found
    assert found["broker"][1] == f"127.0.0.1:{broker.port} accepts us"
    assert found["trust"][1] == "0 coordinator pinned, 0 operator pinned"
    assert "Hz" in found["source"][1]
    assert list((tmp_path / "state").iterdir()) == []


def test_each_thing_that_is_wrong_is_named(tmp_path):
    (tmp_path / "file").touch()
    found = findings(state=tmp_path / "file", broker__host="nowhere.invalid", source__data="none.npz")
    assert found["device"] == (False, 'not set; device = "..." in the configuration')
    assert not found["state"][0]
    assert str(tmp_path / "file") in found["state"][1]
    assert found["interpreter"][0]
    assert not found["source"][0]
    assert not found["broker"][0]
    assert "nowhere.invalid:1883 cannot be reached: Name or service not known" in found["broker"][1]


def test_a_port_for_metrics_that_is_taken(tmp_path):
    assert findings(device="fan-08", broker__port=9)["metrics"] == (True, "off")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with locked(tmp_path):
            settings = {"device": "fan-08", "state": tmp_path, "broker__port": 9, "metrics__port": port}
            fine, text = findings(**settings)["metrics"]
        assert (fine, text.split(",")[0]) == (True, f"port {port} not tried")
        fine, text = findings(**settings)["metrics"]
    assert (fine, text) == (False, f"metrics.port: cannot listen on 127.0.0.1:{port}: Address already in use")
    assert findings(**settings)["metrics"] == (True, f"http://127.0.0.1:{port}/metrics")


def test_a_broker_that_refuses():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound and not listening
        port = unused.getsockname()[1]
        fine, text = findings(device="fan-08", broker__port=port)["broker"]
    assert (fine, text) == (False, f"broker 127.0.0.1:{port} cannot be reached: Connection refused")


def test_a_running_agent_is_left_alone(tmp_path):
    """A second connection of its device would throw it out."""
    with locked(tmp_path):
        fine, text = findings(device="fan-08", state=tmp_path, broker__port=9)["broker"]
    assert fine
    assert text.startswith("127.0.0.1:9 not tried")
    assert text.endswith(f"state folder {tmp_path} is in use by another process")
    assert not findings(device="fan-08", state=tmp_path, broker__port=9)["broker"][0]


# --- keys and certificates ---


@pytest.fixture
def identity(tmp_path):
    """Makes the files of an identity and returns them as settings: a certificate for ``name``, good for ``days``."""
    ca_key = Ed25519PrivateKey.generate()

    def write(name="pump-07", *, days=400, since=1, ca=ca_key):
        key = Ed25519PrivateKey.generate()
        for who, public, file in (("CA", ca_key, "ca.pem"), (name, key, "certificate.pem")):
            subject, issuer = (x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, n)]) for n in (who, "CA"))
            begins, ends = (datetime.now(UTC) + timedelta(days=n, hours=1) for n in (-since, days))
            certificate = x509.CertificateBuilder(
                issuer, subject, public.public_key(), x509.random_serial_number(), begins, ends
            ).sign(ca_key if who == "CA" else ca, None)
            (tmp_path / file).write_bytes(certificate.public_bytes(Encoding.PEM))
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (tmp_path / "key.pem").write_bytes(pem)
        (tmp_path / "key.pem").chmod(0o600)
        files = {"certificate": tmp_path / "certificate.pem", "key": tmp_path / "key.pem"}
        return {
            "device": "pump-07",
            "broker__ca": tmp_path / "ca.pem",
            "trust__devices": tmp_path / "ca.pem",
            **{f"{section}__{name}": file for section in ("broker", "trust") for name, file in files.items()},
        }

    return write


def trust(settings) -> tuple[bool, str]:
    return next((one.fine, one.text) for one in preflight(load_config(None, **settings)) if one.what == "trust")


def test_an_identity_that_is_good(identity, tmp_path):
    fine, text = trust(identity())
    assert fine, text
    assert f"{tmp_path}/certificate.pem is good until 20" in text


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"name": "pump-08"}, "certificate.pem: it is of 'pump-08', this device is 'pump-07'"),
        ({"days": -1, "since": 9}, "ca.pem: expired on 20"),
        ({"days": 5}, "ca.pem: expires in 5 days, on 20"),
        ({"since": -3}, "ca.pem: good from 20"),
        ({"ca": Ed25519PrivateKey.generate()}, "certificate.pem: not issued by the CA in "),
    ],
)
def test_what_is_wrong_with_a_certificate_is_named(identity, given, words):
    fine, text = trust(identity(**given))
    assert not fine
    assert words in text


def test_a_broker_may_know_the_device_by_another_name(identity, tmp_path):
    """As services do that take certificates of their own only."""
    settings = identity("arn-4711", ca=Ed25519PrivateKey.generate())
    theirs = {
        name: (tmp_path / f"{name}.pem").rename(tmp_path / f"their-{name}.pem") for name in ("certificate", "key")
    }
    settings = identity() | {f"broker__{name}": path for name, path in theirs.items()}
    fine, text = trust(settings)
    assert fine, text
    assert f"{tmp_path}/their-certificate.pem is good until" in text
    assert not trust(settings | {f"trust__{name}": path for name, path in theirs.items()})[0]


def test_what_is_wrong_with_files_is_named(identity, tmp_path):
    settings, key = identity(), tmp_path / "key.pem"
    key.chmod(0o644)
    assert trust(settings) == (
        False,
        f"{key}: others than its owner may use this key (mode 644): chmod 600 {key}",
    )
    other = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    key.chmod(0o600)
    key.write_bytes(other)
    assert trust(settings) == (False, f"{tmp_path}/certificate.pem: not the certificate of the key in {key}")
    key.write_text("nothing")
    assert trust(settings) == (False, f"{key}: expected a private key in PEM, without a password")
    key.unlink()
    assert trust(settings) == (False, f"{key}: cannot be read: No such file or directory")
