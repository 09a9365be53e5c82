"""The ledger between operators and the coordinator: orders, and settings that outlast a restart."""

from typing import Any

from fedtiny.ledger.database import Database
from fedtiny.ledger.rows import OrderRow


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

    def last_order(self) -> OrderRow | None:
        """The newest order that was carried out or refused."""
        rows = self.execute("SELECT * FROM orders WHERE ok IS NOT NULL ORDER BY id DESC LIMIT 1")
        return _row(rows[0]) if rows else None

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
