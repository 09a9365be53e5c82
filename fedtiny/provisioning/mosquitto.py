"""Mosquitto's configuration and access lists for a fleet.

Two listeners, each with a certificate authority and an access list of its own. On that of the devices the client id
is the certificate's name, so that no device can throw another out by calling itself like it; the same rule would
forbid an operator to run two tools at once. A certificate of the devices' authority is never more than a device,
whatever name stands in it.
"""

from collections.abc import Iterable
from pathlib import PurePosixPath

from fedtiny.provisioning.access import Rights, rights
from fedtiny.provisioning.registry import Registry

FOLDER = PurePosixPath("/etc/mosquitto/fedtiny")  # where the broker's files are copied to

DURABLE = """\
# Retained messages and sessions survive a restart; a crash loses at most the last autosave interval (seconds).
persistence true
persistence_location /var/lib/mosquitto/
autosave_interval 10
persistent_client_expiration 30d

# The default of 1000 silently drops acknowledged updates of a big round.
max_queued_messages 100000

# Room for a release (8 MiB) and its envelope.
message_size_limit 8454144

# Small messages at once, not bundled.
set_tcp_nodelay true

log_dest stderr
log_type error
log_type warning
log_type notice
"""

_HEADER = """\
# Mosquitto (2.0 or later) for a fleet with certificates, as fedtiny fleet init writes it. See broker/README.md.

# Each listener has an access list of its own.
per_listener_settings true
"""

_LISTENER = """
# {who}
listener {port}
certfile {folder}/broker.pem
keyfile {folder}/broker.key
cafile {folder}/{role}-ca.pem
crlfile {folder}/{role}.crl
require_certificate true
allow_anonymous false
acl_file {folder}/acl-{role}
use_identity_as_username true
"""


def files(registry: Registry) -> dict[str, str]:
    """What Mosquitto reads, by name; nothing for a fleet with one port, which is not for Mosquitto."""
    if registry.port == registry.staff_port:
        return {}
    return {
        "mosquitto.conf": configuration(registry.port, registry.staff_port),
        "acl-devices": device_acl(registry.fleet),
        "acl-staff": staff_acl(registry),
    }


def configuration(port: int, staff_port: int) -> str:
    """``mosquitto.conf``."""
    devices = _LISTENER.format(who="Devices, and nobody else.", port=port, folder=FOLDER, role="devices")
    staff = _LISTENER.format(who="Coordinator and operators.", port=staff_port, folder=FOLDER, role="staff")
    return f"{_HEADER}{devices}use_username_as_clientid true\n{staff}\n{DURABLE}"


def device_acl(fleet: str) -> str:
    """What each device may do; ``%u`` stands for the name in its certificate."""
    return "# Of every device.\n" + "".join(_rules("pattern", rights("device", fleet, "%u")))


def staff_acl(registry: Registry) -> str:
    """What coordinator and operators may do, each by name."""
    staff = {one.name: one.role for one in registry.valid() if one.role != "device"}
    lists = (
        "".join([f"user {name}\n", *_rules("topic", rights(role, registry.fleet, name))])
        for name, role in staff.items()
    )
    return "\n".join(lists)


def _rules(word: str, granted: Rights) -> Iterable[str]:
    for access, filters in (("deny", granted.hidden), ("write", granted.writes), ("read", granted.reads)):
        yield from (f"{word} {access} {topic}\n" for topic in filters)
