"""The monitor for scripts: a view of the fleet from messages, the table of --once, the command on a real broker."""

import json
import socket

import pytest
from hearsay import HEAD, alarm, round_message, stands, status, tell
from rich.console import Console

from fedtiny.broker import EmbeddedBroker
from fedtiny.config import load_config
from fedtiny.errors import TransportError
from fedtiny.monitor import FleetView, run_monitor
from fedtiny.monitor.once import render
from fedtiny.monitor.trace import POINTS
from fedtiny.protocol import codec, messages, topics
from fedtiny.transport import Connection


def screen(view, now=1_010.0):
    console = Console(width=80, height=24, color_system=None)
    with console.capture() as capture:
        console.print(render(load_config(None), view, "broker b:1 connected", now))
    return capture.get().splitlines()


def test_an_event_has_sizes_in_the_place_of_tensors_and_is_json():
    event = tell(FleetView(), None, HEAD, "head", retained=True)
    assert (event["at"], event["kind"], event["retained"]) == ("1970-01-01T00:16:40Z", "head", True)
    assert (event["revision"], event["weights_bytes"]) == (3, 400)
    assert "weights" not in event
    json.dumps(event)


@pytest.mark.parametrize(
    ("topic", "payload", "kind"),
    [
        ("fedtiny/v1/plant/what/ever", b"{}", "topic"),
        ("fedtiny/v1/plant/global/head", b"\xa1\xff", "head"),
        ("fedtiny/v1/plant/device/m1/status", b"[" * 60_000, "status"),
        ("fedtiny/v1/plant/device/m1/score", b"NaN", "score"),
        ("fedtiny/v1/plant/device/m1/alarm", codec.encode(alarm("m2")), "alarm"),
    ],
)
def test_garbage_is_counted_by_kind_and_changes_nothing(topic, payload, kind, caplog):
    view = FleetView()
    assert [view.apply(topic, payload, False) for _ in range(3)] == [None] * 3
    assert view.garbage == {kind: 3}
    assert not view.devices
    assert len(caplog.records) == 1
    assert any(f"{kind} 3" in line for line in screen(view))


def test_table_shows_each_device_with_the_alarmed_first():
    view = FleetView()
    tell(view, None, HEAD, "head")
    for device in ("m10", "m2", "m1"):
        tell(view, device, status(device, "offline" if device == "m1" else "online"), "status")
    tell(view, "m10", alarm("m10"), "alarm", at=1_007.0)
    lines = screen(view)
    rows = [line.split() for line in lines if line.startswith("m")]
    assert rows == [
        ["m10", "online", "3fa23f/2", "learn", "45%", "3s", "7.31", "/", "1.25", "RAISED", "61"],
        ["m1", "offline", "3fa23f/2", "learn", "45%", "10s", "-", "/", "1.25", "-", "61"],
        ["m2", "online", "3fa23f/2", "learn", "45%", "10s", "-", "/", "1.25", "-", "61"],
    ]
    assert any("2 of 3 devices online" in line for line in lines)
    assert "m10: machine alarm raised: 3 of 5 windows" in lines[-1]


def test_table_shows_how_far_the_promise_is_backed_and_which_head_is_in_use():
    view = FleetView()
    own, kept = (messages.HeadInUse(use=use, revision=2) for use in ("personal", "kept"))
    tell(view, "m1", status("m1", phase="watching", promised=0.63, head=own), "status")
    tell(view, "m2", status("m2", phase="watching", promised=1.0, head=kept), "status")
    rows = [line.split() for line in screen(view) if line.startswith("m")]
    assert [row[2:-5] for row in rows] == [
        ["3fa23f/2", "own", "watch", "63%", "10s"],
        ["3fa23f/2", "kept", "watching", "10s"],
    ]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "open   krum   12 asked, 3 needed   deadline 60 s after 11:00:01"),
        ({"invited": ("m1", "m2", "m7", "m8")}, "open   krum   4 asked, 3 needed"),
        ({"mode": "buffered", "deadline_s": 0}, "open   krum   a head of every 3 updates"),
        ({"state": "closed", "updates": 7, "outcome": "revision 5"}, "closed   krum   7 updates   revision 5"),
        ({"state": "closed", "updates": 7, "left_out": 2}, "closed   krum   7 updates, 2 left out"),
    ],
)
def test_the_round_in_one_line(fields, words):
    view = FleetView()
    tell(view, None, messages.FleetStatus(state="online", devices=12), "status")
    tell(view, None, round_message(**fields), "round")
    assert any(f"round 4 {words}" in line for line in screen(view))


