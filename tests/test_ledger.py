"""What the coordinator's ledger keeps, in which order, and how it is bounded."""

import hashlib
from contextlib import closing

import numpy as np
import pytest

from fedtiny.errors import ConfigError, StorageError
from fedtiny.federation.local import LocalUpdate
from fedtiny.ledger import Ledger, RevisionRow, RoundRow, UpdateRow, updates

FILE = b"the release's file"
RELEASE = hashlib.sha256(FILE).hexdigest()
THEN, NOW, EARLIER = "2026-11-23T10:00:00+00:00", "2026-11-23T10:01:00+00:00", "2026-11-23T09:00:00+00:00"


@pytest.fixture
def ledger(tmp_path):
    with closing(Ledger(tmp_path)) as ledger:
        yield ledger


def revision(number, serial, **more):
    return RevisionRow(release_id=RELEASE, revision=number, serial=serial, created_utc=THEN, **more)


def open_round(ledger, number=1, base=0, now=THEN):
    ledger.open_round(
        RoundRow(number=number, release_id=RELEASE, revision=base, strategy="median", opened_utc=now, deadline_s=60)
    )


@pytest.fixture
def opened(ledger):
    """A ledger with a release, its own head as revision 0, and round 1 from it."""
    ledger.publish_release(ledger.next_serial(), RELEASE, FILE, b"release message", "first", THEN)
    ledger.add_revision(revision(0, ledger.next_serial()), b"head 0")
    open_round(ledger)
    return ledger


def header(device, digest, round_number=1, kind="delta", base=0):
    return UpdateRow(
        device=device,
        digest=hashlib.sha256(digest).hexdigest(),
        bytes=100 + len(digest),
        received_utc=NOW,
        round_claimed=round_number,
        round=round_number,
        base_release=RELEASE,
        base_revision=base,
        kind=kind,
        num_examples=5,
        output_min=-1.5,
        output_max=2.5,
        loss_before=0.75,
        loss_after=0.5,
    )


def local(payload):
    return LocalUpdate(payload, 5, -1.5, 2.5, 0.75, 0.5)


def add(ledger, device, payload, **more):
    return ledger.add_update(header(device, payload, **more), payload)


def test_a_reopened_ledger_has_everything(tmp_path, opened):
    state = {"momentum": np.arange(6, dtype=np.float64).reshape(2, 3), "step": np.array(4)}
    add(opened, "pump-2", b"two")
    add(opened, "pump-1", b"one")
    with opened.transaction():
        made = opened.add_revision(revision(1, opened.next_serial(), parent=0, round=1), b"head 1", state)
        opened.settle(1, "used")
        opened.close_round(1, NOW, "revision 1", losses=(0.75, 0.5), bytes_up=8, made=1)
    opened.open_round(
        RoundRow(
            number=2,
            release_id=RELEASE,
            revision=1,
            strategy="fedadam",
            mode="buffered",
            opened_utc=NOW,
            deadline_s=0.5,
            invited=("pump-1", "pump-2"),
        )
    )
    add(opened, "pump-1", b"three", round_number=2, base=1)
    opened.saw({"pump-1": (NOW, '{"phase":"watching"}')})
    opened.set_setting("pinned", "1")
    opened.close()

    with closing(Ledger(tmp_path)) as again:
        release = again.current_release()
        assert (release.release_id, release.serial, release.why) == (RELEASE, 1, "first")
        assert (again.payload(release), again.release_data(RELEASE)) == (b"release message", FILE)
        assert again.newest_revision(RELEASE) == made == again.revision(RELEASE, 1)
        assert again.payload(made) == b"head 1"
        assert {key: array.tolist() for key, array in again.state(made).items()} == {
            "momentum": [[0, 1, 2], [3, 4, 5]],
            "step": 4,
        }
        assert again.state(again.revision(RELEASE, 0)) is None
        last, first = again.rounds(9)
        assert last == again.last_round()
        assert (last.invited, last.mode, last.deadline_s, last.outcome) == (("pump-1", "pump-2"), "buffered", 0.5, None)
        assert (first.outcome, first.made, first.loss_after, first.closed_utc) == ("revision 1", 1, 0.5, NOW)
        assert list(again.waiting(2)) == [("pump-1", local(b"three"), 1)]
        assert list(again.waiting(1)) == []
        assert again.tallies() == {"pump-1": {"used": 1, "waiting": 1}, "pump-2": {"used": 1}}
        assert again.device("pump-1").status == '{"phase":"watching"}'
        assert again.setting("pinned") == "1"
        assert again.next_serial() == 4


