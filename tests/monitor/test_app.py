"""The monitor's screen: what stands on it, where keys lead, what they send."""

import asyncio

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from faked import on_screen
from hearsay import BASE, HEAD, alarm, round_message, stands, status
from textual.events import Key
from textual.widgets import Input

from fedtiny.config import Config, Trust
from fedtiny.monitor.pages import FleetPage
from fedtiny.protocol import codec, messages, topics
from fedtiny.protocol.signing import public_key
from fedtiny.transport import Connected, Disconnected, Published

LOST = Disconnected("broker b:1: connection lost")


def score(device, value=1.0, threshold=2.0):
    return messages.ScoreSummary(
        device=device, first=0, count=1, last=value, mean=value, max=value * 1.5, threshold=threshold
    )


def test_devices_with_alarms_come_first_and_the_mark_stays_with_the_chosen_one():
    async def test(screen):
        assert screen.devices == ["m1", "m2", "m10"]
        await screen.press("down")
        screen.link.hear("m10", alarm("m10"), "alarm")
        await screen.heard()
        assert screen.devices == ["m10", "m1", "m2"]
        assert "RAISED" in screen.lines[5]
        await screen.press("enter")
        assert screen.lines[4].startswith("m2 ")
        await screen.press("left", "left")
        assert screen.lines[4].startswith("m10 ")
        await screen.press("escape")
        assert screen.devices == ["m10", "m1", "m2"]

    on_screen(test, ("m10", "m2", "m1"))


def test_sorting_goes_round():
    async def test(screen):
        for device, value in (("m1", 1.0), ("m2", 3.0), ("m3", 2.0)):
            screen.link.hear(device, score(device, value), "score")
        screen.link.hear("m3", status("m3", peak_rss_mb=99.0), "status")
        await screen.heard()
        orders = {}
        for _ in range(5):
            await screen.press("s")
            orders[screen.lines[1].partition("sorted: ")[2]] = screen.devices
        assert orders["name"] == orders["alarms first"] == orders["longest silent"] == ["m1", "m2", "m3"]
        assert orders["score / threshold"] == ["m2", "m3", "m1"]
        assert orders["memory"] == ["m3", "m1", "m2"]

    on_screen(test, ("m1", "m2", "m3"))


def test_a_filter_keeps_what_holds_the_text_until_escape():
    async def test(screen):
        await screen.press("slash", *"PUMP", "enter")
        assert screen.devices == ["pump-1", "pump-2"]
        assert "2 with 'PUMP'" in screen.lines[1]
        await screen.press("4")
        assert not any("fan-1" in line for line in screen.lines)
        await screen.press("1", "escape")
        assert screen.devices == ["fan-1", "pump-1", "pump-2"]

    on_screen(test, ("pump-1", "fan-1", "pump-2"))


def test_keys_act_on_none_that_a_filter_hides():
    async def test(screen):
        await screen.press("down", "slash", *"fan", "enter")
        assert screen.devices == ["fan-05"]
        await screen.press("a", "y")
        assert "fan-05: acknowledge: sent" in screen.said
        await screen.press("enter")
        assert screen.lines[4].startswith("fan-05 ")
        screen.link.sent.clear()
        await screen.press("escape", "slash", *"zz", "enter", *"ayby", "enter")
        assert screen.devices == []
        assert "fleet plant   2 of 2 devices online" in screen.lines[1]
        assert screen.link.sent == []
        await screen.press("2")
        assert screen.lines[4].startswith("no device")

    on_screen(test, ("fan-05", "gearbox-06"))


def test_the_device_that_is_looked_at_stays_when_the_filter_no_longer_holds_it():
    async def test(screen):
        for device in ("m1", "m2"):
            screen.link.hear(device, alarm(device), "alarm")
        await screen.heard()
        await screen.press("slash", *"raised", "enter", "enter")
        screen.link.hear("m1", alarm("m1", standing=()), "alarm")
        await screen.heard()
        assert screen.lines[4].startswith("m1 ")
        await screen.press("escape")
        assert screen.devices == ["m2"]
        await screen.press("a", "y")
        assert "m2: acknowledge" in screen.said

    on_screen(test, ("m1", "m2", "m3"))


@pytest.mark.parametrize(("key", "action"), [("a", "acknowledge"), ("b", "re-baseline")])
def test_a_command_is_asked_for_sent_and_followed(key, action):
    async def test(screen):
        await screen.press(key, "n")
        assert screen.link.sent == []
        await screen.press(key, "y")
        ((topic, payload),) = screen.link.sent
        assert topic == topics.device_topic("plant", "m1", "command")
        assert codec.decode(messages.Command, payload).action == action
        assert f"m1: {action}: sent, the broker has not answered yet" in screen.said
        screen.link.events.append(Published(1))
        await screen.heard()
        assert f"m1: {action}: handed to the broker" in screen.said

    on_screen(test, ("m1",))


