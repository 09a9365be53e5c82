"""The ledger's file: made, migrated, damaged, locked, full, killed."""

import hashlib
import random
import resource
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing, contextmanager

import ledger_kills
import pytest
from ledger_kills import FILE, RELEASE, step, whole_step

from fedtiny.errors import ConfigError, StorageError
from fedtiny.federation.local import LocalUpdate
from fedtiny.ledger import Ledger, database
from fedtiny.ledger.schema import STEPS

FIRST_SCHEMA = """
CREATE TABLE IF NOT EXISTS revisions (
  release_id TEXT NOT NULL, revision INTEGER NOT NULL, object TEXT NOT NULL, round INTEGER NOT NULL,
  created_utc TEXT NOT NULL, PRIMARY KEY (release_id, revision));
CREATE TABLE IF NOT EXISTS rounds (
  number INTEGER PRIMARY KEY, release_id TEXT NOT NULL, revision INTEGER NOT NULL, strategy TEXT NOT NULL,
  opened_utc TEXT NOT NULL, closed_utc TEXT, outcome TEXT, loss_before REAL, loss_after REAL,
  bytes_up INTEGER NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS updates (
  round INTEGER NOT NULL REFERENCES rounds (number), device TEXT NOT NULL, num_examples INTEGER NOT NULL,
  output_min REAL NOT NULL, output_max REAL NOT NULL, loss_before REAL NOT NULL, loss_after REAL NOT NULL,
  bytes INTEGER NOT NULL, payload BLOB, PRIMARY KEY (round, device));
PRAGMA user_version = 1;
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ledger.sqlite"


@pytest.fixture
def written(tmp_path, path):
    """A closed ledger's folder, at its sixth step: a round that made a revision, and one with updates that wait."""
    with closing(Ledger(tmp_path)) as ledger:
        for n in range(1, 7):
            step(ledger, n)
    return tmp_path


# --- versions ---


@pytest.fixture
def first_version(tmp_path, path):
    """A ledger as the first version left it: a round that made a revision, one that did not, an open one."""
    objects = tmp_path / "objects"
    objects.mkdir()
    names = [hashlib.sha256(data).hexdigest() for data in (b"head 0", b"head 1", FILE)]
    for name, data in zip(names, (b"head 0", b"head 1", FILE), strict=True):
        (objects / name).write_bytes(data)
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.executescript(FIRST_SCHEMA)
        db.execute("INSERT INTO revisions VALUES (?, 0, ?, 0, 'then')", (RELEASE, names[0]))
        db.execute("INSERT INTO rounds VALUES (1, ?, 0, 'ridge', 'a', 'b', 'revision 1', 0.5, 0.25, 7)", (RELEASE,))
        db.execute("INSERT INTO revisions VALUES (?, 1, ?, 1, 'b')", (RELEASE, names[1]))
        db.execute("INSERT INTO rounds VALUES (2, ?, 1, 'fedavg', 'c', 'd', 'no quorum', NULL, NULL, 0)", (RELEASE,))
        db.execute("INSERT INTO rounds VALUES (3, ?, 1, 'fedavg', 'e', NULL, NULL, NULL, NULL, 0)", (RELEASE,))
        for number, payload in ((1, None), (2, None), (3, b"kept")):
            db.execute("INSERT INTO updates VALUES (?, 'pump', 5, -1, 1, 0.75, 0.5, 4, ?)", (number, payload))
        db.commit()
    return tmp_path


def test_a_ledger_of_the_first_version_is_brought_up_to_date(first_version):
    for _ in range(2):
        with closing(Ledger(first_version)) as ledger:
            first, second = ledger.revisions(RELEASE)
            assert (first.parent, first.round, ledger.payload(first)) == (None, None, b"head 0")
            assert (second.parent, second.round, second.serial, ledger.payload(second)) == (0, 1, 0, b"head 1")
            assert (ledger.current_release(), ledger.releases()) == (None, [RELEASE])
            assert ledger.release_data(RELEASE) == FILE
            assert [(row.number, row.outcome, row.made) for row in ledger.rounds(9)] == [
                (3, None, None),
                (2, "no quorum", None),
                (1, "revision 1", 1),
            ]
            assert [(row.round, row.kind, row.fate, row.reason) for row in ledger.updates_of("pump", 9)] == [
                (3, "delta", "waiting", None),
                (2, "delta", "abandoned", "no quorum"),
                (1, "statistics", "used", None),
            ]
            assert list(ledger.waiting(3)) == [("pump", LocalUpdate(b"kept", 5, -1, 1, 0.75, 0.5), 1)]
            assert ledger.execute("PRAGMA foreign_key_check") == []


def test_a_migration_that_is_cut_short_changes_nothing(first_version, monkeypatch):
    monkeypatch.setattr(database, "STEPS", (*STEPS[:1], STEPS[1] + "SELECT * FROM elsewhere;"))
    with pytest.raises(StorageError, match="no such table: elsewhere"):
        Ledger(first_version)
    monkeypatch.undo()
    test_a_ledger_of_the_first_version_is_brought_up_to_date(first_version)


def test_a_guest_leaves_an_older_ledger_as_it_is(first_version, path):
    with pytest.raises(ConfigError, match="version 1, expected 4: the coordinator brings it up to date"):
        Ledger(first_version, guest=True)
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (1,)


@pytest.mark.parametrize("guest", [False, True])
def test_a_ledger_of_a_newer_version_stays_untouched(written, path, guest):
    with closing(sqlite3.connect(path)) as newer:
        newer.execute(f"PRAGMA user_version = {len(STEPS) + 1}")
    before = path.read_bytes()
    with pytest.raises(ConfigError, match=r"ledger\.sqlite: schema version 5, made by a newer fedtiny"):
        Ledger(written, guest=guest)
    assert path.read_bytes() == before


