"""What an operator types on a coordinator's ledger, and what comes back."""

import hashlib
import json
import subprocess
import sys
from contextlib import closing
from dataclasses import replace

import pytest
from click.testing import CliRunner
from ledger_kills import RELEASE, step, update
from test_orders import COORDINATOR

from fedtiny.cli import main
from fedtiny.ledger import PINNED, Ledger
from fedtiny.orders import Block, Forget, PinHead, PublishRelease, RollbackHead, RollbackRelease, parse_order

STATUS = {
    "device": "a",
    "state": "online",
    "phase": "watching",
    "base": {"release_id": RELEASE, "revision": 1},
    "head": {"use": "personal", "revision": 1},
    "windows": 321,
}


@pytest.fixture
def state(tmp_path):
    """Round 1 made revision 1; in round 2 updates of a, b, c and s wait; b was struck, d refused and quarantined."""
    folder = tmp_path / "state"
    folder.mkdir()
    with closing(Ledger(folder)) as ledger:
        for n in range(1, 7):
            step(ledger, n)
        ledger.saw({"a": ("2026-11-23T10:00:00+00:00", json.dumps(STATUS))})
        ledger.refuse(replace(update("d", 2)[0], loss_after=None), "malformed: \x1b[2J")
        ledger.set_standing("d", "quarantined", "3 strikes")
        ledger.set_setting(PINNED, "1")
    return folder


def run(*arguments):
    return CliRunner().invoke(main, [str(a) for a in arguments])


def rows(*arguments):
    found = run(*arguments, "--json")
    assert found.exit_code == 0, found.output
    return [json.loads(line) for line in found.output.splitlines()]


def last_order(state):
    with closing(Ledger(state, guest=True)) as ledger:
        ((newest,),) = ledger.execute("SELECT max(id) FROM orders")
        return newest and parse_order(ledger.order(newest).what)


def test_the_devices_are_listed(state):
    lines = [line.split() for line in run("fleet", "list", "--state", state).output.splitlines()]
    assert lines[0][:3] == ["DEVICE", "STANDING", "LAST"]
    assert [line[0] for line in lines[1:]] == ["a", "b", "c", "d", "late", "s"]
    assert lines[1] == ["a", "active", "2026-11-23T10:00:00+00:00", "watching", "1", "personal", "1", "0", "0"]
    assert lines[2] == ["b", "active", *"----", "0", "1", "0", "norm"]
    assert lines[4] == ["d", "quarantined", *"----", "0", "0", "1", "3", "strikes"]
    listed = {row["device"]: row for row in rows("fleet", "list", "--state", state)}
    assert listed["a"]["counts"] == {"used": 1, "waiting": 1}
    assert (listed["b"]["strikes"], listed["late"]["standing"]) == (1, "active")


def test_a_device_is_shown_with_its_updates_and_nothing_that_a_terminal_obeys(state):
    shown = run("fleet", "show", "b", "--state", state).output
    assert "strikes          1" in shown
    assert "updates          1 left out, 1 waiting" in shown
    assert [line.split()[7:] for line in shown.splitlines()[-2:]] == [["waiting"], ["left", "out", "norm"]]
    assert "windows          321" in run("fleet", "show", "a", "--state", state).output
    hostile = run("fleet", "show", "d", "--state", state).output
    assert "refused  malformed: ?[2J" in hostile
    assert "\x1b" not in hostile
    (view,) = rows("fleet", "show", "a", "--state", state)
    assert view["status"]["windows"] == 321
    assert [row["fate"] for row in view["updates"]] == ["waiting", "used"]


