"""The ledger of the rounds."""

import json
from dataclasses import fields
from typing import Any

from fedtiny.ledger.database import Database
from fedtiny.ledger.rows import RoundRow

NAMES = tuple(field.name for field in fields(RoundRow))
COLUMNS = ", ".join(NAMES)


def row(columns: tuple[Any, ...]) -> RoundRow:
    """A row of the table."""
    values = dict(zip(NAMES, columns, strict=True))
    if values["invited"] is not None:
        values["invited"] = tuple(json.loads(values["invited"]))
    return RoundRow(**values)


class Rounds(Database):
    """When rounds opened, and what became of them."""

    def open_round(self, row: RoundRow) -> None:
        """Note that a round opened; its base is a known revision."""
        invited = None if row.invited is None else json.dumps(row.invited)
        values = [invited if name == "invited" else getattr(row, name) for name in NAMES]
        self.execute(f"INSERT INTO rounds ({COLUMNS}) VALUES ({', '.join('?' * len(NAMES))})", *values)

    def close_round(
        self,
        number: int,
        now: str,
        outcome: str,
        *,
        losses: tuple[float, float] | None = None,
        bytes_up: int = 0,
        made: int | None = None,
    ) -> None:
        """Close the open round; ``made``: the revision that it made. What becomes of its updates is settled apart."""
        closed = self.execute(
            "UPDATE rounds SET closed_utc = ?, outcome = ?, loss_before = ?, loss_after = ?, bytes_up = ?, made = ? "
            "WHERE number = ? AND outcome IS NULL RETURNING number",
            *(now, outcome, *(losses or (None, None)), bytes_up, made, number),
        )
        if not closed:
            raise ValueError(f"round {number} is not open")

    def last_round(self) -> RoundRow | None:
        """The newest round, open or closed."""
        rows = self.rounds(1)
        return rows[0] if rows else None

    def round(self, number: int) -> RoundRow | None:
        """One round."""
        rows = self.execute(f"SELECT {COLUMNS} FROM rounds WHERE number = ?", number)
        return row(rows[0]) if rows else None

    def rounds(self, limit: int) -> list[RoundRow]:
        """The newest rounds, newest first."""
        return [row(r) for r in self.execute(f"SELECT {COLUMNS} FROM rounds ORDER BY number DESC LIMIT ?", limit)]
