import os
import random
import resource
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import pytest
import store_kills
from store_kills import step, whole_step

from fedtiny.device_store import BLOCK_BYTES, LAYOUT, Backlog, DeviceStore, Limit
from fedtiny.errors import ConfigError, StorageError

NOBODY = 65534
SMALL = {"alarm": Limit(1000, 100_000), "update": Limit(3, 50_000), "score": Limit(1000, 1000)}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "device.db"


@pytest.fixture
def store(path):
    with closing(DeviceStore(path, SMALL)) as store:
        yield store


def payloads(store):
    return [message.payload for message in store.waiting(limit=1000)]


def written(path):
    """The bytes of the log: what was committed since the file was opened, as long as it is below 4 MB."""
    return path.with_name(path.name + "-wal").stat().st_size


# --- state ---


@pytest.mark.parametrize("value", [None, True, 7, -0.1, "Grüße", [1, {"phase": "watching"}], float("inf")])
def test_a_value_is_there_after_a_restart(path, store, value):
    assert store.get("key", "default") == "default"
    store.put("key", "old")
    store.put("key", value)
    store.close()
    with closing(DeviceStore(path)) as store:
        assert store.get("key", "default") == value


@pytest.mark.parametrize("dtype", ["<f4", "<f8", "<i8", "i1", "?"])
@pytest.mark.parametrize("shape", [(), (0, 6), (7,), (300, 41)])
def test_an_array_is_there_after_a_restart(path, store, rng, dtype, shape):
    array = np.asarray(100 * rng.normal(size=shape)).astype(dtype)
    store.put_array("key", np.ones((9, 9000), np.float64))
    store.put_array("key", array)
    store.close()
    with closing(DeviceStore(path)) as store:
        again = store.array("key")
        assert (again.dtype, again.shape) == (array.dtype, array.shape)
        assert np.array_equal(again, array)
        assert again.flags.writeable
        store.put_array("key", None)
        assert store.array("key") is None


def test_an_array_need_not_be_contiguous(store, rng):
    array = rng.normal(size=(40, 60))[::2, 1::3]
    store.put_array("key", array)
    assert np.array_equal(store.array("key"), array)


def test_an_array_of_objects_is_refused(store):
    with pytest.raises(ValueError, match="dtype object, expected float, int or bool"):
        store.put_array("key", np.array([{}]))


def test_what_did_not_change_is_not_written(path, store, rng):
    buffer = rng.normal(size=(1000, 128)).astype(np.float32)
    for number in range(2):
        with store.transaction():
            store.put("phase", "watching")
            store.put_array("buffer", buffer)
        if number == 0:
            before = written(path)
    assert written(path) == before
    buffer[500:530] += 1
    store.put_array("buffer", buffer)
    assert 0 < written(path) - before < 3 * BLOCK_BYTES + 20_000
    assert np.array_equal(store.array("buffer"), buffer)


# --- transactions ---


def test_a_transaction_that_raises_changes_nothing(store):
    store.put("count", 1)
    store.put_array("head", np.zeros(3))
    waiting = store.spool("alarm", "a", b"first")
    with pytest.raises(KeyboardInterrupt), store.transaction():  # noqa: PT012
        store.put("count", 2)
        store.put_array("head", np.ones(30_000))
        store.spool("alarm", "a", b"second")
        store.delivered(waiting)
        assert (store.get("count"), payloads(store)) == (2, [b"second"])
        raise KeyboardInterrupt
    assert (store.get("count"), payloads(store)) == (1, [b"first"])
    assert np.array_equal(store.array("head"), np.zeros(3))
    assert store.backlog() == {"alarm": Backlog(1, 5, 0)}


def test_a_transaction_in_another_is_a_mistake(store):
    with pytest.raises(RuntimeError, match="open already"), store.transaction(), store.transaction():
        pass
    with store.transaction():
        store.put("count", 1)
    assert store.get("count") == 1


# --- spool ---


def test_messages_wait_in_order_until_delivered(path, store):
    ids = [store.spool("score", f"t/{number}", b"%d" % number, retain=number == 2) for number in range(5)]
    assert ids == sorted(set(ids))
    assert [message.id for message in store.waiting(limit=2)] == ids[:2]
    assert [message.id for message in store.waiting(after_id=ids[2])] == ids[3:]
    store.delivered(ids[1], ids[4])
    store.delivered(ids[1])  # the acknowledgement may come twice
    store.close()
    with closing(DeviceStore(path, SMALL)) as store:
        assert [(m.id, m.topic, m.payload, m.retain) for m in store.waiting()] == [
            (ids[0], "t/0", b"0", False),
            (ids[2], "t/2", b"2", True),
            (ids[3], "t/3", b"3", False),
        ]
        store.delivered(*ids)
        assert store.backlog() == {"score": Backlog(0, 0, 0)}
        assert store.spool("score", "t/5", b"5") > ids[-1]  # a late acknowledgement never hits another message


