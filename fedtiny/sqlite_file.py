"""One SQLite file that one process writes and no crash leaves half written.

WAL with synchronous FULL: a commit returns once the log has been synced, so it holds through SIGKILL and, on storage
that does what fsync asks of it, through a power cut. Between transactions the log is about 4 MiB (more after
a larger one, until the next), the file
at most what its owner allows; space that is freed is used again. Nothing is mapped into memory and the page cache is
256 kB.

A file that cannot be trusted is put aside beside its log, as FILE.damaged, and a fresh one is begun: a device in the
field must not stop at the same damage at every start. SQLite notices a damaged structure but not a damaged value, so
the tables have a column ``crc`` with the checksum() of their other ones.
"""

import logging
import sqlite3
import zlib
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedtiny.errors import ConfigError, StorageError

log = logging.getLogger(__name__)
PAGE_BYTES = 4096
LOG_PAGES = 1000  # of the write-ahead log, after which it is copied into the file
BUSY_S = 1.0
# SQLITE_ERROR: a table or a text that is not what it was
DAMAGE = (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_ERROR)
SETTINGS = f"""
PRAGMA page_size = {PAGE_BYTES};
PRAGMA locking_mode = EXCLUSIVE;
PRAGMA synchronous = FULL;
PRAGMA secure_delete = OFF;
PRAGMA cache_size = -256;
PRAGMA mmap_size = 0;
PRAGMA temp_store = MEMORY;
PRAGMA wal_autocheckpoint = {LOG_PAGES};
PRAGMA journal_size_limit = {LOG_PAGES * PAGE_BYTES};
"""


@dataclass(frozen=True)
class Layout:
    """What is in a file: who made it, in which version, with which tables.

    checked: a table with a column crc -> the columns, comma-separated, of which it is the checksum.
    """

    application_id: int
    version: int
    schema: str
    checked: Mapping[str, str]


class _DamageError(Exception):
    """The file is not what it was when it was last written."""


def checksum(*columns: int | str | bytes | memoryview) -> int:
    """CRC-32 of a row's columns."""
    crc = 0
    for column in columns:
        crc = zlib.crc32(str(column).encode() if isinstance(column, int | str) else column, crc)
    return crc


class SqliteFile:
    """An open file. Call it from one thread; the caller sees to it that no other process uses the path.

    Raises StorageError, from here and from every method, where the disk is full, read-only, failing or the file
    locked, and then nothing has changed; ConfigError where a newer version made the file, which stays untouched.
    """

    def __init__(self, path: Path, layout: Layout, *, max_bytes: int) -> None:
        self._path = path
        self._lost: StorageError | None = None  # why the open transaction can only be rolled back
        self._in_transaction = False
        try:
            try:
                self._db = _open(path, layout)
            except _DamageError as damage:
                _put_aside(path)
                log.error("%s: damaged (%s); kept as %s.damaged, starting afresh", path, damage, path.name)
                self._db = _open(path, layout)
        except (sqlite3.Error, OSError) as error:
            raise _storage_error(path, error) from None
        self.execute(f"PRAGMA max_page_count = {max_bytes // PAGE_BYTES}")

    def execute(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Run one statement and return its rows; outside of a transaction it is one of its own."""
        if self._lost is not None:
            raise self._lost  # SQLite may have rolled back already: nothing more of this transaction may be written
        try:
            return self._db.execute(statement, parameters).fetchall()
        except sqlite3.Error as error:
            reason = _storage_error(self._path, error)
            if self._in_transaction:
                self._lost = reason
            raise reason from None

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All statements within reach the disk together at its end, or none does when anything raises."""
        if self._in_transaction:
            raise RuntimeError(f"{self._path}: a transaction is open already")
        self.execute("BEGIN IMMEDIATE")
        self._in_transaction = True
        try:
            yield
            self.execute("COMMIT")
        finally:
            self._in_transaction, self._lost = False, None
            if self._db.in_transaction:
                self._db.rollback()

    @contextmanager
    def joined(self) -> Iterator[None]:
        """Part of the transaction that is open, or else one of its own."""
        if self._in_transaction:
            yield
        else:
            with self.transaction():
                yield

    def close(self) -> None:
        """Copy the log into the file and close it."""
        self._db.close()


def _storage_error(path: Path, error: sqlite3.Error | OSError) -> StorageError:
    if isinstance(error, OSError):
        return StorageError(f"{path}: {error.strerror}")
    return StorageError(f"{path}: {error} ({getattr(error, 'sqlite_errorname', type(error).__name__)})")


def _open(path: Path, layout: Layout) -> sqlite3.Connection:
    """Open ``path``, made where it is missing; raises _DamageError, ConfigError, sqlite3.Error, OSError."""
    found = path.exists()
    path.open("ab").close()  # SQLite would not say why it cannot, and would open a read-only file
    db = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None)
    try:
        db.executescript(SETTINGS)
        db.create_function("checksum", -1, checksum, deterministic=True)
        if db.execute("PRAGMA page_count").fetchone() == (0,):
            if found:
                log.warning("%s: empty; starting afresh", path)
            marks = f"PRAGMA application_id = {layout.application_id}; PRAGMA user_version = {layout.version};"
            db.executescript(f"BEGIN; {layout.schema} {marks} COMMIT;")
        else:
            _check(db, path, layout)
        db.execute("PRAGMA journal_mode = WAL")
    except UnicodeDecodeError:  # SQLite's message quotes what it could not read
        db.close()
        raise _DamageError("unreadable") from None
    except sqlite3.DatabaseError as error:
        db.close()
        if error.sqlite_errorcode & 0xFF in DAMAGE:
            raise _DamageError(str(error)) from None
        raise
    except BaseException:  # whatever it is, the file must not stay open and locked behind it
        db.close()
        raise
    return db


def _check(db: sqlite3.Connection, path: Path, layout: Layout) -> None:
    ((application,),) = db.execute("PRAGMA application_id")
    ((version,),) = db.execute("PRAGMA user_version")
    if application != layout.application_id:
        raise _DamageError(f"application id {application:#x}, expected {layout.application_id:#x}")
    if version > layout.version:
        raise ConfigError(
            f"{path}: schema version {version}, made by a newer fedtiny; this one knows {layout.version}: "
            "update it, or choose another state folder"
        )
    if version < layout.version:
        raise _DamageError(f"schema version {version}, expected {layout.version}")
    with closing(db.execute("PRAGMA quick_check(1)")) as findings:
        (finding,) = next(findings)
    if finding != "ok":
        raise _DamageError(finding.replace("*** in database main ***\n", ""))
    for table, columns in layout.checked.items():
        ((wrong,),) = db.execute(f"SELECT count(*) FROM {table} WHERE checksum({columns}) <> crc")
        if wrong:
            raise _DamageError(f"{wrong} rows of {table} fail their checksum")


def _put_aside(path: Path) -> None:
    """Rename the file and what belongs to it, over those of an earlier damage: there is at most one set."""
    for suffix in ("-wal", "-shm", "-journal", ""):  # the file last: killed half-way, the next start finds it again
        part, aside = Path(f"{path}{suffix}"), Path(f"{path}.damaged{suffix}")
        if part.exists():
            part.replace(aside)
        else:
            aside.unlink(missing_ok=True)