def test_what_operators_have_pinned_and_what_is_in_quarantine_is_shown():
    view = FleetView()
    tell(view, None, HEAD, "head")
    tell(view, None, messages.FleetStatus(state="online", pinned=3, quarantined=2), "status")
    assert "coordinator online   release -   revision 3 pinned   2 quarantined" in screen(view)[2]


def test_alarms_of_the_sensor_and_acknowledged_ones_are_told_apart():
    view = FleetView()
    seen, sensor = stands(state="acknowledged"), stands("sensor")
    for device, standing in (("m1", ()), ("m2", (seen,)), ("m3", (seen, sensor))):
        tell(view, device, alarm(device, standing=standing), "alarm")
    rows = [line.split() for line in screen(view) if line.startswith("m")]
    assert [row[0] for row in rows] == ["m3", "m2", "m1"]  # what nobody has seen comes first, then what stands
    assert [row[8:-1] for row in rows] == [["raised", "ack", "SENSOR"], ["raised", "ack"], ["-"]]


def test_what_became_of_an_order_is_news_and_a_command_is_heard():
    view = FleetView()
    tell(view, None, messages.FleetStatus(state="online"), "status")
    tell(view, None, messages.FleetCommand(action="roll-back", release_id="ab" * 32, revision=2), "command")
    refused = {"order": "roll back head", "ok": False, "done_utc": ""}
    orders = [messages.OrderOutcome(command=one, outcome=f"no revision {one}", **refused) for one in "123"]
    for told in (orders[:1], orders[:1], orders):
        tell(view, None, messages.FleetStatus(state="online", orders=tuple(told)), "status")
    assert [entry.text for entry in view.log][-3:] == [
        "fleet: command to roll back to revision 2",
        "fleet: order to roll back head refused: no revision 1",
        "fleet: order to roll back head refused: no revision 2; order to roll back head refused: no revision 3",
    ]


def test_a_device_has_a_past_that_stays_bounded():
    view = FleetView()
    for number in range(300):
        summary = messages.ScoreSummary(
            device="m1", first=number, count=1, last=1, mean=number, max=number, threshold=2.0
        )
        tell(view, "m1", summary, "score", at=float(number))
    trace = view.devices["m1"].trace
    assert len(trace) == POINTS
    assert [(point.at, point.mean, point.threshold) for point in trace][-1] == (299.0, 299.0, 2.0)
    assert next(iter(trace)).at == 60.0


def test_what_a_device_says_of_its_troubles_is_shown():
    view = FleetView()
    tell(view, "m1", status("m1", conflict="aa" * 6, unknown=12, sensor_faults=3), "status")
    tell(view, "m2", status("m2", unknown=40), "status")
    lines = screen(view)
    assert "two agents use the id of m1" in lines
    assert "windows with a sensor fault: m1 3" in lines
    assert "windows at unknown operating points: m2 40, m1 12" in lines


def test_untrusted_text_cannot_steer_the_terminal():
    view = FleetView()
    tell(view, "m1", alarm("m1", reason="\x1b[2J[red]boo[/red]\r\nX"), "alarm")
    lines = screen(view)
    assert "[red]boo[/red]" in lines[-1]
    assert all(line.isprintable() for line in lines)


def test_a_removed_device_is_forgotten():
    view = FleetView()
    tell(view, "m1", status("m1"), "status")
    event = view.apply(topics.device_topic("plant", "m1", "status"), b"", False)
    assert event["removed"]
    assert not view.devices


def test_once_shows_what_is_retained(tmp_path, capsys):
    with EmbeddedBroker(tmp_path) as broker:
        config = load_config(None, broker__port=broker.port)
        sender = Connection(config.broker, "sender", subscriptions=[])
        sender.start()
        sender.publish(topics.fleet_topic("plant", "head"), codec.encode(HEAD), retain=True)
        sender.publish(topics.device_topic("plant", "m1", "alarm"), codec.encode(alarm("m1")), retain=True)
        assert sender.drain(10)
        sender.stop()
        run_monitor(config, as_json=True, once=True, timeout_s=None)
        events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert {(event["kind"], event["device"]) for event in events} == {("head", None), ("alarm", "m1")}
        assert next(event["alarm_kind"] for event in events if event["kind"] == "alarm") == "machine"
        run_monitor(config, as_json=False, once=True, timeout_s=None)
        assert "m1" in capsys.readouterr().out


def test_a_wrong_broker_is_named():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.raises(TransportError, match=f"127.0.0.1:{port} cannot be reached: Connection refused"):
        run_monitor(load_config(None, broker__port=port), as_json=True, once=True, timeout_s=0.5)