def test_the_newest_of_a_key_takes_the_place_of_the_older(store):
    store.spool("update", "up", b"round 1", key="1")
    store.spool("update", "up", b"round 2, first", key="2")
    store.spool("alarm", "alarm", b"another kind", key="2")
    store.spool("update", "up", b"round 2, better", key="2")
    assert payloads(store) == [b"round 1", b"another kind", b"round 2, better"]
    assert store.backlog()["update"] == Backlog(2, 22, 0)


def test_each_kind_has_its_own_bound_and_the_oldest_go_first(path, store):
    alarm = store.spool("alarm", "alarm", bytes(90_000))
    for number in range(20):
        store.spool("score", "score", number.to_bytes(2, "big") * 50)
        store.spool("update", "up", b"%d" % number)
    assert payloads(store)[0] == bytes(90_000)
    assert [m.payload for m in store.waiting(limit=99) if m.kind == "update"] == [b"17", b"18", b"19"]
    assert [m.payload[1] for m in store.waiting(limit=99) if m.kind == "score"] == list(range(10, 20))
    store.delivered(alarm)
    store.close()
    with closing(DeviceStore(path, SMALL)) as store:
        assert store.backlog() == {
            "alarm": Backlog(0, 0, 0),
            "score": Backlog(10, 1000, 10),
            "update": Backlog(3, 6, 17),
        }


def test_a_message_above_its_bound_is_refused_and_pushes_nothing_out(store):
    store.spool("score", "score", bytes(900))
    with pytest.raises(ValueError, match="score of 1001 bytes, the spool takes up to 1000"):
        store.spool("score", "score", bytes(1001))
    assert payloads(store) == [bytes(900)]


def test_the_file_does_not_grow_with_what_passes_through(path, store, rng):
    def pass_through(count):
        for number in range(count):
            with store.transaction():
                store.put("count", number)
                store.put_array("head", rng.normal(size=3000))
                store.spool("alarm", "alarm", bytes(rng.integers(50, 9_000)))
                if number % 3 == 0:
                    store.delivered(*[message.id for message in store.waiting(limit=5)][:3])
        store.close()
        return path.stat().st_size

    first = pass_through(300)
    with closing(DeviceStore(path, SMALL)) as store:
        assert pass_through(900) < 1.3 * first


# --- disks ---


