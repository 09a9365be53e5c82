"""The ledger of the updates: each that reached the coordinator, its header and its fate."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from fedtiny.federation.local import LocalUpdate
from fedtiny.ledger.database import Database
from fedtiny.ledger.rows import Fate, UpdateRow

NAMES = tuple(field.name for field in fields(UpdateRow) if field.name != "id")
COLUMNS = ", ".join(NAMES)
INSERT = f"INSERT INTO updates ({COLUMNS}, payload) VALUES ({', '.join('?' * (len(NAMES) + 1))}) "
LOCAL = "num_examples, output_min, output_max, loss_before, loss_after"  # LocalUpdate after its payload
REFUSED_KEPT, REFUSED_KEPT_OF_DEVICE = 10_000, 1_000
SPARE = 256  # so many refused ones above those bounds, before the oldest go
REASON_CHARS = 300  # a reason may quote what a device has sent
PAGE = 64  # updates that are read at a time
Streamed = tuple[str, LocalUpdate, int]  # device, update, the revision that it was computed from


class Updates(Database):
    """Updates, and what of them a strategy still sums up. A payload is kept as long as it may be needed.

    Attributes:
        fates: How many updates have met which fate since the file was opened.
    """

    def __init__(self, path: Path, *, guest: bool) -> None:
        super().__init__(path, guest=guest)
        self.fates: Counter[str] = Counter()

    _room = 0  # refused updates until the oldest have to go

    def seen(self, device: str, digest: str) -> bool:
        """Whether this very message came before."""
        return bool(self.execute("SELECT 1 FROM updates WHERE device = ? AND digest = ?", device, digest))

    def add_update(self, row: UpdateRow, payload: bytes) -> int:
        """Keep an update that waits for its round to close, and return its id."""
        ((update_id,),) = self.execute(INSERT + "RETURNING id", *_values(row), payload)
        return int(update_id)

    def refuse(self, row: UpdateRow, reason: str) -> None:
        """Keep the header of an update that was refused; of these the newest are kept, and how many is bounded."""
        with self.transaction():
            if self._room <= 0:
                self._forget_oldest_refused()
                self._room = SPARE
            self._room -= 1
            row = replace(row, fate="refused", reason=reason[:REASON_CHARS])
            self.execute(INSERT + "ON CONFLICT DO NOTHING", *_values(row), None)
        self.fates["refused"] += 1

    def waiting(self, round_number: int) -> Iterator[Streamed]:
        """The updates that wait in a round, in the order of the devices' names, a few in memory at a time."""
        query = (
            f"SELECT device, id, base_revision, payload, {LOCAL} FROM updates "
            "WHERE fate = 'waiting' AND round = ?1 AND (device, id) > (?2, ?3) ORDER BY device, id LIMIT ?4"
        )
        return self._stream(query, round_number)

    def headers(self, round_number: int) -> Iterator[tuple[str, int, int, float, float]]:
        """Of the updates that wait in a round: device, bytes of payload, examples, loss before and after."""
        query = (
            "SELECT device, id, length(payload), num_examples, loss_before, loss_after FROM updates "
            "WHERE fate = 'waiting' AND round = ?1 AND (device, id) > (?2, ?3) ORDER BY device, id LIMIT ?4"
        )
        for device, _, *header in self._pages(query, round_number):
            yield device, *header

    def answered(self, round_number: int) -> set[str]:
        """The devices whose updates wait in a round."""
        query = "SELECT DISTINCT device FROM updates WHERE fate = 'waiting' AND round = ?"
        return {device for (device,) in self.execute(query, round_number)}

    def settle(self, round_number: int, fate: Fate, reason: str | None = None, devices: set[str] | None = None) -> int:
        """Give a fate to the updates that wait in a round, all or those of ``devices``; returns how many they were."""
        these = "" if devices is None else "AND device IN (SELECT value FROM json_each(?))"
        self.execute(
            f"UPDATE updates SET fate = ?, reason = ?, payload = NULL WHERE fate = 'waiting' AND round = ? {these}",
            *(fate, reason, round_number),
            *(() if devices is None else (json.dumps(sorted(devices)),)),
        )
        ((settled,),) = self.execute("SELECT changes()")
        self.fates[fate] += settled
        return int(settled)

    def updates_of(self, device: str, limit: int) -> list[UpdateRow]:
        """A device's newest updates, newest first."""
        rows = self.execute(
            f"SELECT {COLUMNS}, id FROM updates WHERE device = ? ORDER BY id DESC LIMIT ?", device, limit
        )
        return [UpdateRow(**dict(zip((*NAMES, "id"), row, strict=True))) for row in rows]

    def tallies(self) -> dict[str, dict[Fate, int]]:
        """How many updates of each device had which fate; of the refused, those that are still kept."""
        counts: dict[str, dict[Fate, int]] = {}
        for fate, device, count in self.execute("SELECT fate, device, count(*) FROM updates GROUP BY fate, device"):
            counts.setdefault(device, {})[fate] = count
        return counts

    # --- statistics ---

    def keep_statistics(self, round_number: int, devices: set[str]) -> None:
        """Let the newest statistics that wait in a round, of ``devices``, take the place of their older ones."""
        statement = (
            "INSERT INTO statistics SELECT base_release, device, id, payload FROM updates "
            "WHERE fate = 'waiting' AND device = ? AND round = ? AND kind = 'statistics' ORDER BY id "
            "ON CONFLICT (release_id, device) DO UPDATE SET update_id = excluded.update_id, payload = excluded.payload"
        )
        with self.transaction():
            for device in sorted(devices):
                self.execute(statement, device, round_number)

    def statistics(self, release_id: str) -> Iterator[Streamed]:
        """The newest statistics of every device, in the order of their names, a few in memory at a time."""
        query = (
            f"SELECT s.device, 0, base_revision, s.payload, {LOCAL} FROM statistics s "
            "JOIN updates u ON u.id = update_id WHERE release_id = ?1 AND s.device > ?2 ORDER BY s.device LIMIT ?4"
        )
        return self._stream(query, release_id)

    def statistics_of(self, release_id: str, device: str) -> int:
        """The round that a device's statistics which count were made for; 0 where there are none."""
        rows = self.execute(
            "SELECT round_claimed FROM statistics s JOIN updates ON id = update_id "
            "WHERE release_id = ? AND s.device = ?",
            *(release_id, device),
        )
        return int(rows[0][0]) if rows else 0

    def drop_statistics(self, device: str) -> set[str]:
        """Forget a device's statistics of every release; returns of which."""
        return {
            name for (name,) in self.execute("DELETE FROM statistics WHERE device = ? RETURNING release_id", device)
        }

    def _stream(self, query: str, key: int | str) -> Iterator[Streamed]:
        for device, _, base_revision, payload, *rest in self._pages(query, key):
            yield device, LocalUpdate(payload, *rest), base_revision

    def _pages(self, query: str, key: int | str) -> Iterator[tuple[Any, ...]]:
        """Page by page, so that no read is left open across what the caller does between two of them."""
        last: tuple[str, int] = ("", 0)
        while rows := self.execute(query, key, *last, PAGE):
            last = rows[-1][:2]
            yield from rows

    def _forget_oldest_refused(self) -> None:
        self.execute(
            "DELETE FROM updates WHERE id IN (SELECT id FROM updates WHERE fate = 'refused' "
            "ORDER BY id DESC LIMIT -1 OFFSET ?)",
            REFUSED_KEPT,
        )
        self.execute(
            "DELETE FROM updates WHERE id IN (SELECT id FROM (SELECT id, row_number() OVER "
            "(PARTITION BY device ORDER BY id DESC) AS nth FROM updates WHERE fate = 'refused') WHERE nth > ?)",
            REFUSED_KEPT_OF_DEVICE,
        )


def _values(row: UpdateRow) -> list[Any]:
    return [getattr(row, name) for name in NAMES]