# --- what is published ---


def test_a_revision_has_one_content_for_ever(opened):
    kept = opened.add_revision(revision(1, opened.next_serial()), b"head 1")
    assert opened.add_revision(revision(1, kept.serial), b"head 1") == kept
    with pytest.raises(StorageError, match="revision 1 is there already, with another content"):
        opened.add_revision(revision(1, opened.next_serial()), b"another head 1")
    assert opened.payload(opened.newest_revision(RELEASE)) == b"head 1"
    with pytest.raises(StorageError, match="UNIQUE"):
        opened.add_revision(revision(2, kept.serial), b"head 2")


def test_serials_go_on_above_what_the_fleet_has_seen(opened):
    assert [opened.next_serial(), opened.next_serial()] == [3, 4]
    opened.add_revision(revision(1, 70), b"adopted from the broker")
    assert opened.next_serial() == 71
    opened.outrun(9)
    assert opened.next_serial() == 72
    opened.outrun(100)
    assert opened.next_serial() == 101
    with pytest.raises(KeyboardInterrupt), opened.transaction():  # noqa: PT012
        assert opened.next_serial() == 102
        raise KeyboardInterrupt
    assert opened.next_serial() == 102  # what was rolled back was never published


def test_a_release_that_is_published_again_is_current_again(opened):
    other = hashlib.sha256(b"other file").hexdigest()
    opened.publish_release(opened.next_serial(), other, b"other file", b"m", "published", NOW)
    assert opened.current_release().release_id == other
    opened.publish_release(opened.next_serial(), RELEASE, FILE, b"release message again", "rolled back", EARLIER)
    assert opened.payload(opened.current_release()) == b"release message again"
    assert opened.releases() == [RELEASE, other]
    assert [row.release_id for row in opened.publications()] == [RELEASE, other, RELEASE]
    with pytest.raises(ValueError, match="another SHA-256"):
        opened.publish_release(99, RELEASE, b"not it", b"m", "", NOW)


def test_a_release_is_found_by_the_beginning_of_its_id(opened):
    assert opened.known_release(RELEASE[:5]) == RELEASE
    with pytest.raises(ConfigError, match=f"release 'xyz': unknown; the ledger has {RELEASE[:12]}"):
        opened.known_release("xyz")
    opened.publish_release(9, hashlib.sha256(b"2").hexdigest(), b"2", b"m", "", NOW)
    with pytest.raises(ConfigError, match="release '': begins 2 releases: "):
        opened.known_release("")


def test_a_round_and_its_revision_need_each_other(opened):
    with pytest.raises(StorageError, match="FOREIGN KEY"):
        opened.close_round(1, NOW, "revision 1", made=1)
    with opened.transaction():
        opened.close_round(1, NOW, "revision 1", made=1)
        opened.add_revision(revision(1, 9, round=1), b"head 1")
    with pytest.raises(ValueError, match="round 1 is not open"):
        opened.close_round(1, NOW, "again")
    with pytest.raises(StorageError, match="FOREIGN KEY"):
        open_round(opened, number=2, base=5)


def test_a_clock_that_is_set_back_changes_no_order(opened):
    opened.give_order("first", NOW)
    opened.give_order("second", EARLIER)
    assert opened.next_order().what == "first"
    opened.add_revision(revision(1, 9), b"head 1")
    opened.close_round(1, EARLIER, "abandoned")
    open_round(opened, number=2, now=EARLIER)
    assert opened.last_round().number == 2
    assert opened.newest_revision(RELEASE).revision == 1
    for number in range(3):
        opened.refuse(header("pump-1", b"%d" % number), ["late", "stale", "late"][number])
    assert [row.reason for row in opened.updates_of("pump-1", 2)] == ["late", "stale"]