@contextmanager
def full_disk(path):
    """Neither the file nor its log can grow."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (written(path), limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_full_disk_changes_nothing_and_is_over_when_there_is_space(path, store):
    store.put("count", 1)
    waiting = store.spool("alarm", "a", b"first")
    reason = r"device\.db: disk I/O error \(SQLITE_IOERR_WRITE\)"
    with full_disk(path):
        for _ in range(3):
            with pytest.raises(StorageError, match=reason), store.transaction():  # noqa: PT012
                store.put("count", 2)
                store.delivered(waiting)
                store.spool("alarm", "a", bytes(50_000))
            with pytest.raises(StorageError):
                store.put("count", 3)
            assert (store.get("count"), payloads(store)) == (1, [b"first"])
    with store.transaction():
        store.put("count", 2)
        store.spool("alarm", "a", b"second")
    store.close()
    with closing(DeviceStore(path, SMALL)) as store:
        assert (store.get("count"), payloads(store)) == (2, [b"first", b"second"])


def test_the_file_has_a_last_bound_of_its_own(path):
    with closing(DeviceStore(path, max_file_bytes=400_000)) as store:
        store.spool("alarm", "a", b"first")
        with pytest.raises(StorageError, match=r"device\.db: database or disk is full \(SQLITE_FULL\)"):
            store.put_array("buffer", np.zeros(100_000))
        assert (store.array("buffer"), payloads(store)) == (None, [b"first"])
        store.put_array("buffer", np.zeros(10_000))


def test_nothing_of_a_transaction_is_written_after_it_failed(path):
    """SQLite may roll back by itself: what the caller puts after a swallowed error must not be committed alone."""
    with closing(DeviceStore(path, max_file_bytes=400_000)) as store:
        with pytest.raises(StorageError, match="full"), store.transaction():  # noqa: PT012
            store.put("phase", "watching")
            with pytest.raises(StorageError, match="full"):
                store.put_array("buffer", np.zeros(100_000))
            store.put("count", 2)
        assert (store.get("phase"), store.get("count")) == (None, None)


def test_a_locked_file_is_named(path, store):
    with pytest.raises(StorageError, match=r"device\.db: database is locked \(SQLITE_BUSY\)"):
        DeviceStore(path)


def test_a_path_that_cannot_be_opened_is_named(tmp_path):
    with pytest.raises(StorageError, match=r"missing/device\.db: No such file or directory"):
        DeviceStore(tmp_path / "missing" / "device.db")


def test_a_file_that_is_read_only_is_named():
    with tempfile.TemporaryDirectory() as folder:  # pytest's own are closed to the user that root becomes here
        path = Path(folder) / "device.db"
        DeviceStore(path).close()
        path.parent.chmod(0o755)
        path.chmod(0o444)
        user = os.geteuid()
        if user == 0:  # who may write everywhere
            os.seteuid(NOBODY)
        try:
            with pytest.raises(StorageError, match=r"device\.db: Permission denied"):
                DeviceStore(path)
        finally:
            os.seteuid(user)


# --- damage ---


@pytest.fixture
def whole(path, rng):
    """The bytes of a store with something of everything, closed."""
    with closing(DeviceStore(path)) as store:
        store.put("count", 1)
        store.put_array("buffer", rng.normal(size=(200, 40)))
        for number in range(20):
            store.spool("alarm", f"topic/{number}", bytes([number]) * 500 * (1 + number % 6), key=f"key {number}")
    return path.read_bytes()


def test_a_damaged_file_is_put_aside_and_said(path, whole, caplog):
    """Wherever the file is hit: all that was stored, or a fresh store beside the damaged file; never half of it."""
    with closing(DeviceStore(path)) as store:
        stored = store.get("count"), store.array("buffer").tolist(), store.waiting(limit=99)
    chance = random.Random(5)
    damaged = [whole[:size] for size in range(2, len(whole), 4099)]
    for _ in range(400):
        start, size = chance.randrange(len(whole)), chance.choice([1, 1, 100, 4096])
        damaged.append(whole[:start] + chance.randbytes(size) + whole[start + size :])
    fresh = 0
    for content in damaged:
        path.write_bytes(content)
        caplog.clear()
        with closing(DeviceStore(path)) as store:
            if store.get("count") is None:
                fresh += 1
                assert path.with_name("device.db.damaged").read_bytes() == content
                assert "device.db: damaged" in caplog.text
                assert (store.array("buffer"), payloads(store)) == (None, [])
                store.put("count", 1)
            else:
                assert (store.get("count"), store.array("buffer").tolist(), store.waiting(limit=99)) == stored
    assert fresh > len(damaged) / 2
    assert sorted(file.name for file in path.parent.iterdir()) == ["device.db", "device.db.damaged"]


def test_a_file_of_another_program_is_put_aside(path, caplog):
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE theirs (x)")
    DeviceStore(path).close()
    assert "application id 0x0, expected 0x46745644" in caplog.text
    with closing(sqlite3.connect(path.with_name("device.db.damaged"))) as other:
        assert other.execute("SELECT count(*) FROM theirs").fetchone() == (0,)


def test_an_empty_file_is_said(path, caplog):
    path.touch()
    DeviceStore(path).close()
    assert "device.db: empty; starting afresh" in caplog.text


def test_a_file_of_a_newer_version_stays_untouched(path, whole):
    with closing(sqlite3.connect(path)) as newer:
        newer.execute(f"PRAGMA user_version = {LAYOUT.version + 1}")
    before = path.read_bytes()
    with pytest.raises(ConfigError, match=r"device\.db: schema version 2, made by a newer fedtiny"):
        DeviceStore(path)
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == ["device.db"]


# --- kills and power cuts ---


@pytest.mark.slow
def test_no_acknowledged_transaction_is_lost_and_none_is_half_there_after_a_kill(tmp_path):
    """A kill shows that a commit is whole; that it survives a power cut, see below."""
    done = subprocess.run([sys.executable, store_kills.__file__, tmp_path], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    kills, idle, steps = map(int, done.stdout.split())
    assert kills >= 100
    assert idle < kills / 2
    assert steps > kills


def reopened(path, file, log):
    """The step that a store is at whose file and log have this content; it is whole."""
    path.write_bytes(file)
    path.with_name("device.db-wal").write_bytes(log)
    with closing(DeviceStore(path)) as store:
        n = whole_step(store)
    assert not path.with_name("device.db.damaged").exists()
    return n


def test_a_log_that_a_power_cut_left_torn_opens_to_a_whole_step_and_loses_no_synced_one(path, tmp_path):
    """What a power cut may leave of the log: the part that was synced, and of what follows any part, or anything."""
    ends = []
    with closing(DeviceStore(path)) as store:
        for n in range(1, 25):
            step(store, n)
            ends.append(written(path))
        file, log = path.read_bytes(), path.with_name("device.db-wal").read_bytes()
    assert ends == sorted(set(ends))
    chance = random.Random(13)
    target = tmp_path / "after" / "device.db"
    target.parent.mkdir()
    for _ in range(150):
        cut = chance.randrange(len(log) + 1)
        rest = chance.choice([b"", bytes(len(log) - cut), chance.randbytes(len(log) - cut)])
        synced = sum(end <= cut for end in ends)
        assert reopened(target, file, log[:cut] + rest) in (synced, synced + 1)


def test_a_power_cut_while_the_log_is_copied_into_the_file_loses_nothing(path, tmp_path):
    """The file is then any mix of old and new pages; the log is whole, because it was synced before."""
    with closing(DeviceStore(path)) as store:
        for n in range(1, 25):
            step(store, n)
        old, log = path.read_bytes(), path.with_name("device.db-wal").read_bytes()
    new = path.read_bytes()
    old = old.ljust(len(new), b"\0")
    chance = random.Random(17)
    target = tmp_path / "after" / "device.db"
    target.parent.mkdir()
    for _ in range(50):
        pages = [chance.choice([old, new])[start : start + 4096] for start in range(0, len(new), 4096)]
        assert reopened(target, b"".join(pages[: chance.randrange(1, len(pages) + 1)]), log) == 24
