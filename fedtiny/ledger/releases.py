"""The ledger of what was published: releases, and the revisions of their heads."""

import io
from collections.abc import Mapping
from dataclasses import astuple, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedtiny.errors import ConfigError, StorageError
from fedtiny.ledger.database import Database
from fedtiny.ledger.objects import Objects
from fedtiny.ledger.rows import ReleaseRow, RevisionRow

SERIAL = "serial"  # setting: the last one given out
COLUMNS = ", ".join(field.name for field in fields(RevisionRow))


class Releases(Database):
    """Releases, publications, revisions. The file of a release, and each message, is an object."""

    _objects: Objects

    def next_serial(self) -> int:
        """The next number of the count over all that is published; never the same again, nor a lower one."""
        ((serial,),) = self.execute(
            "INSERT INTO settings VALUES (?, 1) ON CONFLICT (key) DO UPDATE SET value = value + 1 RETURNING value",
            SERIAL,
        )
        return int(serial)

    def outrun(self, serial: int) -> None:
        """Go on counting above ``serial``, which the fleet has seen."""
        self.execute(
            "INSERT INTO settings VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value "
            "WHERE CAST(value AS INTEGER) < CAST(excluded.value AS INTEGER)",
            SERIAL,
            serial,
        )

    # --- releases ---

    def publish_release(self, serial: int, release_id: str, data: bytes, payload: bytes, why: str, now: str) -> None:
        """Note that a release, whose file is ``data``, is published as the message ``payload``."""
        if self._objects.put(data) != release_id:
            raise ValueError(f"release {release_id}: the file has another SHA-256")
        message = self._objects.put(payload)
        with self.transaction():
            self.outrun(serial)
            self.execute("INSERT INTO releases VALUES (?, ?) ON CONFLICT DO NOTHING", release_id, now)
            self.execute("INSERT INTO publications VALUES (?, ?, ?, ?, ?)", serial, release_id, message, now, why)

    def publications(self) -> list[ReleaseRow]:
        """All releases as they were published, oldest first."""
        return [ReleaseRow(*row) for row in self.execute("SELECT * FROM publications ORDER BY serial")]

    def current_release(self) -> ReleaseRow | None:
        """The release that was published last."""
        rows = self.execute("SELECT * FROM publications ORDER BY serial DESC LIMIT 1")
        return ReleaseRow(*rows[0]) if rows else None

    def releases(self) -> list[str]:
        """The ids of all releases, in the order in which they came."""
        return [release_id for (release_id,) in self.execute("SELECT release_id FROM releases ORDER BY rowid")]

    def known_release(self, prefix: str) -> str:
        """The id of the one release that begins with ``prefix``; ConfigError where none does, or several do."""
        known = self.releases()
        found = [release_id for release_id in known if release_id.startswith(prefix)]
        if len(found) != 1:
            listed = ", ".join(release_id[:12] for release_id in found or known) or "none"
            says = f"begins {len(found)} releases: {listed}" if found else f"unknown; the ledger has {listed}"
            raise ConfigError(f"release {prefix!r}: {says}")
        return found[0]

    def release_data(self, release_id: str) -> bytes:
        """The release's file."""
        return self._objects.get(release_id)

    def payload(self, row: ReleaseRow | RevisionRow) -> bytes:
        """The message, to the byte as it was published."""
        return self._objects.get(row.object)

    # --- revisions ---

    def add_revision(
        self, row: RevisionRow, payload: bytes, state: Mapping[str, NDArray[Any]] | None = None
    ) -> RevisionRow:
        """Keep a head of a known release as the message ``payload``, with the strategy's ``state`` after it.

        The same again changes nothing; StorageError where the ledger has another message for that revision.
        """
        kept = self.revision(row.release_id, row.revision)
        row = replace(row, object=self._objects.put(payload), state=None if state is None else self._put_state(state))
        if kept is not None:
            if kept.object != row.object:
                raise StorageError(f"{self._path}: revision {row.revision} is there already, with another content")
            return kept
        with self.transaction():
            self.outrun(row.serial)
            marks = ", ".join("?" * len(fields(row)))
            self.execute(f"INSERT INTO revisions ({COLUMNS}) VALUES ({marks})", *astuple(row))
        return row

    def revision(self, release_id: str, revision: int) -> RevisionRow | None:
        """One revision."""
        return self._one("release_id = ? AND revision = ?", release_id, revision)

    def newest_revision(self, release_id: str) -> RevisionRow | None:
        """The newest revision of a release."""
        return self._one("release_id = ? ORDER BY revision DESC LIMIT 1", release_id)

    def revisions(self, release_id: str) -> list[RevisionRow]:
        """All revisions of a release, oldest first."""
        rows = self.execute(f"SELECT {COLUMNS} FROM revisions WHERE release_id = ? ORDER BY revision", release_id)
        return [RevisionRow(**dict(zip(COLUMNS.split(", "), row, strict=True))) for row in rows]

    def state(self, row: RevisionRow) -> dict[str, NDArray[Any]] | None:
        """What the strategy carries on from a revision; None where it carries nothing."""
        if row.state is None:
            return None
        with np.load(io.BytesIO(self._objects.get(row.state)), allow_pickle=False) as arrays:
            return dict(arrays)

    def _put_state(self, state: Mapping[str, NDArray[Any]]) -> str:
        file = io.BytesIO()
        np.savez(file, **state)
        return self._objects.put(file.getvalue())

    def _one(self, where: str, *parameters: Any) -> RevisionRow | None:
        rows = self.execute(f"SELECT {COLUMNS} FROM revisions WHERE {where}", *parameters)
        return RevisionRow(**dict(zip(COLUMNS.split(", "), rows[0], strict=True))) if rows else None
