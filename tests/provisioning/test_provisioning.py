import itertools
import os
import shutil
import ssl
import stat
from contextlib import suppress
from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from fedtiny import store
from fedtiny.config import load_config
from fedtiny.errors import ConfigError
from fedtiny.provisioning import fleet as commands
from fedtiny.provisioning import folder as folders
from fedtiny.provisioning import registry as registries
from fedtiny.provisioning.fleet import add_device, add_operator, init_fleet, renew, revoke
from fedtiny.provisioning.registry import read_registry

HOST = "broker.plant.example"


@pytest.fixture(scope="module")
def new_fleet(tmp_path_factory):
    folder = tmp_path_factory.mktemp("new") / "plant"
    init_fleet(folder, "plant", HOST)
    return folder


@pytest.fixture
def fleet(new_fleet, tmp_path):
    """The folder of a new fleet, to be changed."""
    return shutil.copytree(new_fleet, tmp_path / "plant")


def certificate(folder, name="certificate.pem") -> x509.Certificate:
    return x509.load_pem_x509_certificate((folder / name).read_bytes())


def public_key(folder) -> bytes:
    return load_pem_private_key((folder / "key.pem").read_bytes(), None).public_key().public_bytes_raw()


def handshake(server_folder, client_folder, authority) -> str:
    """The client's name as the server sees it after a strict TLS handshake in memory, for HOST."""
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=server_folder / authority)
    server.load_cert_chain(server_folder / "broker.pem", server_folder / "broker.key")
    server.verify_mode = ssl.CERT_REQUIRED
    client = ssl.create_default_context(cafile=client_folder / "ca.pem")
    client.load_cert_chain(client_folder / "certificate.pem", client_folder / "key.pem")
    for context in (server, client):
        context.verify_flags |= ssl.VERIFY_X509_STRICT
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [server.wrap_bio(up, down, server_side=True), client.wrap_bio(down, up, server_hostname=HOST)]
    for _ in range(3):
        for end in ends:
            with suppress(ssl.SSLWantReadError):
                end.do_handshake()
    return dict(pair[0] for pair in ends[0].getpeercert()["subject"])["commonName"]


def test_everybody_gets_a_folder_that_works_as_it_stands(fleet):
    device, operator = add_device(fleet, "pump-07"), fleet / "operator"
    for folder, port, authority in (
        (device, 8883, "devices-ca.pem"),
        (operator, 8884, "staff-ca.pem"),
        (fleet / "coordinator", 8884, "staff-ca.pem"),
    ):
        config = load_config(folder / "fedtiny.toml")
        assert (config.fleet, config.broker.host, config.broker.port) == ("plant", HOST, port)
        files = [config.broker.ca, config.broker.certificate, config.broker.key, config.trust.key]
        assert all(path.is_file() and path.parent == folder for path in files)
        assert handshake(fleet / "broker", folder, authority) == folder.name
        pins = [*config.trust.coordinator, *config.trust.operator]
        assert pins == [one.key for one in read_registry(fleet / "broker").certificates if one.role != "device"]
    assert load_config(device / "fedtiny.toml").device == "pump-07"
    assert load_config(device / "fedtiny.toml").trust.certificate == device / "certificate.pem"
    assert load_config(fleet / "coordinator" / "fedtiny.toml").trust.devices.read_bytes() == (
        (fleet / "ca" / "devices.pem").read_bytes()
    )


def test_settings_of_the_source_can_be_given(fleet):
    folder = add_device(fleet, "pump-07", source="serial", given={"source.port": "/dev/ttyACM0", "state": "/data"})
    assert load_config(folder / "fedtiny.toml").source.port == "/dev/ttyACM0"


@pytest.mark.parametrize("host", ["192.0.2.7", "2001:db8::7", "broker", "xn--brcke-kva.example"])
def test_the_brokers_certificate_is_for_its_host(tmp_path, host):
    init_fleet(tmp_path / "plant", "plant", host)
    names = certificate(tmp_path / "plant" / "broker", "broker.pem").extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    )
    assert [str(name.value) for name in names.value] == [host]


