"""What an operator does to a fleet's identities: found the fleet, add, renew, revoke.

Two authorities: that of the staff has signed the broker, the coordinator and the operators, and is the one that
devices believe; that of the devices can make devices and nothing else. Each identity has one Ed25519 key, for TLS and
for signatures.
"""

import base64
import ipaddress
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from fedtiny.config import load_config
from fedtiny.errors import ConfigError
from fedtiny.protocol.topics import check_id
from fedtiny.provisioning.access import Role
from fedtiny.provisioning.certificates import certificate_pem, key_pem
from fedtiny.provisioning.folder import (
    CA,
    CERTIFICATE,
    CONFIG,
    DEVICES_CA,
    KEY,
    PRIVATE,
    SECRET,
    FleetFolder,
    load_key,
    staff_config,
    write_identity,
)
from fedtiny.provisioning.registry import Registry
from fedtiny.scaffold import render
from fedtiny.store import atomic_write

AUTHORITY_YEARS = 30.0
YEARS = 10.0
STAFF: tuple[Role, ...] = ("coordinator", "operator")
RESERVED = frozenset({"ca", "broker", "devices", "revoked", "lock", "coordinator", "operator"})
NOTHING: Mapping[str, Any] = MappingProxyType({})

_LABEL = r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_DNS_NAME = re.compile(rf"(?=.{{1,253}}$){_LABEL}(\.{_LABEL})*")


def init_fleet(
    folder: Path, fleet: str, host: str, *, port: int = 8883, staff_port: int = 8884, years: float = YEARS
) -> None:
    """Make the folder of a new fleet, whole or not at all.

    host: DNS name or IP address under which devices and staff reach the broker; its certificate is for this one.
    port: for devices. staff_port: for coordinator and operators; equal for the embedded broker, which has one
    listener. years: how long the certificates of broker, coordinator and operator count.
    Raises ConfigError when ``folder`` exists or a value cannot be used.
    """
    check_id(fleet, "fleet")
    _check_host(host)
    if folder.exists():
        raise ConfigError(f"{folder}: exists already; not overwritten")
    draft = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(draft, ignore_errors=True)  # of an attempt that was cut short
    try:
        made = FleetFolder.create(
            draft, Registry(fleet=fleet, host=host, port=port, staff_port=staff_port), AUTHORITY_YEARS
        )
        key = Ed25519PrivateKey.generate()
        atomic_write(made.broker / "broker.key", key_pem(key), SECRET)
        made.certify_broker(key.public_key(), years)
        keys = {role: Ed25519PrivateKey.generate() for role in STAFF}
        certificates = {role: made.issue(role, role, key.public_key(), years) for role, key in keys.items()}
        for role, key in keys.items():  # both keys are pinned in either configuration
            write_identity(made.home(role, role), key, _staff_files(made, role, certificates[role]))
        made.publish()
        draft.rename(folder)
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be made: {error.strerror}") from None
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def add_device(
    folder: Path, device: str, *, source: str = "replay", given: Mapping[str, Any] = NOTHING, years: float = YEARS
) -> Path:
    """Make the one folder that a new device needs, and return it.

    source: kind of the device's source. given: more settings for its ``fedtiny.toml``, by key ("source.path").
    Raises ConfigError, and adds nothing, when the device is there already or a value cannot be used.
    """
    check_id(device, "device")
    if device in RESERVED:
        raise ConfigError(f"device {device!r}: this name is reserved")
    with FleetFolder.opened(folder) as fleet:
        return _add(
            fleet, device, "device", years, lambda certificate: _device_files(fleet, certificate, device, source, given)
        )


def add_operator(folder: Path, name: str, *, years: float = YEARS) -> Path:
    """Make the folder of one more operator and return it.

    The coordinator and devices that were set up before do not know this operator's key: they refuse the operator's
    commands until it stands under ``operator`` in the ``[trust]`` of their configuration.
    """
    check_id(name, "operator")
    if name in RESERVED - {"operator"}:
        raise ConfigError(f"operator {name!r}: this name is reserved")
    with FleetFolder.opened(folder) as fleet:
        return _add(fleet, name, "operator", years, lambda certificate: _staff_files(fleet, "operator", certificate))