def test_the_database_of_another_program_stays_untouched(tmp_path, path):
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE theirs (x)")
    before = path.read_bytes()
    with pytest.raises(ConfigError, match="another program's database"):
        Ledger(tmp_path)
    assert path.read_bytes() == before


def test_a_guest_makes_no_ledger(tmp_path):
    with pytest.raises(ConfigError, match="no ledger here: the coordinator makes it"):
        Ledger(tmp_path, guest=True)
    assert not list(tmp_path.iterdir())


# --- damage ---


def test_a_damaged_ledger_is_said_and_never_begun_afresh(written, path):
    """Wherever the file is hit: all that was stored, a clear refusal, or a value that SQLite cannot know is wrong."""
    whole, chance = path.read_bytes(), random.Random(5)
    damaged = [whole[:size] for size in range(0, len(whole), 8111)]
    for _ in range(150):
        start, size = chance.randrange(len(whole)), chance.choice([100, 4096])
        damaged.append(whole[:start] + chance.randbytes(size) + whole[start + size :])
    refused = []
    for content in damaged:
        path.write_bytes(content)
        try:
            with closing(Ledger(written)) as ledger:
                assert len(ledger.rounds(9)) == 2
        except (StorageError, ConfigError) as error:
            refused.append(str(error))
            assert path.read_bytes() == content
    assert len(refused) > len(damaged) / 2
    assert all(line.startswith(f"{path}: ") and "\n" not in line for line in refused)
    path.write_bytes(bytes(100) + whole[100:])
    with pytest.raises(StorageError, match=r"damaged \(file is not a database\); put .* back from a copy, or move it"):
        Ledger(written)


def test_a_ledger_that_is_gone_while_its_objects_are_there_is_said(written, path):
    path.unlink()
    with pytest.raises(StorageError, match=r"ledger\.sqlite: gone, but its objects are there"):
        Ledger(written)
    assert not path.exists()


def test_an_object_that_is_damaged_or_gone_is_named_until_it_is_put_again(written):
    with closing(Ledger(written)) as ledger:
        name = ledger.put_object(FILE)
        file = written / "objects" / name
        file.write_bytes(b"re1ease")
        with pytest.raises(StorageError, match=f"{name}: damaged"):
            ledger.release_data(RELEASE)
        assert ledger.put_object(FILE) == name
        assert ledger.release_data(RELEASE) == FILE
        file.unlink()
        with pytest.raises(StorageError, match=f"{name}: No such file or directory"):
            ledger.release_data(RELEASE)


# --- disks, locks ---


def test_a_ledger_that_is_locked_for_too_long_is_said_and_goes_on_afterwards(written, path, monkeypatch):
    monkeypatch.setattr(database, "BUSY_S", 0.2)
    with closing(Ledger(written)) as ledger, closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageError, match=r"ledger\.sqlite: locked by another process for more than 0\.2 s"):
            step(ledger, 7)
        assert whole_step(ledger) == 6  # it can be read meanwhile
        other.execute("ROLLBACK")
        step(ledger, 7)
        assert whole_step(ledger) == 7


@contextmanager
def full_disk(folder):
    """Nothing grows above the size that the ledger's log has now."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    size = (folder / "ledger.sqlite-wal").stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_full_disk_changes_nothing_and_is_over_when_there_is_space(tmp_path):
    with closing(Ledger(tmp_path)) as ledger:
        for n in range(1, 10):
            with (
                full_disk(tmp_path),
                pytest.raises(StorageError, match=r"ledger\.sqlite: disk I/O error|File too large"),
            ):
                step(ledger, n)
            assert whole_step(ledger) == n - 1
            step(ledger, n)
            assert whole_step(ledger) == n


def test_a_failed_transaction_that_somebody_swallows_is_not_written_in_part(tmp_path):
    with closing(Ledger(tmp_path)) as ledger:
        ledger.execute("PRAGMA max_page_count = 60")
        with pytest.raises(StorageError, match="the transaction has failed already"), ledger.transaction():  # noqa: PT012
            ledger.set_setting("first", "kept?")
            with pytest.raises(StorageError, match="full"):
                ledger.set_setting("large", "x" * 300_000)
            ledger.set_setting("second", "kept alone?")
        assert (ledger.setting("first"), ledger.setting("second")) == (None, None)


# --- kills ---


@pytest.mark.slow
def test_no_acknowledged_transaction_is_lost_and_none_is_half_there_after_a_kill(tmp_path):
    done = subprocess.run([sys.executable, ledger_kills.__file__, tmp_path], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    kills, idle, steps = map(int, done.stdout.split())
    assert kills >= 100
    assert idle < kills * 2 / 3
    assert steps > kills


def test_a_log_that_a_power_cut_left_torn_opens_to_a_whole_step(tmp_path):
    ends, folder, after = [], tmp_path / "whole", tmp_path / "after"
    folder.mkdir()
    with closing(Ledger(folder)) as ledger:
        for n in range(1, 25):
            step(ledger, n)
            ends.append((folder / "ledger.sqlite-wal").stat().st_size)
        file, log = ((folder / f"ledger.sqlite{end}").read_bytes() for end in ("", "-wal"))
    chance = random.Random(13)
    for _ in range(60):
        shutil.rmtree(after, ignore_errors=True)
        after.mkdir()
        (after / "objects").symlink_to(folder / "objects")
        cut = chance.randrange(ends[0], len(log) + 1)
        (after / "ledger.sqlite").write_bytes(file)
        (after / "ledger.sqlite-wal").write_bytes(log[:cut] + chance.choice([b"", bytes(99), chance.randbytes(9999)]))
        with closing(Ledger(after)) as ledger:
            assert whole_step(ledger) == sum(end <= cut for end in ends)
