"""What the ledger has of a span of time. Spans are half open; times are the coordinator's.

The updates have no index by time, which would cost every one of them: their ids come in its order.
"""

from typing import Any, NamedTuple

from fedtiny.ledger import Ledger, OrderRow, RoundRow
from fedtiny.ledger.history import RESOURCES_S, SCORES_S
from fedtiny.ledger.rounds import COLUMNS as ROUND
from fedtiny.ledger.rounds import row as round_row


class ScoreTotal(NamedTuple):
    """Of one device: windows scored, those that reached the threshold, the largest share of it (None: unknown)."""

    windows: int
    over: int
    share: float | None


class Refusal(NamedTuple):
    """Updates that did not count, by why. devices: how many sent them; one: the name of one of these."""

    fate: str
    reason: str | None
    updates: int
    devices: int
    one: str
    last_utc: str


def score_totals(ledger: Ledger, since: int, until: int) -> dict[str, ScoreTotal]:
    """Of every device that was scored."""
    query = (
        "SELECT device, sum(windows), sum(over), max(share) FROM scores WHERE start >= ? AND start < ? GROUP BY device"
    )
    return {device: ScoreTotal(*rest) for device, *rest in ledger.execute(query, since // SCORES_S * SCORES_S, until)}


def resource_peaks(ledger: Ledger, since: int, until: int) -> dict[str, dict[str, Any]]:
    """The largest of each device: peak_rss_mb, cpu_share, temperature_c, lag_s, throttled."""
    names = ("peak_rss_mb", "cpu_share", "temperature_c", "lag_s", "throttled")
    query = (
        f"SELECT device, {', '.join(f'max({name})' for name in names)} FROM resources "
        "WHERE start >= ? AND start < ? GROUP BY device"
    )
    rows = ledger.execute(query, since // RESOURCES_S * RESOURCES_S, until)
    return {device: dict(zip(names, rest, strict=True)) for device, *rest in rows}


def rounds_in(ledger: Ledger, since: str, until: str) -> list[RoundRow]:
    """The rounds that opened, oldest first."""
    query = f"SELECT {ROUND} FROM rounds WHERE opened_utc >= ? AND opened_utc < ? ORDER BY number"
    return [round_row(columns) for columns in ledger.execute(query, since, until)]


def orders_in(ledger: Ledger, since: str, until: str) -> list[OrderRow]:
    """The orders that operators gave, oldest first."""
    ids = ledger.execute("SELECT id FROM orders WHERE at_utc >= ? AND at_utc < ? ORDER BY id", since, until)
    return [ledger.order(order_id) for (order_id,) in ids]


def updates_in(ledger: Ledger, since: str, until: str) -> tuple[int, int]:
    """The range of ids, to before the second, of the updates that came."""
    return _first_update(ledger, since), _first_update(ledger, until)


def fates_in(ledger: Ledger, ids: tuple[int, int]) -> dict[str, dict[str, int]]:
    """How many updates of each device had which fate."""
    counts: dict[str, dict[str, int]] = {}
    query = "SELECT device, fate, count(*) FROM updates WHERE id >= ? AND id < ? GROUP BY device, fate"
    for device, fate, number in ledger.execute(query, *ids):
        counts.setdefault(device, {})[fate] = number
    return counts


def refusals_in(ledger: Ledger, ids: tuple[int, int]) -> list[Refusal]:
    """The updates that did not count, most first."""
    query = (
        "SELECT fate, reason, count(*), count(DISTINCT device), min(device), max(received_utc) FROM updates "
        "WHERE id >= ? AND id < ? AND fate NOT IN ('used', 'waiting') GROUP BY fate, reason "
        "ORDER BY count(*) DESC, fate, reason"
    )
    return [Refusal(*row) for row in ledger.execute(query, *ids)]


def answered_in(ledger: Ledger, ids: tuple[int, int]) -> dict[int, int]:
    """How many devices answered each round."""
    query = (
        "SELECT round, count(DISTINCT device) FROM updates WHERE id >= ? AND id < ? AND fate <> 'refused' "
        "AND round IS NOT NULL GROUP BY round"
    )
    return dict(ledger.execute(query, *ids))


def answers_in(ledger: Ledger, ids: tuple[int, int], first_round: int) -> dict[int, list[str]]:
    """Who answered each round, from ``first_round`` on."""
    answers: dict[int, list[str]] = {}
    query = (
        "SELECT DISTINCT round, device FROM updates WHERE id >= ? AND id < ? AND fate <> 'refused' AND round >= ? "
        "ORDER BY round, device"
    )
    for number, device in ledger.execute(query, *ids, first_round):
        answers.setdefault(number, []).append(device)
    return answers


def _first_update(ledger: Ledger, since: str) -> int:
    """The first id whose update came at ``since`` or later."""
    ((newest,),) = ledger.execute("SELECT coalesce(max(id), 0) FROM updates")
    low, high = 0, int(newest) + 1
    while low < high:
        middle = (low + high) // 2
        found = ledger.execute("SELECT id, received_utc FROM updates WHERE id >= ? ORDER BY id LIMIT 1", middle)
        if found and found[0][1] < since:
            low = int(found[0][0]) + 1
        else:
            high = middle
    return low
