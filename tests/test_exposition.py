import socket
import sys
import threading
import time
from types import SimpleNamespace
from urllib.request import urlopen

import pytest
from prometheus_client.parser import text_string_to_metric_families

from fedtiny.config import Metrics, load_config
from fedtiny.errors import ConfigError
from fedtiny.exposition.agent import AGENT
from fedtiny.exposition.agent_snapshot import AgentSnapshot
from fedtiny.exposition.coordinator import COORDINATOR
from fedtiny.exposition.coordinator_snapshot import CoordinatorSnapshot, DeviceState, take_snapshot
from fedtiny.exposition.latest import Latest
from fedtiny.exposition.ledger_disk import LedgerDisk
from fedtiny.exposition.server import exposed
from fedtiny.federation.rounds import Rounds, Rules
from fedtiny.ledger import RoundRow
from fedtiny.model.watch import Finding
from fedtiny.protocol.messages import Base, DeviceStatus, HeadInUse, HealthReport, PointStatus

RELEASE = "a" * 64
DAY = "2026-01-01T00:00:00+00:00"


def agent(**status) -> AgentSnapshot:
    status = DeviceStatus(device="pump-07", state="online", **status)
    return AgentSnapshot(status, True, Finding("normal", "0", 2.0, 3.0, 4.0), 1e9, 0.5, 3, 7)


def fleet(devices, **changes) -> CoordinatorSnapshot:
    fields = {
        "strategy": "fedavg",
        "mode": "rounds",
        "base": Base(release_id=RELEASE, revision=2),
        "pinned": False,
        "online": True,
        "devices": {name: DeviceState.of(status, 0.0) for name, status in devices.items()},
        "quarantined": 1,
        "blocked": 2,
        "round_number": 3,
        "round_open": True,
        "wanted": True,
        "waiting": 4,
        "closed": RoundRow(
            number=2, release_id=RELEASE, revision=1, strategy="fedavg", opened_utc=DAY, deadline_s=60.0
        ),
        "fruitless": 3,
        "round_seconds": 1.5,
        "fates": {"used": 5},
        "rejected": {"late": 6},
        "bytes_up": 7,
        "bytes_down": 8,
    }
    return CoordinatorSnapshot(**fields | changes)


@pytest.fixture
def served(unused_tcp_port):
    """A function: serve a table, and return what one scrape brings, by name and labels.

    The loop gives ``snapshot``; where that is None, it never comes round.
    """

    def scrape(table, snapshot, common, ground=None):
        with exposed(Metrics(port=unused_tcp_port), table, common, ground) as latest:
            done = threading.Event()

            def loop():
                while not done.wait(0.001):
                    if snapshot is not None:
                        latest.offer(lambda: snapshot)

            worker = threading.Thread(target=loop)
            worker.start()
            try:
                with urlopen(f"http://127.0.0.1:{unused_tcp_port}/metrics", timeout=10) as answer:
                    text = answer.read().decode()
            finally:
                done.set()
                worker.join()
        families = text_string_to_metric_families(text)
        return {(one.name, frozenset(one.labels.items())): one.value for family in families for one in family.samples}

    return scrape


@pytest.fixture
def unused_tcp_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def of(samples, name, **labels):
    """The values of a metric by the labels that are not given."""
    return {
        tuple(sorted(found - labels.items())): value
        for (each, found), value in samples.items()
        if each == name and labels.items() <= found
    }


