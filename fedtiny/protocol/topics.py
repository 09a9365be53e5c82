"""Topic names of a fleet: build them and take them apart.

fedtiny/v1/<fleet>/global/{release,head,round,status,command}
fedtiny/v1/<fleet>/up/<shard>/<device>/update
fedtiny/v1/<fleet>/device/<device>/{status,score,alarm,command}
"""

import re
import zlib
from dataclasses import dataclass

from fedtiny.errors import ConfigError, ProtocolError

ROOT = "fedtiny/v1"
ID_PATTERN = r"[a-z0-9][a-z0-9_-]{0,62}"
GLOBAL_KINDS = ("release", "head", "round", "status", "command")
DEVICE_KINDS = ("status", "score", "alarm", "command")
CBOR_KINDS = ("release", "head", "update")  # the others are JSON

_ID = re.compile(ID_PATTERN)
_TOPIC = re.compile(
    rf"{ROOT}/(?P<fleet>{ID_PATTERN})/(?:"
    rf"global/(?P<global>{'|'.join(GLOBAL_KINDS)})"
    rf"|up/(?P<shard>[0-9]{{1,4}})/(?P<updater>{ID_PATTERN})/update"
    rf"|device/(?P<device>{ID_PATTERN})/(?P<kind>{'|'.join(DEVICE_KINDS)}))"
)


def check_id(value: str, what: str) -> str:
    """Return ``value`` when it is a fleet or device id, else raise ConfigError naming ``what``."""
    if not _ID.fullmatch(value):
        raise ConfigError(
            f"{what} {value!r}: expected lower-case letters, digits, '-' or '_', at most 63, "
            "beginning with a letter or digit"
        )
    return value


@dataclass(frozen=True)
class Topic:
    """A parsed topic. ``device`` is None for global topics; ``kind`` is its last part."""

    fleet: str
    kind: str
    device: str | None = None


def parse(topic: str) -> Topic:
    """Take a topic name apart; ProtocolError when it is not one of ours."""
    match = _TOPIC.fullmatch(topic)
    if match is None:
        raise ProtocolError(f"topic {topic[:120]!r} is not one of fedtiny's")
    if match["global"]:
        return Topic(match["fleet"], match["global"])
    if match["updater"]:
        return Topic(match["fleet"], "update", match["updater"])
    return Topic(match["fleet"], match["kind"], match["device"])


def fleet_topic(fleet: str, kind: str) -> str:
    """Topic of one kind of global message, e.g. ``fedtiny/v1/plant/global/head``."""
    return f"{ROOT}/{fleet}/global/{kind}"


def device_topic(fleet: str, device: str, kind: str) -> str:
    """Topic of one device's ``kind``; ``+`` as ``device`` subscribes to all devices."""
    return f"{ROOT}/{fleet}/device/{device}/{kind}"


def update_topic(fleet: str, device: str, shards: int) -> str:
    """Topic on which ``device`` publishes updates: its shard is crc32(device) mod ``shards``."""
    return f"{ROOT}/{fleet}/up/{zlib.crc32(device.encode()) % shards}/{device}/update"


def update_filter(fleet: str) -> str:
    """Subscription for the updates of all shards and devices."""
    return f"{ROOT}/{fleet}/up/+/+/update"


def everything_filter(fleet: str) -> str:
    """Subscription for all topics of a fleet."""
    return f"{ROOT}/{fleet}/#"
