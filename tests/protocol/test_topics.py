import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedtiny.errors import ConfigError, ProtocolError
from fedtiny.protocol import topics
from fedtiny.protocol.topics import DEVICE_KINDS, GLOBAL_KINDS, Topic

IDS = st.from_regex(topics.ID_PATTERN, fullmatch=True)


@given(fleet=IDS, device=IDS, shards=st.integers(1, 1024))
def test_parsing_is_the_inverse_of_building(fleet, device, shards):
    for kind in GLOBAL_KINDS:
        assert topics.parse(topics.fleet_topic(fleet, kind)) == Topic(fleet, kind)
    for kind in DEVICE_KINDS:
        assert topics.parse(topics.device_topic(fleet, device, kind)) == Topic(fleet, kind, device)
    built = topics.update_topic(fleet, device, shards)
    assert topics.parse(built) == Topic(fleet, "update", device)
    assert int(built.split("/")[4]) < shards


@pytest.mark.parametrize(
    "topic",
    [
        "",
        "fedtiny/v1/plant",
        "fedtiny/v2/plant/global/head",
        "fedtiny/v1/plant/global/update",
        "fedtiny/v1/plant/global/head/",
        "fedtiny/v1/plant/global/head\n",
        "/fedtiny/v1/plant/global/head",
        "fedtiny/v1//global/head",
        "fedtiny/v1/+/global/head",
        "fedtiny/v1/plant/device/pump-1/secrets",
        "fedtiny/v1/plant/device/Pump/status",
        "fedtiny/v1/plant/device/pump 1/status",
        f"fedtiny/v1/plant/device/{'p' * 64}/status",
        "fedtiny/v1/plant/up/pump-1/update",
        "fedtiny/v1/plant/up/-1/pump-1/update",
        "fedtiny/v1/plant/up/10000/pump-1/update",
    ],
)
def test_what_is_not_ours_is_refused(topic):
    with pytest.raises(ProtocolError, match=re.escape("is not one of fedtiny's")):
        topics.parse(topic)


@given(st.text(max_size=80))
def test_any_text_is_a_topic_or_a_protocol_error(text):
    with pytest.raises(ProtocolError):
        topics.parse(text)


def matches(pattern: str, topic: str) -> bool:
    """MQTT's own rule for subscriptions."""
    regex = "/".join({"+": "[^/]+", "#": ".*"}.get(part, re.escape(part)) for part in pattern.split("/"))
    return re.fullmatch(regex, topic) is not None


@given(device=IDS, shards=st.integers(1, 1024))
def test_subscriptions_cover_what_is_published(device, shards):
    update = topics.update_topic("plant", device, shards)
    status = topics.device_topic("plant", device, "status")
    assert matches(topics.update_filter("plant"), update)
    assert matches(topics.device_topic("plant", "+", "status"), status)
    for topic in (update, status, topics.fleet_topic("plant", "head")):
        assert matches(topics.everything_filter("plant"), topic)
        assert not matches(topics.everything_filter("other"), topic)


def test_a_bad_id_is_named():
    with pytest.raises(ConfigError, match="device 'Pump 1': expected lower-case letters"):
        topics.check_id("Pump 1", "device")