# --- updates ---


def test_waiting_updates_come_in_the_order_of_the_devices_and_as_often_as_asked(opened):
    names = [f"pump-{number:03}" for number in range(updates.PAGE * 2 + 3)]
    with opened.transaction():
        for name in reversed(names):
            add(opened, name, name.encode())
        add(opened, "pump-007", b"to another base")
    waiting = opened.waiting(1)
    assert next(waiting) == ("pump-000", local(b"pump-000"), 0)
    opened.refuse(header("late", b"x"), "late")  # the ledger is written to while it is read
    assert [device for device, _, _ in waiting] == [*names[1:8], "pump-007", *names[8:]]
    assert [u.payload for d, u, _ in opened.waiting(1) if d == "pump-007"] == [b"pump-007", b"to another base"]
    assert opened.answered(1) == set(names)
    assert opened.answered(2) == set()


def test_every_update_gets_its_fate_and_a_settled_one_no_other(opened):
    for device in ("a", "b", "c", "d"):
        add(opened, device, device.encode())
    assert opened.settle(1, "left out", "norm 90 times the median", devices={"b", "nobody"}) == 1
    opened.forget("c")
    assert opened.settle(1, "used") == 2
    assert opened.settle(1, "abandoned", "no quorum") == 0
    opened.refuse(header("e", b"e"), "stale")
    assert +opened.fates == {"left out": 1, "used": 2, "refused": 1}
    assert {d: [(u.fate, u.reason) for u in opened.updates_of(d, 9)] for d in "abcd"} == {
        "a": [("used", None)],
        "b": [("left out", "norm 90 times the median")],
        "c": [("forgotten", None)],
        "d": [("used", None)],
    }
    assert opened.seen("a", header("a", b"a").digest)
    assert not opened.seen("a", header("a", b"b").digest)
    with pytest.raises(StorageError, match="UNIQUE"):
        add(opened, "a", b"a")


def test_a_waiting_update_without_its_header_is_no_update(opened):
    with pytest.raises(StorageError, match="CHECK"):
        opened.add_update(UpdateRow(device="a", digest=None, bytes=1, received_utc=NOW, round=1), b"payload")


def test_of_the_refused_the_newest_are_kept(opened, monkeypatch):
    monkeypatch.setattr(updates, "REFUSED_KEPT", 60)
    monkeypatch.setattr(updates, "REFUSED_KEPT_OF_DEVICE", 20)
    monkeypatch.setattr(updates, "SPARE", 10)
    add(opened, "noisy", b"a good one")
    for number in range(100):
        opened.refuse(UpdateRow(device="noisy", digest=None, bytes=9, received_utc=NOW), f"malformed: {number}")
    assert 20 <= opened.tallies()["noisy"]["refused"] <= 30
    assert [row.reason for row in opened.updates_of("noisy", 2)] == ["malformed: 99", "malformed: 98"]
    for number in range(100):
        opened.refuse(header(f"device-{number}", b"x"), "late")
    opened.refuse(header("quoted", b"x"), "y" * 9999)
    assert len(opened.updates_of("quoted", 1)[0].reason) == updates.REASON_CHARS
    opened.refuse(header("device-99", b"x"), "late")  # the broker delivers it again
    kept = [count["refused"] for count in opened.tallies().values() if "refused" in count]
    assert 60 <= sum(kept) <= 70
    assert opened.tallies()["device-99"] == {"refused": 1}
    assert opened.answered(1) == {"noisy"}


def test_the_newest_statistics_of_a_device_replace_its_older_ones(opened):
    for device, payload in (("b", b"b1"), ("a", b"a1"), ("b", b"b2"), ("left out", b"c1")):
        add(opened, device, payload, kind="statistics")
    add(opened, "delta", b"a delta")
    opened.keep_statistics(1, {"a", "b", "delta", "silent"})
    opened.settle(1, "used")
    expected = [("a", local(b"a1"), 0), ("b", local(b"b2"), 0)]
    assert list(opened.statistics(RELEASE)) == list(opened.statistics(RELEASE)) == expected
    assert list(opened.statistics("ab" * 32)) == []
    opened.close_round(1, NOW, "done")
    open_round(opened, number=2)
    add(opened, "a", b"a2", round_number=2, kind="statistics")
    opened.keep_statistics(2, {"a", "b"})
    assert [local.payload for _, local, _ in opened.statistics(RELEASE)] == [b"a2", b"b2"]
    assert (opened.drop_statistics("b"), opened.drop_statistics("b")) == ({RELEASE}, set())
    assert [device for device, _, _ in opened.statistics(RELEASE)] == ["a"]


