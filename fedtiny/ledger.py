"""The coordinator's memory: an SQLite ledger beside a folder of objects under their SHA-256."""

import hashlib
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fedtiny.errors import StorageError
from fedtiny.federation.local import LocalUpdate
from fedtiny.store import atomic_write

SCHEMA = """
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


@dataclass(frozen=True)
class RoundRow:
    """A round as the ledger has it; closed when ``outcome`` is set."""

    number: int
    release_id: str
    revision: int
    strategy: str
    opened_utc: str
    outcome: str | None
    loss_before: float | None
    loss_after: float | None
    bytes_up: int


class Ledger:
    """What a coordinator must never forget. Every method is one transaction that has reached the disk on return."""

    def __init__(self, folder: Path) -> None:
        self._objects = folder / "objects"
        self._objects.mkdir(parents=True, exist_ok=True)
        try:
            self._path = folder / "ledger.sqlite"
            self._db = sqlite3.connect(self._path, timeout=10)
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.execute("PRAGMA foreign_keys = ON")
            self._db.executescript(SCHEMA)
        except sqlite3.Error as error:
            raise StorageError(f"{self._path}: {error}") from None

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        try:
            with self._db:
                yield
        except sqlite3.Error as error:
            raise StorageError(f"{self._path}: {error}") from None

    def close(self) -> None:
        """Close the database."""
        self._db.close()

    def put_object(self, data: bytes) -> str:
        """Keep ``data`` under its SHA-256, which is returned."""
        name = hashlib.sha256(data).hexdigest()
        path = self._objects / name
        if not path.exists():
            atomic_write(path, data)
        return name

    def get_object(self, name: str) -> bytes:
        """What was kept under ``name``; StorageError when it is gone or no longer what it was."""
        path = self._objects / name
        data = path.read_bytes() if path.exists() else b""
        if hashlib.sha256(data).hexdigest() != name:
            raise StorageError(f"{path}: missing or damaged")
        return data

    def newest_revision(self, release_id: str) -> tuple[int, bytes] | None:
        """(revision, head message) of the newest revision of a release."""
        row = self._db.execute(
            "SELECT revision, object FROM revisions WHERE release_id = ? ORDER BY revision DESC LIMIT 1",
            (release_id,),
        ).fetchone()
        return None if row is None else (row[0], self.get_object(row[1]))

    def last_round(self) -> RoundRow | None:
        """The newest round, open or closed."""
        row = self._db.execute(
            "SELECT number, release_id, revision, strategy, opened_utc, outcome, loss_before, loss_after, bytes_up "
            "FROM rounds ORDER BY number DESC LIMIT 1"
        ).fetchone()
        return None if row is None else RoundRow(*row)

    def completed(self, release_id: str) -> int:
        """How many rounds made a revision of this release."""
        query = "SELECT COUNT(*) FROM revisions WHERE release_id = ? AND round > 0"
        return int(self._db.execute(query, (release_id,)).fetchone()[0])

    def add_revision(self, release_id: str, revision: int, head: bytes, now_utc: str) -> None:
        """Keep a revision that no round made: a release's own head."""
        name = self.put_object(head)
        with self._transaction():
            self._db.execute(
                "INSERT OR IGNORE INTO revisions VALUES (?, ?, ?, 0, ?)", (release_id, revision, name, now_utc)
            )

    def open_round(self, number: int, release_id: str, revision: int, strategy: str, now_utc: str) -> None:
        """Note that a round opened."""
        with self._transaction():
            self._db.execute(
                "INSERT INTO rounds (number, release_id, revision, strategy, opened_utc) VALUES (?, ?, ?, ?, ?)",
                (number, release_id, revision, strategy, now_utc),
            )

    def add_update(self, number: int, device: str, update: LocalUpdate) -> None:
        """Keep one update of the open round."""
        u = update
        row = (number, device, u.num_examples, u.output_min, u.output_max, u.loss_before, u.loss_after)
        with self._transaction():
            self._db.execute(
                "INSERT OR REPLACE INTO updates VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (*row, len(u.payload), u.payload),
            )

    def updates(self, number: int) -> dict[str, LocalUpdate]:
        """The updates of an open round by device, in the order of the devices' names."""
        rows = self._db.execute(
            "SELECT device, payload, num_examples, output_min, output_max, loss_before, loss_after "
            "FROM updates WHERE round = ? ORDER BY device",
            (number,),
        )
        return {device: LocalUpdate(*rest) for device, *rest in rows}

    def close_round(
        self,
        number: int,
        now_utc: str,
        outcome: str,
        *,
        losses: tuple[float, float] | None = None,
        bytes_up: int = 0,
        revision: tuple[str, int, bytes] | None = None,
    ) -> None:
        """Close a round with its outcome and, in the same transaction, the revision (id, number, head) it made."""
        name = self.put_object(revision[2]) if revision else ""
        with self._transaction():
            if revision:
                self._db.execute("INSERT INTO revisions VALUES (?, ?, ?, ?, ?)", (*revision[:2], name, number, now_utc))
            self._db.execute(
                "UPDATE rounds SET closed_utc = ?, outcome = ?, loss_before = ?, loss_after = ?, bytes_up = ? "
                "WHERE number = ?",
                (now_utc, outcome, *(losses or (None, None)), bytes_up, number),
            )
            self._db.execute("UPDATE updates SET payload = NULL WHERE round = ?", (number,))