def test_an_agent_shows_what_it_knows_and_leaves_out_what_it_does_not(served):
    samples = served(
        AGENT,
        agent(
            phase="watching",
            base=Base(release_id=RELEASE, revision=4),
            head=HeadInUse(use="personal", revision=4),
            windows=12,
            alarms={"machine": "acknowledged"},
            points={"0": PointStatus(learned=1, drift=0.2), "1": PointStatus(learned=1, drift=0.3)},
            rejected={"late": 2},
            peak_rss_mb=70.0,
            health=HealthReport(throttled_now=("throttled",), backlog=9),
        ),
        whose := {"fleet": "plant", "device": "pump-07"},
    )

    def value(name, **labels):
        (found,) = of(samples, name, **whose, **labels).values()
        return found

    assert value("fedtiny_agent_windows_total") == 12
    assert value("fedtiny_agent_score_ratio") == 0.5
    assert value("fedtiny_agent_revision") == 4
    assert value("fedtiny_agent_peak_memory_bytes") == 70e6
    assert value("fedtiny_agent_drift_ratio") == 0.3
    assert value("fedtiny_agent_alarm_standing", kind="machine") == 1
    assert value("fedtiny_agent_alarm_unacknowledged", kind="machine") == 0
    assert value("fedtiny_agent_alarm_standing", kind="sensor") == 0
    assert value("fedtiny_agent_phase", phase="watching") == 1
    assert value("fedtiny_agent_phase", phase="learning") == 0
    assert value("fedtiny_agent_head_in_use", use="personal") == 1
    assert value("fedtiny_agent_throttled", cause="throttled") == 1
    assert value("fedtiny_agent_throttled", cause="under-voltage") == 0
    assert value("fedtiny_agent_rejected_total", reason="late") == 2
    assert value("fedtiny_agent_info", release=RELEASE[:12]) == 1
    assert value("fedtiny_agent_snapshot_age_seconds") < 5
    assert not of(samples, "fedtiny_agent_temperature_celsius")
    assert of(samples, "process_resident_memory_bytes")


def test_the_coordinator_shows_the_fleet_and_three_figures_a_device(served, tmp_path):
    here, before = Base(release_id=RELEASE, revision=2), Base(release_id=RELEASE, revision=1)
    devices = {
        "a": DeviceStatus(device="a", state="online", phase="watching", base=here),
        "b": DeviceStatus(device="b", state="online", phase="learning", base=before, alarms={"machine": "raised"}),
        "c": DeviceStatus(device="c", state="offline", alarms={"sensor": "raised", "anything": "raised"}),
    }
    samples = served(COORDINATOR, fleet(devices), {"fleet": "plant"}, LedgerDisk(tmp_path))
    figures = {name: value for (name, labels), value in samples.items() if labels == {("fleet", "plant")}}
    assert figures["fedtiny_coordinator_devices"] == 3
    assert figures["fedtiny_coordinator_devices_online"] == 2
    assert figures["fedtiny_coordinator_devices_watching"] == 1
    assert figures["fedtiny_coordinator_devices_learning"] == 1
    assert figures["fedtiny_coordinator_devices_behind"] == 1
    assert figures["fedtiny_coordinator_round_duration_seconds"] == 1.5
    assert figures["fedtiny_coordinator_rounds_without_head"] == 3
    assert "fedtiny_coordinator_round_loss_after" not in figures
    assert of(samples, "fedtiny_coordinator_updates_total", fate="used") == {(("fleet", "plant"),): 5}
    assert of(samples, "fedtiny_coordinator_alarms_unacknowledged", fleet="plant") == {
        (("kind", "machine"),): 1,
        (("kind", "sensor"),): 1,
    }
    of_devices = {
        (name, dict(labels)["device"]): value for (name, labels), value in samples.items() if "device" in dict(labels)
    }
    assert of_devices == {
        ("fedtiny_device_up", "a"): 1,
        ("fedtiny_device_up", "b"): 1,
        ("fedtiny_device_up", "c"): 0,
        ("fedtiny_device_behind", "a"): 0,
        ("fedtiny_device_behind", "b"): 1,
        ("fedtiny_device_behind", "c"): 1,
        ("fedtiny_device_alarm", "a"): 0,
        ("fedtiny_device_alarm", "b"): 2,
        ("fedtiny_device_alarm", "c"): 0,
    }


def test_a_coordinator_that_never_gets_to_work_shows_its_disk_its_errors_and_since_when(served, tmp_path, monkeypatch):
    monkeypatch.setattr("fedtiny.exposition.server.PATIENCE_S", 0.05)
    (tmp_path / "objects").mkdir()
    (tmp_path / "ledger.sqlite").write_bytes(b"12345")
    (tmp_path / "objects" / "release").write_bytes(b"123")
    samples = served(COORDINATOR, None, {"fleet": "plant"}, LedgerDisk(tmp_path, errors=4))
    figures = {name: value for (name, labels), value in samples.items() if labels == {("fleet", "plant")}}
    assert figures.pop("fedtiny_coordinator_snapshot_age_seconds") >= 0.05
    assert figures.pop("fedtiny_coordinator_disk_free_bytes") > 0
    assert figures == {"fedtiny_coordinator_ledger_bytes": 8, "fedtiny_coordinator_storage_errors_total": 4}


