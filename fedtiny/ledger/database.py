"""The ledger's SQLite file: opened, brought up to date, written in transactions.

WAL with synchronous FULL: a commit returns once it is on the disk, and other processes may read, and write an order,
meanwhile. Unlike a device's store (``fedtiny.sqlite_file``), a ledger that cannot be trusted is never put aside for a
fresh one: a coordinator that forgets would publish a second head under a number that the fleet knows.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from fedtiny.errors import ConfigError, StorageError
from fedtiny.ledger.schema import APPLICATION_ID, STEPS

BUSY_S = 5.0
PAGE_BYTES = 4096
LOG_BYTES = 16 * 1024 * 1024  # what the log is cut back to after a larger transaction
DAMAGE = (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT)
BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


class Database:
    """An open ledger file. Call it from one thread.

    guest: another process than the coordinator, which neither makes the file nor changes its tables.

    Raises StorageError, from here and from every method, where the disk is full or failing, the file damaged, or
    locked for longer than ``BUSY_S``; then nothing has changed. ConfigError where another version of fedtiny made the
    file, which stays untouched, and where a guest finds none.
    """

    def __init__(self, path: Path, *, guest: bool) -> None:
        self._path = path
        self._depth = 0  # of transactions within transactions
        if guest and not path.exists():
            raise ConfigError(f"{path.parent}: no ledger here: the coordinator makes it when it first starts")
        try:
            if not guest:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.open("ab").close()  # SQLite would not say why it cannot, and would open a read-only file
            self._db = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None)
        except (OSError, sqlite3.Error) as error:
            raise self._failure(error) from None
        try:
            self._open(guest)
        except (sqlite3.Error, UnicodeDecodeError) as error:  # the latter: SQLite's message quotes what is damaged
            self._db.close()
            raise self._failure(error) from None
        except BaseException:  # whatever it is, the file must not stay open
            self._db.close()
            raise

    def execute(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Run one statement and return its rows; outside of a transaction it is one of its own."""
        if self._depth and not self._db.in_transaction:  # SQLite gave it up after an error that somebody swallowed
            raise StorageError(f"{self._path}: the transaction has failed already")
        try:
            return self._db.execute(statement, parameters).fetchall()
        except sqlite3.Error as error:
            raise self._failure(error) from None

    def stream(self, query: str, *parameters: Any) -> Iterator[tuple[Any, ...]]:
        """The rows of a query one by one, as it stood when the first was asked for; however many, none is kept."""
        try:
            with closing(self._db.execute(query, parameters)) as rows:
                yield from rows
        except sqlite3.Error as error:
            raise self._failure(error) from None

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All that is written within reaches the disk together at its end, or none of it does when anything raises.

        One within another joins it: it reaches the disk with the outer one, and can fail without it.
        """
        inner = self._depth > 0
        self.execute("SAVEPOINT part" if inner else "BEGIN IMMEDIATE")
        self._depth += 1
        try:
            yield
            self.execute("RELEASE part" if inner else "COMMIT")
        except BaseException:  # whatever it is, half a transaction must not stay
            if self._db.in_transaction:
                for undo in ("ROLLBACK TO part", "RELEASE part") if inner else ("ROLLBACK",):
                    self._db.execute(undo)
            raise
        finally:
            self._depth -= 1

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def _open(self, guest: bool) -> None:
        ((application,),) = self._db.execute("PRAGMA application_id")
        ((version,),) = self._db.execute("PRAGMA user_version")
        ((tables,),) = self._db.execute("SELECT count(*) FROM sqlite_schema")
        if version > len(STEPS) and application == APPLICATION_ID:
            raise ConfigError(
                f"{self._path}: schema version {version}, made by a newer fedtiny; this one knows {len(STEPS)}: "
                "update it, or choose another state folder"
            )
        if application != (APPLICATION_ID if version > 1 else 0) or (tables > 0) != (version > 0):
            raise ConfigError(f"{self._path}: another program's database, expected a coordinator's ledger")
        if guest and version < len(STEPS):
            raise ConfigError(
                f"{self._path}: schema version {version}, expected {len(STEPS)}: "
                "the coordinator brings it up to date when it next starts"
            )
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.execute(f"PRAGMA wal_autocheckpoint = {LOG_BYTES // PAGE_BYTES}")
        self._db.execute(f"PRAGMA journal_size_limit = {LOG_BYTES}")
        if not guest:
            with closing(self._db.execute("PRAGMA quick_check(1)")) as findings:
                (finding,) = next(findings)
            if finding != "ok":
                raise self._damaged(finding.replace("*** in database main ***\n", ""))
            self._db.execute("PRAGMA journal_mode = WAL")
            self._migrate(version)
        self._db.execute("PRAGMA foreign_keys = ON")

    def _migrate(self, version: int) -> None:
        for number, step in enumerate(STEPS[version:], version + 1):
            try:
                self._db.executescript(f"BEGIN IMMEDIATE; {step} PRAGMA user_version = {number}; COMMIT;")
            except sqlite3.Error:
                if self._db.in_transaction:
                    self._db.rollback()
                raise

    def _damaged(self, detail: str) -> StorageError:
        return StorageError(
            f"{self._path}: damaged ({detail}); put {self._path.parent} back from a copy, or move it away to begin "
            "anew from the fleet's newest head"
        )

    def _failure(self, error: Exception) -> StorageError:
        if isinstance(error, OSError):
            return StorageError(f"{self._path}: {error.strerror}")
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if isinstance(error, UnicodeDecodeError) or code in DAMAGE:
            return self._damaged("unreadable" if isinstance(error, UnicodeDecodeError) else str(error))
        if code in BUSY:
            return StorageError(f"{self._path}: locked by another process for more than {BUSY_S:g} s")
        return StorageError(f"{self._path}: {error} ({getattr(error, 'sqlite_errorname', type(error).__name__)})")
