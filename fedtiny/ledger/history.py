"""The ledger of what devices have said over time: alarms, and scores and resources rolled up.

Bounded by days, and for alarms by how many a device may have a day. Spans are half open, from ``since`` to before
``until``; a row that stands for the time at ``since`` belongs to them.
"""

import json
from collections.abc import Collection, Iterable
from dataclasses import astuple, fields

from fedtiny.ledger.database import Database
from fedtiny.ledger.rows import AlarmRow, ResourceRow, ScoreRow

SCORES_S, RESOURCES_S = 300, 3600  # what a row stands for
ALARMS_A_DAY, ALARMS = 200, 1_000_000  # of one device a day, of all ever; of more, the newest stay
DROPPED_AT_ONCE = 2_000  # rows of a table that are too old: in small steps, so that nobody waits
ALARM = ", ".join(field.name for field in fields(AlarmRow))

ADD_SCORES = """
INSERT INTO scores VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (start, device) DO UPDATE SET
  mean = (mean * windows + excluded.mean * excluded.windows) / (windows + excluded.windows),
  level = coalesce((level * windows + excluded.level * excluded.windows) / (windows + excluded.windows),
    excluded.level, level),
  windows = windows + excluded.windows, over = over + excluded.over, largest = max(largest, excluded.largest),
  share = coalesce(max(share, excluded.share), excluded.share, share),
  threshold = coalesce(excluded.threshold, threshold)
"""
ADD_RESOURCES = "INSERT INTO resources VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (start, device) DO UPDATE SET " + (
    ", ".join(
        f"{name} = coalesce(max({name}, excluded.{name}), excluded.{name}, {name})"
        for name in ("peak_rss_mb", "cpu_share", "temperature_c", "lag_s", "throttled")
    )
)


class Histories(Database):
    """Alarms, scores, resources."""

    def add_alarm(self, row: AlarmRow) -> bool:
        """Keep what a device says of an alarm; False where that is kept already.

        That an alarm goes on ("held") is kept only where nothing else of it is.
        """
        known = "SELECT 1 FROM alarms WHERE device = ? AND kind = ? AND raised_utc = ? LIMIT 1"
        if row.state == "held" and self.execute(known, row.device, row.kind, row.raised_utc):
            return False
        marks = ", ".join("?" * len(fields(row)))
        added = self.execute(
            f"INSERT INTO alarms ({ALARM}) VALUES ({marks}) ON CONFLICT DO NOTHING RETURNING id", *astuple(row)
        )
        if added:
            self.execute("DELETE FROM alarms WHERE id <= ?", added[0][0] - ALARMS)
            self.execute(
                "DELETE FROM alarms WHERE id IN (SELECT id FROM alarms WHERE device = ? AND received_utc >= ? "
                "ORDER BY received_utc DESC, id DESC LIMIT -1 OFFSET ?)",
                *(row.device, row.received_utc[:10], ALARMS_A_DAY),
            )
        return bool(added)

    def add_scores(self, rows: Iterable[ScoreRow]) -> None:
        """Add to the roll-ups of scores."""
        with self.transaction():
            for row in rows:
                self.execute(ADD_SCORES, *astuple(row))

    def add_resources(self, rows: Iterable[ResourceRow]) -> None:
        """Add to the roll-ups of resources."""
        with self.transaction():
            for row in rows:
                self.execute(ADD_RESOURCES, *astuple(row))

    def drop_history(self, *, alarms_before: str, others_before: int) -> None:
        """Forget some of what is older: alarms (ISO 8601), scores and resources (seconds since 1970)."""
        with self.transaction():
            self.execute(
                "DELETE FROM alarms WHERE id IN (SELECT id FROM alarms WHERE received_utc < ? LIMIT ?)",
                *(alarms_before, DROPPED_AT_ONCE),
            )
            for table in ("scores", "resources"):
                self.execute(
                    f"DELETE FROM {table} WHERE (start, device) IN "
                    f"(SELECT start, device FROM {table} WHERE start < ? ORDER BY start LIMIT ?)",
                    *(others_before, DROPPED_AT_ONCE),
                )

    def alarms(self, since: str, until: str) -> list[AlarmRow]:
        """What was said in a span, and before it of alarms that stood when it began, in the order in which it came."""
        query = (
            "WITH before AS (SELECT device, kind, raised_utc, state, max(id) FROM alarms WHERE received_utc < ?1 "
            f"GROUP BY device, kind) SELECT {ALARM} FROM alarms WHERE received_utc < ?2 AND (received_utc >= ?1 OR "
            "(device, kind, raised_utc) IN (SELECT device, kind, raised_utc FROM before WHERE state <> 'cleared')) "
            "ORDER BY id"
        )
        return [AlarmRow(*row) for row in self.execute(query, since, until)]

    def scores(self, devices: Collection[str], since: int, until: int) -> dict[str, list[ScoreRow]]:
        """The roll-ups of some devices, each in the order of time."""
        query = (
            "SELECT * FROM scores WHERE start >= ? AND start < ? AND device IN (SELECT value FROM json_each(?)) "
            "ORDER BY start"
        )
        found: dict[str, list[ScoreRow]] = {device: [] for device in devices}
        for columns in self.execute(query, since // SCORES_S * SCORES_S, until, json.dumps(sorted(devices))):
            row = ScoreRow(*columns)
            found[row.device].append(row)
        return found
