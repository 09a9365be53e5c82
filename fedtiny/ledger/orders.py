"""The ledger between operators and the coordinator: orders, and settings that outlast a restart."""

from collections.abc import Sequence
from typing import Any

from fedtiny.ledger.database import Database
from fedtiny.ledger.rows import OrderRow

COMMANDS_KEPT = 1000  # orders that came by a message and are done with
BY_COMMAND = "json_extract(what, '$.command') IS NOT NULL"


class Orders(Database):
    """Orders that other processes lay down and the coordinator carries out, in that order; settings."""

    def give_order(self, what: str, now: str) -> int:
        """Lay down an order (JSON) and return its id."""
        ((order_id,),) = self.execute("INSERT INTO orders (at_utc, what) VALUES (?, ?) RETURNING id", now, what)
        return int(order_id)

    def next_order(self) -> OrderRow | None:
        """The oldest order that was not carried out yet."""
        rows = self.execute("SELECT * FROM orders WHERE ok IS NULL ORDER BY id LIMIT 1")
        return _row(rows[0]) if rows else None

    def finish_order(self, order_id: int, *, ok: bool, outcome: str, now: str) -> None:
        """Note what became of an order."""
        self.execute("UPDATE orders SET done_utc = ?, ok = ?, outcome = ? WHERE id = ?", now, ok, outcome, order_id)

    def order(self, order_id: int) -> OrderRow:
        """An order that was given."""
        return _row(self.execute("SELECT * FROM orders WHERE id = ?", order_id)[0])

    def commands(self, most: int) -> Sequence[OrderRow]:
        """The newest orders that came by a message and were carried out or refused, oldest first."""
        found = f"SELECT * FROM orders WHERE ok IS NOT NULL AND {BY_COMMAND} ORDER BY id DESC LIMIT ?"
        return [_row(row) for row in self.execute(found, most)][::-1]

    def commands_between(self, earliest: str, now: str) -> int:
        """How many orders by a message were given then and carried out, or wait, since whenever."""
        ((count,),) = self.execute(
            f"SELECT count(*) FROM orders WHERE {BY_COMMAND} AND (ok IS NULL OR ok AND at_utc BETWEEN ? AND ?)",
            earliest,
            now,
        )
        return int(count)

    def drop_commands(self) -> None:
        """Forget all but the newest ``COMMANDS_KEPT`` orders that came by a message; never one that waits."""
        self.execute(
            "DELETE FROM orders WHERE id IN (SELECT id FROM orders "
            f"WHERE ok IS NOT NULL AND {BY_COMMAND} ORDER BY id DESC LIMIT -1 OFFSET {COMMANDS_KEPT})"
        )

    def setting(self, key: str) -> str | None:
        """A setting; None where it is not set."""
        rows = self.execute("SELECT value FROM settings WHERE key = ?", key)
        return rows[0][0] if rows else None

    def set_setting(self, key: str, value: str | None) -> None:
        """Keep a setting; None takes it away."""
        if value is None:
            self.execute("DELETE FROM settings WHERE key = ?", key)
        else:
            self.execute(
                "INSERT INTO settings VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value", key, value
            )


def _row(columns: tuple[Any, ...]) -> OrderRow:
    order_id, at_utc, what, done_utc, ok, outcome = columns
    return OrderRow(order_id, at_utc, what, done_utc, None if ok is None else bool(ok), outcome)