def test_the_releases_and_the_heads_are_listed(state):
    with closing(Ledger(state)) as ledger:
        other = hashlib.sha256(b"other").hexdigest()
        ledger.publish_release(ledger.next_serial(), other, b"other", b"message", "published by an operator", "now")
    first, second = (line.split() for line in run("release", "list", "--state", state).output.splitlines()[1:])
    assert (first[0], first[-2:]) == (RELEASE[:12], ["1", "first"])
    assert second[:2] == ["*", other[:12]]
    assert [row["current"] for row in rows("release", "list", "--state", state)] == [False, True]
    newest, oldest = rows("head", "list", "--state", state, "--release", RELEASE[:6])
    assert (newest["revision"], newest["parent"], newest["round"], newest["strategy"]) == (1, 0, 1, "median")
    assert (newest["pinned"], oldest["pinned"], oldest["round"]) == (True, False, None)
    assert "pinned" in run("head", "list", "--state", state, "--release", RELEASE).output
    assert rows("head", "list", "--state", state) == []


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["fleet", "show", "nope"], 1, "device 'nope': unknown; the ledger has a, b, c, d, late, s"),
        (["fleet", "forget", "nope"], 1, "device 'nope': unknown"),
        (["fleet", "unblock", "a"], 1, "device 'a' is neither blocked nor quarantined"),
        (["fleet", "block", "A b"], 1, "device 'A b': expected lower-case letters"),
        (["release", "rollback", "zz"], 1, f"release 'zz': unknown; the ledger has {RELEASE[:12]}"),
        (["release", "publish", "nope"], 1, "nope: cannot be read"),
        (["head", "list", "--release", "zz"], 1, "release 'zz': unknown"),
        (["head", "rollback", "9"], 1, f"release {RELEASE[:12]} has no revision 9; its newest is 1"),
        (["head", "pin", "9"], 1, "has no revision 9"),
        (["head", "rollback", "four"], 2, "'four' is not a valid integer"),
        (["head", "unpin", "--wait", "soon"], 2, "'soon' is not a valid float"),
    ],
)
def test_a_mistake_gets_one_clear_line_and_lays_down_no_order(state, arguments, code, words):
    found = run(*arguments, "--state", state)
    assert (found.exit_code, found.exception.__class__) == (code, SystemExit)
    assert words in found.output.splitlines()[-1]
    assert last_order(state) is None


@pytest.mark.parametrize(
    "arguments", [["fleet", "list"], ["fleet", "block", "a"], ["release", "list"], ["head", "unpin"]]
)
def test_a_folder_without_a_ledger_is_named_and_left_alone(tmp_path, arguments):
    found = run(*arguments, "--state", tmp_path)
    assert (found.exit_code, found.output) == (
        1,
        f"Error: {tmp_path}: no ledger here: the coordinator makes it when it first starts\n",
    )
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "order"),
    [
        (["fleet", "forget", "a"], Forget(device="a")),
        (["fleet", "block", "new-one", "--reason", "stolen"], Block(device="new-one", reason="stolen")),
        (["release", "rollback"], RollbackRelease()),
        (["release", "rollback", RELEASE[:4]], RollbackRelease(release_id=RELEASE)),
        (["head", "rollback", "0"], RollbackHead(revision=0)),
        (["head", "pin"], PinHead()),
    ],
)
def test_an_order_is_laid_down_for_the_coordinator_of_the_configuration(tmp_path, state, arguments, order):
    config = tmp_path / "fedtiny.toml"
    config.write_text(f'state = "{state}"\n')
    found = run(*arguments, "--config", config)
    assert (found.exit_code, found.output) == (0, f"no coordinator runs on {state}: carried out when it starts next\n")
    assert last_order(state) == order


def test_a_release_is_laid_down_with_its_file(state, release, release_path):
    (receipt,) = rows("release", "publish", release_path, "--state", state)
    assert (receipt["state"], receipt["order"]) == ("later", 1)
    assert last_order(state) == PublishRelease(release=release.id)
    with closing(Ledger(state, guest=True)) as ledger:
        assert ledger.release_data(release.id) == release.data


def test_what_the_coordinator_refuses_is_an_error(state):
    command = [sys.executable, "-c", COORDINATOR, state, "works"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"runs\n"
        done, refused = run("fleet", "block", "a", "--state", state), run("head", "unpin", "--state", state)
        process.kill()
    assert (done.exit_code, done.output) == (0, "saw block\n")
    assert (refused.exit_code, refused.output) == (1, "Error: saw unpin head\n")