def renew(folder: Path, name: str, *, years: float = YEARS) -> Path:
    """A new certificate for the key that ``name`` has, "broker" included; returns the one file to copy.

    The old one counts until it expires. Raises ConfigError when ``name`` has none, or was revoked.
    """
    with FleetFolder.opened(folder) as fleet:
        if name == "broker":
            return fleet.certify_broker(load_key(fleet.broker / "broker.key").public_key(), years)
        newest = fleet.newest(name)
        if newest.revoked is not None:
            raise ConfigError(
                f"{name!r} was revoked on {newest.revoked:%Y-%m-%d}; it can be added again, with a new key"
            )
        key = Ed25519PublicKey.from_public_bytes(base64.b64decode(newest.key))
        certificate = fleet.issue(name, newest.role, key, years)
        fleet.publish()
        home = fleet.home(name, newest.role)
        home.mkdir(PRIVATE, exist_ok=True)  # it may have been moved to the device
        atomic_write(home / CERTIFICATE, certificate_pem(certificate), SECRET)
        return home / CERTIFICATE


def revoke(folder: Path, name: str) -> None:
    """Let no certificate of the device or operator ``name`` count any more; its folder goes to ``revoked/``.

    The embedded broker ends its connections at once. Mosquitto wants the new files of ``broker/`` and a restart.
    """
    with FleetFolder.opened(folder) as fleet:
        if fleet.newest(name).role == "coordinator":
            raise ConfigError("the coordinator cannot be revoked: every device has its key; make a new fleet")
        fleet.revoke(name)
        fleet.publish()
        fleet.put_away(name)


def _check_host(host: str) -> None:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        if not _DNS_NAME.fullmatch(host):
            raise ConfigError(f"host {host!r}: expected a DNS name or an IP address") from None


def _add(
    fleet: FleetFolder, name: str, role: Role, years: float, files: Callable[[x509.Certificate], dict[str, bytes]]
) -> Path:
    home = fleet.home(name, role)
    draft = home.with_name(f".{name}")
    if draft.exists():  # an attempt that was cut short; its key was never handed out
        shutil.rmtree(draft)
        fleet.revoke(name)
    if valid := fleet.registry.valid(name):
        raise ConfigError(
            f"{name!r} has a certificate until {valid[-1].not_after:%Y-%m-%d}; not overwritten. A new one for the same "
            f"key: fedtiny fleet renew {name}. A new key: fedtiny fleet revoke {name}, then add it again"
        )
    if any(one.name == name for one in fleet.registry.certificates):  # a revoke that was cut short left the folder
        fleet.put_away(name)
    if home.exists():
        raise ConfigError(f"{home}: exists already; not overwritten")
    key = Ed25519PrivateKey.generate()
    certificate = fleet.issue(name, role, key.public_key(), years)
    try:
        write_identity(draft, key, files(certificate))
        load_config(draft / CONFIG)
    except BaseException:  # Ctrl-C too: a key that was never handed out must not stay
        shutil.rmtree(draft, ignore_errors=True)
        raise
    fleet.publish()
    draft.rename(home)
    return home


def _device_files(
    fleet: FleetFolder, certificate: x509.Certificate, device: str, source: str, given: Mapping[str, Any]
) -> dict[str, bytes]:
    trust = {**fleet.pins(), "key": KEY, "certificate": CERTIFICATE}
    settings: dict[str, Any] = {"device": device, "fleet": fleet.registry.fleet}
    for section, values in (("broker", fleet.connection("device")), ("trust", trust)):
        settings |= {f"{section}.{key}": value for key, value in values.items()}
    return {
        CA: certificate_pem(fleet.authority("staff").certificate),
        CERTIFICATE: certificate_pem(certificate),
        CONFIG: render({**settings, **given}, source).encode(),
    }


def _staff_files(fleet: FleetFolder, role: Role, certificate: x509.Certificate) -> dict[str, bytes]:
    trust: dict[str, Any] = {**fleet.pins(), "devices": DEVICES_CA, "key": KEY}
    return {
        CA: certificate_pem(fleet.authority("staff").certificate),
        DEVICES_CA: certificate_pem(fleet.authority("devices").certificate),
        CERTIFICATE: certificate_pem(certificate),
        CONFIG: staff_config(fleet.registry.fleet, broker=fleet.connection(role), trust=trust).encode(),
    }
