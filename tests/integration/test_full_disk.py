"""A coordinator whose disk is full, as its operators see it."""

import resource
import time
from urllib.error import URLError
from urllib.request import urlopen

import pytest
from prometheus_client.parser import text_string_to_metric_families

from fedtiny.protocol import codec, topics
from fedtiny.protocol.messages import DeviceStatus

WITHIN_S = 40
pytestmark = [pytest.mark.slow, pytest.mark.parametrize("broker_process", ["embedded"], indirect=True)]


def until(port, holds):
    """The figures of a scrape for which ``holds``, by name alone."""
    deadline, figures = time.monotonic() + WITHIN_S, {}
    while time.monotonic() < deadline:
        try:
            with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
                families = text_string_to_metric_families(answer.read().decode())
        except URLError:  # it starts
            time.sleep(0.1)
            continue
        figures = {sample.name: sample.value for family in families for sample in family.samples}
        if holds(figures):
            return figures
    raise AssertionError(f"not within {WITHIN_S} s: {figures}")


def test_a_coordinator_on_a_full_disk_is_seen_and_goes_on_when_there_is_space(coordinator, watcher, unused_port):
    process = coordinator("--metrics-port", unused_port)
    until(unused_port, lambda now: now.get("fedtiny_coordinator_broker_connected") == 1)
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (512, resource.RLIM_INFINITY))
    status = codec.encode(DeviceStatus(device="pump-07", state="online"))
    watcher.connection.publish(topics.device_topic("plant", "pump-07", "status"), status, retain=True)
    full = until(unused_port, lambda now: now["fedtiny_coordinator_storage_errors_total"] > 0)
    assert full["fedtiny_coordinator_ledger_bytes"] > 0
    assert full["fedtiny_coordinator_disk_free_bytes"] > 0
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    until(unused_port, lambda now: now.get("fedtiny_device_up") == 1)
    assert process.poll() is None
