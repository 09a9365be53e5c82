"""What a device must not forget: its state, and the messages that the broker has not taken yet.

Both are in one file so that they change in one transaction: a window that raises the alarm, the alarm's message and
how far the source was read are there together after a crash, or none is.

State is JSON values and numpy arrays by key. Only what differs reaches the disk (SD cards wear out): a value that is
put again unchanged costs nothing, and an array is kept in blocks of 16 kB, so that a ring buffer which is written in
place costs its new rows.

The spool delivers at least once and in order: publish what is waiting, in order of id; delete on the broker's
acknowledgement. Ids are never used twice, and no clock takes part. Each kind has its own bound; above it the oldest of
that kind go first and are counted, so that scores never push an alarm out.
"""

import json
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fedtiny.sqlite_file import Layout, SqliteFile, checksum

Kind = Literal["alarm", "update", "score"]
BLOCK_BYTES = 16 * 1024
MAX_FILE_BYTES = 64 * 1024 * 1024
LAYOUT = Layout(
    application_id=0x46745644,  # "FtVD"
    version=1,
    checked={
        "state": "key, data",
        "arrays": "key, dtype, shape",
        "blocks": "array, number, data",
        "spool": "kind, key, topic, retain, data",
    },
    schema="""
CREATE TABLE state (key TEXT PRIMARY KEY, data BLOB NOT NULL, crc INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE arrays (
  key TEXT PRIMARY KEY, dtype TEXT NOT NULL, shape TEXT NOT NULL, crc INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE blocks (
  array TEXT NOT NULL, number INTEGER NOT NULL, crc INTEGER NOT NULL, data BLOB NOT NULL, PRIMARY KEY (array, number));
CREATE TABLE spool (
  id INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, key TEXT NOT NULL, topic TEXT NOT NULL,
  retain INTEGER NOT NULL, crc INTEGER NOT NULL, data BLOB NOT NULL);
CREATE INDEX spool_kind ON spool (kind);
CREATE TABLE kinds (
  kind TEXT PRIMARY KEY, messages INTEGER NOT NULL, bytes INTEGER NOT NULL, dropped INTEGER NOT NULL) WITHOUT ROWID;
CREATE TRIGGER comes AFTER INSERT ON spool BEGIN
  INSERT INTO kinds VALUES (NEW.kind, 1, length(NEW.data), 0)
  ON CONFLICT (kind) DO UPDATE SET messages = messages + 1, bytes = bytes + excluded.bytes;
END;
CREATE TRIGGER goes AFTER DELETE ON spool BEGIN
  UPDATE kinds SET messages = messages - 1, bytes = bytes - length(OLD.data) WHERE kind = OLD.kind;
END;
""",
)


@dataclass(frozen=True)
class Limit:
    """The most that waits of one kind: messages, and bytes of their payloads."""

    messages: int
    bytes: int


LIMITS: Mapping[Kind, Limit] = {
    "alarm": Limit(10_000, 8_000_000),
    "update": Limit(100, 8_000_000),
    "score": Limit(20_000, 4_000_000),
}


@dataclass(frozen=True)
class Spooled:
    """A message that waits. ``id`` grows in the order of spooling."""

    id: int
    kind: Kind
    key: str
    topic: str
    retain: bool
    payload: bytes


@dataclass(frozen=True)
class Backlog:
    """Of one kind: what waits, in messages and bytes of payload, and how many the bound has cost since the start."""

    messages: int
    bytes: int
    dropped: int


