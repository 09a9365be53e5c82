"""The real processes, over real brokers, killed for real."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import closing

import numpy as np
import psutil
import pytest

from fedtiny.errors import ProtocolError
from fedtiny.federation.updates import pack_delta
from fedtiny.ledger import Ledger
from fedtiny.ledger.spans import score_totals
from fedtiny.model.artifact import Release, sealed
from fedtiny.protocol import codec, topics
from fedtiny.protocol.messages import (
    Base,
    Command,
    DeviceStatus,
    ReleaseMessage,
    UpdateMessage,
)
from fedtiny.transport import Connection, Received

FLEET, WITHIN_S = "plant", 60


def send_update(connection, release, device, round_message, **changes):
    """A well-formed update of a device that only this test knows."""
    delta = np.full(release.head.weights.shape, 0.01, np.float32)
    fields = {
        "device": device,
        "round_number": round_message.round_number,
        "base": round_message.base,
        "kind": "delta",
        "num_examples": 10,
        "payload": pack_delta(delta),
        "output_min": -1.0,
        "output_max": 1.0,
        "loss_before": 1.0,
        "loss_after": 0.5,
    } | changes
    connection.publish(topics.update_topic(FLEET, device, 1), codec.encode(UpdateMessage(**fields)))


def announce(connection, device, base):
    status = DeviceStatus(device=device, state="online", phase="watching", base=base)
    connection.publish(topics.device_topic(FLEET, device, "status"), codec.encode(status), retain=True)


@pytest.mark.slow
def test_agents_learn_answer_and_apply_the_new_head(broker, watcher, coordinator, agent, tmp_path):
    process = coordinator("--devices", 2, "--rounds", 2)
    devices = ["pump-07", "fan-08"]
    for device in devices:
        agent(device, "--learn-windows", 40, "--hold-for-revision", 2)
    watcher.head(2)
    for device in devices:
        done = watcher.status(device, lambda m: m.source_done, f"{device} at the end of its recording")
        assert done.base.revision == 2
        assert done.threshold is not None
        watcher.until(
            lambda t, m, d=device: t.kind == "alarm" and t.device == d and m.state == "raised", f"{device}'s alarm"
        )
    rounds = [m for t, m in watcher.seen if t.kind == "round" and m.state == "closed"]
    assert [set(m.answered) for m in rounds] == [set(devices)] * 2
    assert rounds[-1].loss_after < rounds[0].loss_before
    with closing(Ledger(tmp_path / "coordinator", guest=True)) as ledger:
        deadline = time.monotonic() + 20
        while {row.device for row in ledger.alarms("", "9") if row.state == "raised"} != set(devices):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.terminate()
        assert process.wait(20) == 0
        scored = score_totals(ledger, 0, 2**40)
    assert all(scored[device].windows >= 32 and scored[device].over > 0 for device in devices)


@pytest.mark.slow
def test_a_killed_agent_goes_on_where_it_was(watcher, coordinator, agent, tmp_path):
    coordinator("--rounds", 1)
    first = agent("pump-07", "--learn-windows", 40, "--hold-for-revision", 1)
    before = watcher.status("pump-07", lambda m: m.phase == "watching" and m.base.revision == 1, "revision 1")
    watcher.status("pump-07", lambda m: m.source_done, "the end of the recording")
    first.send_signal(signal.SIGKILL)
    first.wait()
    watcher.status("pump-07", lambda m: m.state == "offline", "the will")
    agent("pump-07", "--learn-windows", 40)
    after = watcher.status("pump-07", lambda m: m.state == "online" and m.boot_id != before.boot_id, "its return")
    assert (after.phase, after.base, after.learned) == ("watching", before.base, 1.0)


def kill_half_answered(watcher, coordinator, release, arguments):
    """Kill a coordinator in its first round, which device a has answered and b has not; returns the open round."""
    first = coordinator(*arguments)
    for device in ("a", "b"):
        announce(watcher.connection, device, Base(release_id=release.id, revision=0))
    opened = watcher.open_round(1)
    send_update(watcher.connection, release, "a", opened)
    watcher.until(lambda t, m: t.kind == "update", "the update")
    assert watcher.connection.drain(10)
    first.send_signal(signal.SIGKILL)
    first.wait()
    return opened


@pytest.mark.slow
def test_a_killed_coordinator_resumes_its_round_with_the_updates_it_had(broker, watcher, coordinator, release):
    arguments = ("--devices", 2, "--quorum", 2, "--deadline", 600, "--rounds", 1)
    opened = kill_half_answered(watcher, coordinator, release, arguments)
    watcher.seen.clear()
    coordinator(*arguments)
    assert watcher.open_round(1).base == opened.base  # the same round, announced anew
    send_update(watcher.connection, release, "b", opened)
    head = watcher.head(1)
    assert (head.devices, head.num_examples) == (2, 20)


@pytest.mark.slow
def test_a_round_without_a_quorum_ends_at_its_deadline_and_the_next_one_opens(watcher, coordinator, release):
    coordinator("--devices", 2, "--quorum", 2, "--deadline", 1, "--rounds", 1)
    for device in ("a", "b"):
        announce(watcher.connection, device, Base(release_id=release.id, revision=0))
    send_update(watcher.connection, release, "a", watcher.open_round(1))
    closed = watcher.until(lambda t, m: t.kind == "round" and m.state == "closed", "the end of round 1")
    assert closed.outcome == "no quorum: 1 of 2 answered"
    second = watcher.open_round(2)
    for device in ("a", "b"):
        send_update(watcher.connection, release, device, second)
    assert watcher.head(1).round_number == 2


@pytest.mark.slow
def test_bad_updates_are_counted_with_a_reason_and_stop_nothing(watcher, coordinator, release):
    base = Base(release_id=release.id, revision=0)
    coordinator("--devices", 2, "--quorum", 2, "--deadline", 600, "--rounds", 1)
    for device in ("a", "b"):
        announce(watcher.connection, device, base)
    opened, to = watcher.open_round(1), watcher.connection
    send_update(to, release, "a", opened, round_number=7)
    send_update(to, release, "a", opened, base=Base(release_id=release.id, revision=9))
    send_update(to, release, "a", opened, payload=b"not zlib")
    send_update(to, release, "a", opened, output_min=2.0)
    send_update(to, release, "a", opened, kind="statistics")
    to.publish(topics.update_topic(FLEET, "a", 1), os.urandom(500))
    to.publish(topics.update_topic(FLEET, "a", 1).replace("/a/", "/c/"), codec.encode(_copy_of(release, opened)))
    for device, examples in (("a", 10), ("a", 11), ("a", 10), ("b", 10)):  # another answer; the same one once more
        send_update(to, release, device, opened, num_examples=examples)
    assert watcher.head(1).devices == 2
    status = watcher.until(
        lambda t, m: t.kind == "status" and t.device is None and m.revision == 1, "the coordinator's roll-up"
    )
    assert (status.rejected["duplicate"], status.rejected["again"]) == (1, 1)
    assert {"late", "stale", "update", "foreign", "kind"} <= set(status.rejected)


def _copy_of(release, opened):
    payload = pack_delta(np.zeros(release.head.weights.shape, np.float32))
    return UpdateMessage(
        device="a",
        round_number=opened.round_number,
        base=opened.base,
        kind="delta",
        num_examples=1,
        payload=payload,
        output_min=-1,
        output_max=1,
        loss_before=1,
        loss_after=1,
    )


@pytest.mark.slow
def test_garbage_on_every_topic_stops_neither_agent_nor_coordinator(broker, watcher, coordinator, agent):
    noise = np.random.default_rng(3)
    junk = [b"", b"\xff" * 9, b"{}", b'{"round_number": "x"}', noise.bytes(3000)]
    names = [topics.fleet_topic(FLEET, kind) for kind in topics.GLOBAL_KINDS]
    names += [topics.device_topic(FLEET, "fan-08", kind) for kind in topics.DEVICE_KINDS]
    names += [topics.update_topic(FLEET, "fan-08", 1), f"fedtiny/v1/{FLEET}/up/x/y/update"]
    arguments = ("--devices", 2, "--quorum", 1, "--deadline", 3, "--rounds", 1)
    running = coordinator(*arguments), agent("fan-08", "--learn-windows", 40, "--hold-for-revision", 1)
    base = watcher.status("fan-08", lambda m: m.phase == "watching", "the end of its learning").base
    thrower = Connection(broker, "test-thrower", subscriptions=[])
    thrower.start()
    for _ in range(20):
        for name in names:
            for payload in junk:
                thrower.publish(name, payload)
    assert thrower.drain(WITHIN_S)
    announce(thrower, "b", base)  # with it there are enough for the round, which it never answers
    thrower.stop()
    found = _ignoring_garbage(watcher, lambda t, m: t.device == "fan-08" and m.source_done)
    assert found.base.revision == 1
    assert sum(found.rejected.values()) > 0
    assert all(process.poll() is None for process in running)


def _ignoring_garbage(watcher, found):
    deadline = time.monotonic() + WITHIN_S
    while time.monotonic() < deadline:
        event = watcher.connection.next_event(0.2)
        if isinstance(event, Received):
            try:
                topic = topics.parse(event.topic)
                message = codec.decode(DeviceStatus, event.payload)
            except ProtocolError:
                continue
            if topic.kind == "status" and found(topic, message):
                return message
    raise AssertionError("the device's status was not seen")


@pytest.mark.slow
def test_a_resumed_round_waits_for_the_updates_that_came_while_it_was_down(watcher, coordinator, release):
    arguments = ("--devices", 2, "--quorum", 1, "--deadline", 600, "--rounds", 1)
    opened = kill_half_answered(watcher, coordinator, release, arguments)
    send_update(watcher.connection, release, "b", opened)
    assert watcher.connection.drain(10)
    coordinator(*arguments)
    assert watcher.head(1).devices == 2


@pytest.mark.slow
def test_a_coordinator_that_lost_its_ledger_goes_on_from_the_fleets_head(watcher, start, release_path, release):
    first = start("coordinator", "--release", release_path, "--state", "one", "--rounds", 1)
    announce(watcher.connection, "a", Base(release_id=release.id, revision=0))
    send_update(watcher.connection, release, "a", watcher.open_round(1))
    head = watcher.head(1)
    first.terminate()
    first.wait()
    watcher.seen.clear()
    announce(watcher.connection, "a", Base(release_id=release.id, revision=1))
    start("coordinator", "--release", release_path, "--state", "two", "--rounds", 1)
    assert watcher.open_round(2).base.revision == 1
    assert watcher.until(lambda t, m: t.kind == "head" and m.revision == 1, "the same head").weights == head.weights


@pytest.mark.slow
def test_an_alarm_raised_while_the_broker_is_away_is_delivered_after_a_restart(
    broker, watcher, coordinator, agent, tmp_path
):
    coordinator("--rounds", 1)
    first = agent("fan-08", "--learn-windows", 40, "--hold-for-revision", 2)  # there is none: it stands still
    watcher.status("fan-08", lambda m: m.base and m.base.revision == 1, "revision 1")
    first.terminate()
    first.wait()
    alone = [sys.executable, "-m", "fedtiny.cli", "edge", "run", "--device", "fan-08", "--state", tmp_path / "fan-08"]
    offline = subprocess.run([*alone, "--port", "1", "--speed", "0", "--exit-at-end"], capture_output=True, check=True)
    assert b"alarm raised" in offline.stderr
    assert not [t for t, _ in watcher.seen if t.kind == "alarm"]
    agent("fan-08", "--learn-windows", 40)
    assert watcher.until(lambda t, m: t.kind == "alarm", "the alarm").state == "raised"


@pytest.mark.slow
def test_a_release_for_another_sensor_is_refused_and_the_old_one_kept(
    watcher, coordinator, agent, release, release_path, tmp_path
):
    coordinator("--rounds", 1)
    process = agent("fan-08", "--learn-windows", 40, "--hold-for-revision", 2)
    watcher.status("fan-08", lambda m: m.base and m.base.revision == 1, "revision 1")
    slow = tmp_path / "slow.tflite"
    slow.write_bytes(of_rate(release.data, b'"sample_rate_hz":12800.0', b'"sample_rate_hz":50.0000'))
    message = codec.encode(ReleaseMessage(release_id=Release.open(slow).id, tflite=slow.read_bytes()))
    watcher.connection.publish(topics.fleet_topic(FLEET, "release"), message, retain=True)
    process.terminate()
    process.wait()
    process = agent("fan-08", "--learn-windows", 40)  # it meets the retained release at its start, too
    done = watcher.status("fan-08", lambda m: m.source_done, "the end of the recording")
    assert done.base.release_id == release.id


def of_rate(data, old, new):
    assert data.count(old) == 1
    return sealed(data.replace(old, new))


@pytest.mark.slow
def test_re_baseline_makes_a_device_learn_anew(watcher, coordinator, agent):
    coordinator("--rounds", 1)
    agent("fan-08", "--learn-windows", 40)
    watcher.status("fan-08", lambda m: m.source_done and m.base.revision == 1, "the end of the recording")
    watcher.seen.clear()
    command = codec.encode(Command(action="re-baseline"))
    watcher.connection.publish(topics.device_topic(FLEET, "fan-08", "command"), command)
    assert watcher.status("fan-08", lambda m: m.phase == "learning", "learning anew").learned == 0
    cleared = watcher.until(lambda t, m: t.kind == "alarm" and m.state == "cleared", "the end of its alarm")
    assert cleared.reason == "re-baseline"


def test_an_agent_without_a_broker_says_where_it_tried_and_keeps_trying(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-m", "fedtiny.cli", "edge", "run", "--device", "fan-08", "--port", "1", "--state", tmp_path],
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        line = process.stderr.readline()
        assert "127.0.0.1:1 " in line
        assert "cannot be reached" in line
        assert process.poll() is None
    finally:
        process.terminate()
        process.communicate(timeout=20)
    assert process.returncode == 0


@pytest.mark.slow
def test_the_demo_runs_a_whole_fleet_and_leaves_nothing_running(tmp_path):
    figures = tmp_path / "report.json"
    config = tmp_path / "fedtiny.toml"
    config.write_text("[train]\nepochs = 40\n")
    command = [sys.executable, "-m", "fedtiny.cli", "demo", "--state", tmp_path / "state", "--rounds", "2"]
    done = subprocess.run(
        [*command, "--json", figures, "--config", config], capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(figures.read_text())
    assert (found["devices"], found["rounds"]) == (10, 2)
    auc = found["auc"]
    assert auc["federated"]["per_device_mean"] > auc["frozen"]["per_device_mean"] + 0.1
    assert {"per_device_mean", "per_device_min", "one_threshold"} == set(auc["central"])
    assert 1000 < found["bytes_per_device_round"]["up"] < 9000
    assert found["bytes_per_device_round"]["down"] > 0
    assert 30 < found["edge_peak_rss_mb"] < 80
    assert found["wall_s"] < 180
    folder = next((tmp_path / "state").iterdir())
    assert (folder / "report.html").stat().st_size > 20_000
    assert str(folder.name) in done.stdout.replace("\n", "")
    left = [p.info for p in psutil.process_iter(["cmdline"]) if str(tmp_path) in " ".join(p.info["cmdline"] or [])]
    assert not left


@pytest.mark.slow
def test_a_killed_demo_takes_its_processes_with_it(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-m", "fedtiny.cli", "demo", "--state", tmp_path], stdout=subprocess.PIPE, text=True
    )
    with process.stdout:
        next(line for line in process.stdout if "agents started" in line)
    children = psutil.Process(process.pid).children(recursive=True)
    assert len(children) > 10
    process.kill()
    process.wait()
    _, alive = psutil.wait_procs(children, timeout=20)
    assert not alive
