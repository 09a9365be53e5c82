"""What a device signs with; how ``edge check`` speaks of it is in test_preflight."""

import re
import subprocess
import sys
from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from fedtiny.config import Broker, Config, Trust
from fedtiny.errors import ConfigError
from fedtiny.identity import client_id, own_identity
from fedtiny.protocol.signing import public_key

KEY = Ed25519PrivateKey.generate()
NAME = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "pump-07")])
SPAN = datetime(1970, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
CERTIFICATE = x509.CertificateBuilder(NAME, NAME, KEY.public_key(), 1, *SPAN).sign(KEY, None)


@pytest.fixture
def trust(tmp_path) -> Trust:
    found = Trust(key=tmp_path / "key.pem", certificate=tmp_path / "certificate.pem")
    found.key.write_bytes(KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    found.key.chmod(0o600)
    found.certificate.write_bytes(b"CN = pump-07, \n" + CERTIFICATE.public_bytes(Encoding.PEM) * 2)
    return found


def test_the_first_certificate_of_the_file_and_the_key(trust):
    identity = own_identity(trust)
    assert identity.certificate == CERTIFICATE.public_bytes(Encoding.DER)
    assert public_key(identity.key) == public_key(KEY)


@pytest.mark.parametrize("missing", ["key", "certificate"])
def test_without_one_of_them_there_is_none(trust, missing):
    assert own_identity(trust.model_copy(update={missing: None})) is None


@pytest.mark.parametrize("content", [b"", b"-----BEGIN CERTIFICATE-----", b"\xff", b"-----BEGIN CERTIFICATE-----\n%\n"])
def test_what_is_no_certificate_is_named(trust, content):
    trust.certificate.write_bytes(content)
    with pytest.raises(ConfigError, match=r"certificate\.pem: expected an X"):
        own_identity(trust)
    trust.certificate.unlink()
    with pytest.raises(ConfigError, match=r"certificate\.pem: cannot be read: No such file"):
        own_identity(trust)


def test_a_device_that_signs_reads_no_certificates(trust):
    code = (
        "import sys; from pathlib import Path; from fedtiny.config import Trust; from fedtiny.identity import *; "
        "own_identity(Trust(key=Path(sys.argv[1]), certificate=Path(sys.argv[2]))); "
        "sys.exit('cryptography.x509' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, trust.key, trust.certificate], check=True)


def test_a_client_id_is_the_same_at_every_start_and_not_to_be_told_by_others(trust, tmp_path):
    plain = client_id(Config(fleet="plant"), "coordinator")
    assert plain == "fedtiny-plant-coordinator"
    own = client_id(Config(fleet="plant", trust=trust), "coordinator")
    assert re.fullmatch(rf"{plain}-[0-9a-f]{{16}}", own)
    files = {"ca": tmp_path / "ca.pem", "certificate": trust.certificate, "key": trust.key}
    assert client_id(Config(fleet="plant", trust=trust, broker=Broker(**files)), "coordinator") == own
    trust.key.write_bytes(b"another")
    assert client_id(Config(fleet="plant", trust=trust), "coordinator") != own
    trust.key.unlink()
    with pytest.raises(ConfigError, match=r"key\.pem: cannot be read: No such file"):
        client_id(Config(fleet="plant", trust=trust), "coordinator")