def test_an_authority_of_devices_is_not_one_of_staff(fleet):
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(fleet / "broker", add_device(fleet, "pump-07"), "staff-ca.pem")


def test_no_key_is_ever_readable_by_others(tmp_path, monkeypatch):
    """Neither at the end nor at any moment before: the mode is there when the file is."""
    before = os.umask(0)
    modes = []
    real = os.open

    def watched(path, flags, mode=0o777, **options):
        descriptor = real(path, flags, mode, **options)
        if flags & os.O_CREAT:
            modes.append((str(path), stat.S_IMODE(os.fstat(descriptor).st_mode)))
        return descriptor

    monkeypatch.setattr(os, "open", watched)
    try:
        init_fleet(tmp_path / "plant", "plant", HOST)
        add_device(tmp_path / "plant", "pump-07")
        add_operator(tmp_path / "plant", "night-shift")
        revoke(tmp_path / "plant", "pump-07")
    finally:
        os.umask(before)
    for path in (tmp_path / "plant").rglob("*"):
        if path.is_dir():
            assert stat.S_IMODE(path.stat().st_mode) == 0o700, path
        elif b"PRIVATE KEY" in path.read_bytes():
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    keys = [(path, mode) for path, mode in modes if ".key" in path or "key.pem" in path]
    assert len(keys) >= 7
    assert {mode for _, mode in keys} == {0o600}


def test_nothing_is_overwritten(fleet):
    folder = add_device(fleet, "pump-07")
    key = (folder / "key.pem").read_bytes()
    with pytest.raises(ConfigError, match=r"'pump-07' has a certificate until \d{4}-\d\d-\d\d; not overwritten.*renew"):
        add_device(fleet, "pump-07")
    shutil.rmtree(folder)  # it went to the device
    with pytest.raises(ConfigError, match="'pump-07' has a certificate"):
        add_device(fleet, "pump-07")
    with pytest.raises(ConfigError, match="exists already"):
        init_fleet(fleet, "plant", HOST)
    assert key not in (fleet / "ca" / "devices.key").read_bytes()


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (lambda fleet: add_device(fleet, "Pump"), "device 'Pump': expected lower-case"),
        (lambda fleet: add_device(fleet, "../x"), "device '../x': expected lower-case"),
        (lambda fleet: add_device(fleet, "coordinator"), "reserved"),
        (lambda fleet: add_operator(fleet, "devices"), "reserved"),
        (lambda fleet: add_device(fleet, "fan", source="radio"), "source kind 'radio'"),
        (lambda fleet: add_device(fleet, "fan", given={"edge.runtime": "x"}), r"edge\.runtime: found 'x'"),
        (lambda fleet: renew(fleet, "fan"), "'fan' has no certificate of this fleet"),
        (lambda fleet: revoke(fleet, "fan"), "'fan' has no certificate of this fleet"),
        (lambda fleet: revoke(fleet, "coordinator"), "cannot be revoked"),
        (lambda fleet: add_device(fleet.parent, "fan"), r"fleet\.json: cannot be read.*fedtiny fleet init"),
        (lambda fleet: init_fleet(fleet.parent / "new", "plant", "no host"), "expected a DNS name or an IP address"),
        (lambda fleet: init_fleet(fleet.parent / "new", "plant", "broker:8883"), "expected a DNS name or an IP"),
        (lambda fleet: init_fleet(fleet.parent / "new", "plant", "a..b"), "expected a DNS name or an IP address"),
        (lambda fleet: init_fleet(fleet / "broker" / "fleet.json" / "new", "plant", HOST), "cannot be made"),
    ],
)
def test_a_mistake_is_named_and_changes_nothing(fleet, command, words):
    before = {path: path.read_bytes() for path in fleet.rglob("*") if path.is_file() and path.name != "lock"}
    with pytest.raises(ConfigError, match=words):
        command(fleet)
    after = {path: path.read_bytes() for path in fleet.rglob("*") if path.is_file() and path.name != "lock"}
    assert before == after