def test_a_roll_back_proposes_the_revision_before_and_tells_its_outcome():
    async def test(screen):
        screen.link.hear(None, HEAD, "head")
        await screen.heard()
        await screen.press("r", "escape")
        assert screen.link.sent == []
        await screen.press("r", "enter")
        ((topic, payload),) = screen.link.sent
        command = codec.decode(messages.FleetCommand, payload)
        assert topic == topics.fleet_topic("plant", "command")
        assert (command.release_id, command.revision) == (HEAD.release_id, HEAD.revision - 1)
        done = {"order": "roll back head", "ok": True, "outcome": "revision 4 brings revision 2 back", "done_utc": ""}
        own, other = (messages.OrderOutcome(command=command_id, **done) for command_id in (command.id, "of another"))
        for orders in ((other,), (own, other)):  # the newest may be another's
            screen.link.hear(None, messages.FleetStatus(state="online", orders=orders), "status")
            await screen.heard()
            assert ("done: revision 4" in screen.said) == (own in orders)
        await screen.press("3")
        assert any("newest command: roll back head, done" in line for line in screen.lines)

    on_screen(test)


def test_a_roll_back_to_what_there_is_not_is_not_sent():
    async def test(screen):
        screen.link.hear(None, HEAD, "head")
        await screen.heard()
        for revision in ("9" * 20, "-1", "-", "4", "9" * 5000):
            await screen.press("r")
            screen.app.screen.query_one(Input).value = revision
            await screen.press("enter")
            assert screen.link.sent == []
            assert f"there is no such revision, the newest is 3: {revision[:5]}" in screen.said

    on_screen(test)


def test_a_roll_back_of_a_head_that_nobody_has_seen_is_not_asked_for():
    async def test(screen):
        await screen.press("r", "enter")
        assert "not sent, no revision of the head has been seen" in screen.said
        assert screen.link.sent == []

    on_screen(test)


def test_what_nobody_would_obey_is_not_sent():
    async def test(screen):
        await screen.press("a", "y")
        assert screen.link.sent == []
        assert "not sent: trust.key: not set" in screen.said

    trust = Trust(operator=(public_key(Ed25519PrivateKey.generate()),))
    on_screen(test, ("m1",), config=Config(trust=trust))


def test_a_lost_link_is_said_until_it_is_back_and_nothing_is_sent_meanwhile():
    async def test(screen):
        assert screen.lines[0].endswith("broker b:1 connected")
        await screen.press("a", "y")
        screen.link.events.append(LOST)
        await screen.heard()
        assert "LOST since" in screen.lines[0]
        assert screen.lines[0].endswith("trying again")
        assert "not known whether the broker has it" in screen.said
        await screen.press("a", "y")
        assert "not sent, there is no connection" in screen.said
        assert len(screen.link.sent) == 1
        screen.link.events.append(Connected(session_present=False))
        await screen.heard()
        assert screen.lines[0].endswith("broker b:1 connected")
        await screen.press("4")
        assert sum("connection lost; trying again" in line for line in screen.lines) == 1

    on_screen(test, ("m1",))


def test_the_device_screen_has_scores_threshold_alarms_bands_and_health():
    async def test(screen):
        bands = (messages.BandShare(channel="x", share=0.42, low_hz=120, high_hz=240, low_order=3.1, high_order=4.2),)
        health = messages.HealthReport(cpu_share=0.03, temperature_c=52.0, backlog=7)
        said = status("m1", phase="watching", interpreter="litert 2.3", version="9.8", health=health)
        screen.link.hear("m1", said, "status")
        for value in (0.5, 0.6, 3.0):
            screen.link.hear("m1", score("m1", value), "score")
        screen.link.hear("m1", alarm("m1").model_copy(update={"bands": bands}), "alarm")
        await screen.heard()
        await screen.press("enter")
        text = "\n".join(screen.lines)
        for words in (
            "machine RAISED since 2026-11-23 11:00:01",
            "42% ████████",
            "x  120 to 240 Hz  3.1 to 4.2 orders",
            "52 °C",
            "7 messages, 0 lost",
            "litert 2.3",
            "9.8",
        ):
            assert words in text
        plot = [line for line in screen.lines if "│" in line or "┤" in line]
        assert any(line.startswith("      2 ┤╌") for line in plot)  # the threshold, where no score hides it
        assert any("⣿" in line for line in plot)

    on_screen(test, ("m1",), size=(120, 60))