def test_a_disk_that_says_nothing_spoils_no_scrape(served, tmp_path, monkeypatch):
    monkeypatch.setattr("fedtiny.exposition.server.PATIENCE_S", 0.05)
    samples = served(COORDINATOR, None, {"fleet": "plant"}, LedgerDisk(tmp_path / "gone"))
    assert not of(samples, "fedtiny_coordinator_disk_free_bytes")
    assert of(samples, "fedtiny_coordinator_ledger_bytes") == {(("fleet", "plant"),): 0}


def test_a_device_that_was_not_heard_for_five_minutes_is_away_whatever_the_broker_has_retained():
    said = DeviceState.of(DeviceStatus(device="a", state="online"), 1000.0)
    assert said.at(1299.0).online
    assert not said.at(1301.0).online
    assert not DeviceState.of(DeviceStatus(device="a", state="offline"), 1000.0).at(1000.0).online


@pytest.fixture
def taken(monkeypatch):
    """A function: the snapshot of a coordinator with these devices and rounds, the newest first, 1,000 s after boot."""
    monkeypatch.setattr("fedtiny.exposition.coordinator_snapshot.time", SimpleNamespace(monotonic=lambda: 1000.0))

    def take(devices=(), rounds=(), *, online=True):
        heard = {
            name: DeviceState.of(DeviceStatus(device=name, state="online"), at) for name, at in dict(devices).items()
        }
        ledger = SimpleNamespace(standings=lambda: {"gone": "blocked"}, rounds=lambda count: rounds[:count], fates={})
        keeper = SimpleNamespace(rounds=Rounds(Rules(), Base(release_id=RELEASE, revision=2)), lasted_s=None)
        connection = SimpleNamespace(bytes_up=0, bytes_down=0)
        return take_snapshot(load_config(None), ledger, keeper, connection, heard, {}, online=online)

    return take


def test_only_while_the_broker_is_there_does_silence_mean_away(taken):
    devices = {"heard": 900.0, "silent": 600.0, "gone": 900.0}
    assert {name: device.online for name, device in taken(devices).devices.items()} == {"heard": True, "silent": False}
    assert all(device.online for device in taken(devices, online=False).devices.values())
    assert taken(devices).count(lambda device: True) == 1


def test_rounds_without_a_head_are_counted_from_the_last_head_on(taken):
    def row(number, **how):
        base = {"release_id": RELEASE, "revision": 1, "strategy": "fedavg", "opened_utc": DAY, "deadline_s": 60.0}
        return RoundRow(number=number, **base, **how)

    lost = [row(number, closed_utc=DAY, outcome="no quorum") for number in range(40, 4, -1)]
    assert taken(rounds=[row(9), *lost[:3], row(5, closed_utc=DAY, outcome="revision 2", made=2), *lost]).fruitless == 3
    assert taken(rounds=lost).fruitless == 10
    assert taken().fruitless == 0


def test_a_loop_that_hangs_shows_its_last_figures_and_their_age():
    latest = Latest()
    nothing, age = latest.ask(0.01)
    assert nothing is None
    assert age >= 0.01
    latest.offer(lambda: "asked for before, answered late")
    old = latest.ask(0.05)
    assert old[0] == "asked for before, answered late"
    assert old[1] >= 0.05
    asking = threading.Thread(target=lambda: answers.append(latest.ask(10)))
    answers = []
    asking.start()
    deadline = time.monotonic() + 10
    while asking.is_alive() and time.monotonic() < deadline:
        latest.offer(lambda: "new")
    assert answers[0][0] == "new"
    asking.join()


def test_nobody_who_asks_means_no_snapshot():
    Latest().offer(lambda: pytest.fail("a snapshot was made"))


def test_a_port_in_use_is_one_clear_error(unused_tcp_port):
    with socket.create_server(("127.0.0.1", unused_tcp_port)):
        words = rf"metrics\.port: cannot listen on 127\.0\.0\.1:{unused_tcp_port}: Address already in use"
        with pytest.raises(ConfigError, match=words), exposed(Metrics(port=unused_tcp_port), AGENT, {}, None):
            pass


def test_without_the_library_the_error_says_what_to_install(monkeypatch, unused_tcp_port):
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(ConfigError, match=r"pip install 'fedtiny\[metrics\]'"):
        exposed(Metrics(port=unused_tcp_port), AGENT, {}, None).__enter__()
    with exposed(Metrics(), AGENT, {}, None) as latest:
        assert latest is None