def test_a_renewed_certificate_is_for_the_same_key(fleet):
    folder = add_device(fleet, "pump-07", years=-0.1)
    key, config = public_key(folder), (folder / "fedtiny.toml").read_text()
    assert certificate(folder).not_valid_after_utc < datetime.now(UTC)
    assert renew(fleet, "pump-07") == folder / "certificate.pem"
    assert certificate(folder).not_valid_after_utc > datetime.now(UTC)
    assert certificate(folder).public_key().public_bytes_raw() == public_key(folder) == key
    assert (folder / "fedtiny.toml").read_text() == config
    assert handshake(fleet / "broker", folder, "devices-ca.pem") == "pump-07"
    shutil.rmtree(folder)  # its home is the device
    assert certificate(renew(fleet, "pump-07").parent).public_key().public_bytes_raw() == key
    old = certificate(fleet / "broker", "broker.pem")
    renew(fleet, "broker")
    assert certificate(fleet / "broker", "broker.pem").serial_number != old.serial_number


def test_a_revoked_device_is_on_the_list_and_can_be_added_anew(fleet):
    folder = add_device(fleet, "pump-07")
    gone = {certificate(folder).serial_number}
    renew(fleet, "pump-07")
    gone.add(certificate(folder).serial_number)
    revoke(fleet, "pump-07")
    assert not folder.exists()
    authority = certificate(fleet / "ca", "devices.pem")
    revoked = x509.load_pem_x509_crl((fleet / "broker" / "devices.crl").read_bytes())
    assert revoked.is_signature_valid(authority.public_key())
    assert {entry.serial_number for entry in revoked} == gone
    assert revoked.next_update_utc == authority.not_valid_after_utc
    assert len(x509.load_pem_x509_crl((fleet / "broker" / "staff.crl").read_bytes())) == 0
    with pytest.raises(ConfigError, match=r"was revoked on .* added again"):
        renew(fleet, "pump-07")
    assert certificate(add_device(fleet, "pump-07")).serial_number not in gone


def test_no_certificate_outlives_its_authority(fleet):
    folder = add_device(fleet, "pump-07", years=40)
    ends = certificate(fleet / "ca", "devices.pem").not_valid_after_utc
    assert certificate(folder).not_valid_after_utc == ends
    assert read_registry(fleet / "broker").valid("pump-07")[-1].not_after == ends


class PowerCut(BaseException):
    pass


@pytest.mark.parametrize("finish", [revoke, lambda fleet, name: None], ids=["revoked again", "added at once"])
def test_a_revoke_that_was_cut_short_stands_in_nobodys_way(fleet, monkeypatch, finish):
    def cut(*arguments):
        raise PowerCut

    folder = add_device(fleet, "pump-07")
    old = public_key(folder)
    with monkeypatch.context() as power:
        power.setattr(type(fleet), "rename", cut)
        with pytest.raises(PowerCut):
            revoke(fleet, "pump-07")
    assert folder.exists()
    finish(fleet, "pump-07")
    assert public_key(add_device(fleet, "pump-07")) != old
    [gone] = (fleet / "revoked").iterdir()
    assert public_key(gone) == old


def test_a_device_is_added_whole_or_can_be_added_again(fleet, monkeypatch):
    """The power goes before each step of adding one to the disk in turn, and nothing is tidied up."""
    steps = 0

    def until_the_cut(real):
        def step(*arguments):
            nonlocal steps
            if steps == 0:
                raise PowerCut
            steps -= 1
            return real(*arguments)

        return step

    for cut in itertools.count():
        name = f"pump-{cut}"
        folder = fleet / "devices" / name
        steps = cut
        with monkeypatch.context() as power:
            for module in (commands, folders, registries):
                power.setattr(module, "atomic_write", until_the_cut(store.atomic_write))
            power.setattr(type(fleet), "rename", until_the_cut(type(fleet).rename))
            power.setattr(shutil, "rmtree", lambda *arguments, **options: None)
            try:
                add_device(fleet, name)
                break
            except PowerCut:
                pass
        assert not folder.exists()
        add_device(fleet, name)
        assert handshake(fleet / "broker", folder, "devices-ca.pem") == name
        [valid] = read_registry(fleet / "broker").valid(name)
        assert int(valid.serial, 16) == certificate(folder).serial_number
    assert cut > 5
    assert not list((fleet / "devices").glob(".*"))