# --- devices ---


def test_a_device_is_known_from_its_first_status_or_its_first_judgement(ledger):
    ledger.set_standing("thief", "blocked", "stolen")
    ledger.saw({"pump-1": (THEN, "{}"), "thief": (THEN, "{}")})
    ledger.saw({"pump-1": (NOW, '{"a":1}')})
    assert [ledger.strike("pump-1", "norm"), ledger.strike("pump-1", "cosine")] == [1, 2]
    pump, thief = ledger.devices()
    assert (pump.first_seen_utc, pump.last_seen_utc, pump.status) == (THEN, NOW, '{"a":1}')
    assert (pump.standing, pump.strikes, pump.reason) == ("active", 2, "cosine")
    assert (thief.standing, thief.reason, thief.first_seen_utc) == ("blocked", "stolen", THEN)
    ledger.set_standing("pump-1", "quarantined", "3 strikes")
    assert ledger.standings() == {"pump-1": "quarantined", "thief": "blocked"}
    assert (ledger.device("pump-1").standing, ledger.device("pump-1").strikes) == ("quarantined", 2)
    ledger.set_standing("pump-1", "active", None)
    assert (ledger.device("pump-1").strikes, ledger.device("pump-1").reason) == (0, None)


def test_a_forgotten_device_leaves_the_headers_of_its_updates_and_a_blocked_one_its_name(opened):
    for device in ("good", "bad"):
        opened.saw({device: (THEN, '{"secret":1}')})
        add(opened, device, b"old", kind="statistics")
    opened.keep_statistics(1, {"good", "bad"})
    opened.set_standing("bad", "blocked", "poison")
    opened.settle(1, "used")
    for device in ("good", "bad"):
        add(opened, device, b"waits")
        opened.forget(device)
        assert [row.fate for row in opened.updates_of(device, 9)] == ["forgotten", "used"]
    assert list(opened.statistics(RELEASE)) == list(opened.waiting(1)) == []
    assert opened.device("good") is None
    bad = opened.device("bad")
    assert (bad.standing, bad.reason, bad.status, bad.first_seen_utc) == ("blocked", "poison", None, None)


# --- orders ---


def test_orders_are_carried_out_once_in_their_order(tmp_path, opened):
    with closing(Ledger(tmp_path, guest=True)) as guest:
        first, second = guest.give_order("one", THEN), guest.give_order("two", THEN)
        order = opened.next_order()
        assert (order.id, order.what, order.ok) == (first, "one", None)
        opened.finish_order(first, ok=False, outcome="no such revision", now=NOW)
        assert opened.next_order().id == second
        opened.finish_order(second, ok=True, outcome="done", now=NOW)
        assert opened.next_order() is None
        done = guest.order(first)
        assert (done.ok, done.outcome, done.done_utc) == (False, "no such revision", NOW)


# --- transactions ---


def test_what_is_within_a_transaction_comes_together_or_not_at_all(tmp_path, opened):
    with closing(Ledger(tmp_path, guest=True)) as guest:
        with pytest.raises(KeyboardInterrupt), opened.transaction():  # noqa: PT012
            add(opened, "a", b"a")
            with opened.transaction():
                opened.strike("a", "norm")
            raise KeyboardInterrupt
        assert (opened.answered(1), opened.device("a")) == (set(), None)
        with opened.transaction():
            add(opened, "a", b"a")
            with pytest.raises(StorageError, match="UNIQUE"), opened.transaction():  # noqa: PT012
                opened.strike("a", "norm")
                add(opened, "a", b"a")
            opened.strike("a", "cosine")
            assert guest.answered(1) == set()
        assert (guest.answered(1), guest.device("a").strikes) == ({"a"}, 1)