def test_the_rounds_newest_first():
    async def test(screen):
        screen.link.hear(None, messages.FleetStatus(state="online", devices=12, rejected={"late": 4}), "status")
        screen.link.hear(None, round_message(round_number=3, state="closed", updates=7, outcome="revision 5"), "round")
        screen.link.hear(None, round_message(round_number=4, invited=("m1", "m2")), "round")
        await screen.heard()
        await screen.press("tab", "tab")
        assert [line.split()[:5] for line in screen.lines[5:7]] == [
            ["4", "open", "krum", "2", "-"],
            ["3", "closed", "krum", "12", "7"],
        ]
        assert "revision 5" in screen.lines[6]
        assert any("refused by the coordinator: late 4" in line for line in screen.lines)

    on_screen(test)


def test_peers_text_is_neither_obeyed_nor_taken_for_markup():
    async def test(screen):
        hostile = "\x1b[2J[red]boo[/red]\r\n"
        screen.link.hear("m1", alarm("m1", reason=hostile, standing=(stands(),)), "alarm")
        screen.link.hear(None, messages.FleetStatus(state="online", rejected={hostile: 1}), "status")
        screen.link.hear("m1", status("m1", interpreter=hostile, source=hostile, conflict=hostile), "status")
        screen.link.hear("m1", score("m1"), "score")
        await screen.heard()
        for page in "1234":
            await screen.press(page)
            assert all(line.isprintable() for line in screen.lines)
            assert page == "1" or any("[red]boo[/red]" in line for line in screen.lines)

    on_screen(test, ("m1",), size=(120, 60))


def test_a_thousand_devices_draw_only_what_is_seen(monkeypatch):
    """The rows that a refresh works out do not grow with the fleet."""
    devices = [f"pump-{number}" for number in range(1000)]

    async def test(screen):
        assert "1000 of 1000 devices online" in screen.lines[1]
        worked_out, row = [], FleetPage.row
        monkeypatch.setattr(FleetPage, "row", lambda *arguments: worked_out.append(1) or row(*arguments))
        for device in devices:
            screen.link.hear(device, score(device), "score")
        await screen.heard()
        assert 0 < len(worked_out) < 10 * screen.app.size.height
        await screen.press("end")
        assert screen.devices[-1] == "pump-999"
        assert len(screen.devices) == 17
        await screen.press("enter")
        assert screen.lines[4].startswith("pump-999 ")

    on_screen(test, devices)


def test_a_device_behind_the_head_and_one_that_vanishes():
    async def test(screen):
        screen.link.hear(None, HEAD, "head")
        screen.link.hear("m2", status("m2", base=BASE, head=messages.HeadInUse(use="kept", revision=2)), "status")
        await screen.heard()
        assert "3fa2/2 kept" in screen.lines[6]
        await screen.press("down", "enter")
        await screen.press("1")
        screen.app._view.apply(topics.device_topic("plant", "m2", "status"), b"", False)
        screen.app._lists["fleet"].refresh()  # as when keys scroll before the next tick
        await screen.pilot.pause()
        await screen.heard()
        await screen.press("2")
        assert screen.lines[4].startswith("m1 ")

    on_screen(test, ("m1", "m2"))


def test_a_tiny_terminal_and_absurd_numbers_break_nothing():
    async def test(screen):
        screen.link.hear("m1", score("m1", -1e300, 1e-300), "score")
        screen.link.hear("m1", score("m1", 1e300, 1e300), "score")
        said = status("m1", threshold=-1e308, peak_rss_mb=1e308, health=messages.HealthReport(lag_s=-1e308))
        screen.link.hear("m1", said, "status")
        for page in "1234":
            await screen.press(page)
            await screen.heard()
        assert len(screen.lines) == 8

    on_screen(test, ("m1",), size=(20, 8))


def test_help_names_every_key_and_any_key_closes_it():
    async def test(screen):
        await screen.press("question_mark")
        text = "\n".join(screen.lines)
        assert all(word in text for word in ("acknowledge", "re-baseline", "roll back", "sort", "Any key closes this"))
        await screen.press("q")
        assert screen.devices == ["m1"]

    on_screen(test, ("m1",))


def test_keys_that_come_at_once_answer_a_question_once():
    """As in a paste: the later ones are on their way before the first has closed the dialog."""

    async def test(screen):
        screen.link.hear(None, HEAD, "head")
        await screen.heard()
        for opening, answer, sent in (
            ("question_mark", "j", 0),
            ("a", "n", 0),
            ("a", "y", 1),
            ("r", "escape", 1),
            ("r", "enter", 2),
        ):
            await screen.press(opening)
            for _ in range(4):
                screen.app.post_message(Key(answer, None))
            async with asyncio.timeout(10):
                while len(screen.app.screen_stack) > 1:
                    await screen.pilot.pause()
            await screen.heard()
            assert len(screen.link.sent) == sent
            await screen.press("1")  # the fleet's page, where a key has led to another

    on_screen(test, ("m1",))
