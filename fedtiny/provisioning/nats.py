"""The rules of a fleet for nats-server, the embedded broker: a user a certificate, with the rights of its holder.

nats-server knows a client by the whole name in its certificate and reads no revocation lists: who is not among the
users is refused. MQTT topics are NATS subjects there, "/" written ".", "+" written "*".
"""

import json

from fedtiny.provisioning.access import rights
from fedtiny.provisioning.registry import Registry

# Where nats-server delivers QoS 1 messages. A client cannot subscribe there by itself.
DELIVERY = "$MQTT.sub.>"


def users(registry: Registry) -> str:
    """The list of users, as it stands in nats-server's configuration."""
    entries = []
    for one in registry.valid():
        granted = rights(one.role, registry.fleet, one.name)
        permissions = {
            "publish": _subjects(granted.writes),
            "subscribe": {"allow": [*_subjects(granted.reads), DELIVERY], "deny": _subjects(granted.hidden)},
        }
        name = f"SERIALNUMBER={one.serial},CN={one.name}"  # RFC 2253, as Go writes it
        entries.append({"user": name, "allowed_connection_types": ["MQTT"], "permissions": permissions})
    return json.dumps(entries, indent=1)


def _subjects(filters: tuple[str, ...]) -> list[str]:
    """MQTT's ``a/#`` means ``a`` too, NATS's ``a.>`` does not."""
    found = []
    for topic in filters:
        subject = topic.replace("/", ".").replace("+", "*")
        found += [subject[:-2], subject[:-1] + ">"] if subject.endswith(".#") else [subject]
    return found
