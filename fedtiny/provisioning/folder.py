"""A fleet's folder: what lies where, and how it changes without ever being half changed.

    ca/           keys of the two authorities: this folder belongs on a computer of the operators, not on the broker's
    broker/       what the broker's computer gets; fleet.json in it records every certificate
    coordinator/  what the coordinator gets, and a folder alike for each operator
    devices/ID/   what a device gets
    revoked/      folders of those that were revoked

``fleet.json`` is written first and decides; lists for brokers are written anew from it each time. A folder of an
identity gets its name last: one that was cut short begins with a dot.
"""

import base64
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from fedtiny.errors import ConfigError
from fedtiny.provisioning import mosquitto
from fedtiny.provisioning.access import Role
from fedtiny.provisioning.certificates import Authority, certificate_pem, key_pem, serial_text
from fedtiny.provisioning.registry import Issued, Registry, read_registry, write_registry
from fedtiny.store import atomic_write, locked

SECRET, PRIVATE = 0o600, 0o700  # modes of files with a key, and of all folders
CERTIFICATE, KEY, CA, DEVICES_CA, CONFIG = "certificate.pem", "key.pem", "ca.pem", "devices-ca.pem", "fedtiny.toml"
FOLDERS = ("ca", "broker", "devices", "revoked")


class FleetFolder:
    """The folder at ``path``, and its registry as it will be at the next publish()."""

    def __init__(self, path: Path, registry: Registry) -> None:
        self.path = path
        self.registry = registry
        self.broker = path / "broker"

    @classmethod
    @contextmanager
    def opened(cls, path: Path) -> Iterator[Self]:
        """An existing one, which no other process changes meanwhile; ConfigError when it cannot be used."""
        read_registry(path / "broker")  # a lock in a folder of something else would be litter
        try:
            with locked(path):
                yield cls(path, read_registry(path / "broker"))
        except OSError as error:
            raise ConfigError(f"{error.filename or path}: {error.strerror}") from None

    @classmethod
    def create(cls, path: Path, registry: Registry, years: float) -> Self:
        """A new one with its authorities, which count for ``years``."""
        for folder in (path, *(path / name for name in FOLDERS)):
            folder.mkdir(PRIVATE, parents=True)
        for name in ("devices", "staff"):
            authority = Authority.create(f"fedtiny {registry.fleet} {name}", years)
            atomic_write(path / "ca" / f"{name}.key", key_pem(authority.key), SECRET)
            atomic_write(path / "ca" / f"{name}.pem", certificate_pem(authority.certificate))
            shutil.copy(path / "ca" / f"{name}.pem", path / "broker" / f"{name}-ca.pem")
        return cls(path, registry)

    def authority(self, name: str) -> Authority:
        """That of the "devices", or of the "staff", which has also signed the broker."""
        certificate = x509.load_pem_x509_certificate((self.path / "ca" / f"{name}.pem").read_bytes())
        return Authority(certificate, load_key(self.path / "ca" / f"{name}.key"))

    def home(self, name: str, role: Role) -> Path:
        """Where the folder of ``name`` is, if it was not moved away."""
        return self.path / "devices" / name if role == "device" else self.path / name

    def newest(self, name: str) -> Issued:
        """The newest certificate that was issued to ``name``; ConfigError when it never had one."""
        found = [one for one in self.registry.certificates if one.name == name]
        if not found:
            raise ConfigError(f"{self.path}: {name!r} has no certificate of this fleet")
        return found[-1]

    def issue(self, name: str, role: Role, key: Ed25519PublicKey, years: float) -> x509.Certificate:
        """A certificate for ``key``, in the registry from now on."""
        certificate = self.authority("devices" if role == "device" else "staff").issue(name, key, "client", years)
        entry = Issued(
            name=name,
            role=role,
            serial=serial_text(certificate.serial_number),
            key=base64.b64encode(key.public_bytes_raw()).decode(),
            not_after=certificate.not_valid_after_utc,
        )
        self._record((*self.registry.certificates, entry))
        return certificate

    def revoke(self, name: str) -> None:
        """Let the certificates of ``name`` count no more."""
        now = datetime.now(UTC).replace(microsecond=0)
        self._record(
            one.model_copy(update={"revoked": now}) if one.name == name and one.revoked is None else one
            for one in self.registry.certificates
        )

    def put_away(self, name: str) -> None:
        """Move the folder of ``name``, whose certificates count no more, to ``revoked/``."""
        newest = self.newest(name)
        home = self.home(name, newest.role)
        if home.exists():
            home.rename(self.path / "revoked" / f"{name}-{newest.serial[:8]}")

    def certify_broker(self, key: Ed25519PublicKey, years: float) -> Path:
        """Write the broker's certificate, for the host that the fleet knows it by."""
        certificate = self.authority("staff").issue("broker", key, "server", years, self.registry.host)
        atomic_write(self.broker / "broker.pem", certificate_pem(certificate))
        return self.broker / "broker.pem"

    def pins(self) -> dict[str, list[str]]:
        """The public keys (base64) that everybody in the fleet believes, as ``[trust]`` has them."""
        keys: dict[str, list[str]] = {"coordinator": [], "operator": []}
        for one in self.registry.valid():
            if one.role != "device" and one.key not in keys[one.role]:
                keys[one.role].append(one.key)
        return keys

    def connection(self, role: Role) -> dict[str, Any]:
        """``[broker]`` of someone in ``role``."""
        port = self.registry.port if role == "device" else self.registry.staff_port
        return {"host": self.registry.host, "port": port, "ca": CA, "certificate": CERTIFICATE, "key": KEY}

    def publish(self) -> None:
        """Write the registry, and from it what Mosquitto reads."""
        write_registry(self.broker, self.registry)
        for name in ("devices", "staff"):
            revoked = [
                (int(one.serial, 16), one.revoked)
                for one in self.registry.certificates
                if one.revoked is not None and (one.role == "device") == (name == "devices")
            ]
            atomic_write(self.broker / f"{name}.crl", self.authority(name).revocation_list(revoked))
        for name, text in mosquitto.files(self.registry).items():
            atomic_write(self.broker / name, text.encode())

    def _record(self, certificates: Iterator[Issued] | tuple[Issued, ...]) -> None:
        self.registry = self.registry.model_copy(update={"certificates": tuple(certificates)})


def load_key(path: Path) -> Ed25519PrivateKey:
    """A private key of ours."""
    key = load_pem_private_key(path.read_bytes(), None)
    assert isinstance(key, Ed25519PrivateKey)
    return key


def write_identity(folder: Path, key: Ed25519PrivateKey, files: Mapping[str, bytes]) -> None:
    """Make ``folder`` with the key and ``files``, none of them readable by anybody else."""
    folder.mkdir(PRIVATE)
    atomic_write(folder / KEY, key_pem(key), SECRET)
    for name, data in files.items():
        atomic_write(folder / name, data, SECRET)


def staff_config(fleet: str, **sections: Mapping[str, Any]) -> str:
    """A ``fedtiny.toml`` with what stands in it and nothing else; JSON's texts and lists of texts are TOML's too."""
    lines = [f"fleet = {json.dumps(fleet)}"]
    for name, values in sections.items():
        lines += ["", f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in values.items())]
    return "\n".join(lines) + "\n"