class DeviceStore:
    """The store of one device, opened under the lock of its folder; see SqliteFile for its errors and promises."""

    def __init__(
        self, path: Path, limits: Mapping[Kind, Limit] = LIMITS, *, max_file_bytes: int = MAX_FILE_BYTES
    ) -> None:
        self._limits = limits
        self._file = SqliteFile(path, LAYOUT, max_bytes=max_file_bytes)

    def transaction(self) -> AbstractContextManager[None]:
        """All that is put, spooled and delivered within is one commit; a write outside is a commit of its own."""
        return self._file.transaction()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    # --- state ---

    def get(self, key: str, default: Any = None) -> Any:
        """The value under ``key`` as JSON gives it back (a tuple comes as a list); ``default`` where there is none."""
        rows = self._file.execute("SELECT data FROM state WHERE key = ?", key)
        return json.loads(rows[0][0]) if rows else default

    def put(self, key: str, value: Any) -> None:
        """Keep a value that JSON can hold under ``key``."""
        data = json.dumps(value, separators=(",", ":")).encode()
        self._file.execute(
            "INSERT INTO state VALUES (?, ?, ?) "
            "ON CONFLICT (key) DO UPDATE SET data = excluded.data, crc = excluded.crc WHERE data <> excluded.data",
            key,
            data,
            checksum(key, data),
        )

    def array(self, key: str) -> NDArray[Any] | None:
        """The array under ``key``, writable and with the dtype that it had; None where there is none."""
        rows = self._file.execute("SELECT dtype, shape FROM arrays WHERE key = ?", key)
        if not rows:
            return None
        dtype, shape = rows[0]
        blocks = self._file.execute("SELECT data FROM blocks WHERE array = ? ORDER BY number", key)
        return np.frombuffer(bytearray().join(data for (data,) in blocks), dtype).reshape(json.loads(shape))

    def put_array(self, key: str, array: NDArray[Any] | None) -> None:
        """Keep an array of numbers or booleans under ``key``, or none; blocks that did not change are not written."""
        if array is not None and array.dtype.kind not in "fiub":
            raise ValueError(f"array {key!r}: dtype {array.dtype}, expected float, int or bool")
        count = 0
        with self._file.joined():
            if array is None:
                self._file.execute("DELETE FROM arrays WHERE key = ?", key)
            else:
                dtype, shape = array.dtype.str, json.dumps(array.shape)
                self._file.execute(
                    "INSERT INTO arrays VALUES (?, ?, ?, ?) "
                    "ON CONFLICT (key) DO UPDATE "
                    "SET dtype = excluded.dtype, shape = excluded.shape, crc = excluded.crc "
                    "WHERE (dtype, shape) <> (excluded.dtype, excluded.shape)",
                    key,
                    dtype,
                    shape,
                    checksum(key, dtype, shape),
                )
                content = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
                count = -(-content.size // BLOCK_BYTES)
                for number in range(count):
                    block = content[number * BLOCK_BYTES : (number + 1) * BLOCK_BYTES].data
                    self._file.execute(
                        "INSERT INTO blocks VALUES (?, ?, ?, ?) "
                        "ON CONFLICT (array, number) DO UPDATE SET crc = excluded.crc, data = excluded.data "
                        "WHERE data <> excluded.data",
                        key,
                        number,
                        checksum(key, number, block),
                        block,
                    )
            self._file.execute("DELETE FROM blocks WHERE array = ? AND number >= ?", key, count)

    # --- spool ---

    def spool(self, kind: Kind, topic: str, payload: bytes, *, retain: bool = False, key: str = "") -> int:
        """Keep a message until it is delivered and return its id; raises ValueError where it exceeds its kind's bound.

        key: where not empty, the message takes the place of those of its kind and key that still wait, at the end of
        the queue: of a round only the newest update matters.
        """
        limit = self._limits[kind]
        if len(payload) > limit.bytes:
            raise ValueError(f"{topic}: {kind} of {len(payload)} bytes, the spool takes up to {limit.bytes}")
        with self._file.joined():
            if key:
                self._file.execute("DELETE FROM spool WHERE kind = ? AND key = ?", kind, key)
            ((spooled,),) = self._file.execute(
                "INSERT INTO spool (kind, key, topic, retain, crc, data) VALUES (?, ?, ?, ?, ?, ?) RETURNING id",
                kind,
                key,
                topic,
                int(retain),
                checksum(kind, key, topic, int(retain), payload),
                payload,
            )
            backlog = self.backlog()[kind]
            while backlog.messages > limit.messages or backlog.bytes > limit.bytes:
                self._file.execute("DELETE FROM spool WHERE id = (SELECT min(id) FROM spool WHERE kind = ?)", kind)
                self._file.execute("UPDATE kinds SET dropped = dropped + 1 WHERE kind = ?", kind)
                backlog = self.backlog()[kind]
        return int(spooled)

    def waiting(self, after_id: int = 0, limit: int = 16) -> list[Spooled]:
        """The oldest messages with an id above ``after_id``, at most ``limit``, in order."""
        rows = self._file.execute(
            "SELECT id, kind, key, topic, retain, data FROM spool WHERE id > ? ORDER BY id LIMIT ?", after_id, limit
        )
        return [Spooled(id_, kind, key, topic, bool(retain), data) for id_, kind, key, topic, retain, data in rows]

    def delivered(self, *ids: int) -> None:
        """Forget messages that the broker has acknowledged; one that was replaced or dropped meanwhile is no error."""
        with self._file.joined():
            for id_ in ids:
                self._file.execute("DELETE FROM spool WHERE id = ?", id_)

    def backlog(self) -> dict[Kind, Backlog]:
        """What waits of each kind that was ever spooled."""
        return {kind: Backlog(*rest) for kind, *rest in self._file.execute("SELECT * FROM kinds")}
