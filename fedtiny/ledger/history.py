"""The ledger of what devices have said over time: alarms, and scores and resources rolled up.

Bounded by days, and for alarms by how many messages a device may have of a kind a day. An alarm that stands never loses
its beginning nor its newest message, and of what is dropped for being too many the number is kept. Spans are half open,
from ``since`` to before ``until``; a row that stands for the time at ``since`` belongs to them.
"""

import json
from collections.abc import Collection, Iterable, Iterator
from dataclasses import astuple, fields

from fedtiny.ledger.database import Database
from fedtiny.ledger.rows import AlarmRow, ResourceRow, ScoreRow

SCORES_S, RESOURCES_S = 300, 3600  # what a row stands for
ALARMS_A_DAY, ALARMS = 200, 1_000_000  # messages of a device and kind a day, of all ever; of more, the newest stay
DROPPED_AT_ONCE = 2_000  # rows of a table that are too old: in small steps, so that nobody waits
ALARM = ", ".join(field.name for field in fields(AlarmRow))

# The raise and the newest message of an alarm that stands, of a device that the ledger has not forgotten.
STANDING = """
(device IN (SELECT device FROM devices) AND EXISTS (
  SELECT 1 FROM alarms AS newest WHERE newest.state <> 'cleared' AND newest.raised_utc = alarms.raised_utc AND
    newest.id = (SELECT max(id) FROM alarms AS one WHERE one.device = alarms.device AND one.kind = alarms.kind) AND
    alarms.id IN (newest.id, (SELECT max(id) FROM alarms AS one WHERE one.device = newest.device AND
      one.kind = newest.kind AND one.raised_utc = newest.raised_utc AND one.state = 'raised'))))
"""
# Told of in the span, or before it of what stood when it began: not cleared in the last that was said of its kind.
ALARMS_IN = f"""
WITH before AS (
  SELECT device, kind, raised_utc FROM alarms WHERE state <> 'cleared' AND id IN (
    SELECT (SELECT id FROM alarms AS one INDEXED BY alarms_by_kind WHERE one.device = pair.device AND
        one.kind = pair.kind AND one.received_utc < ?1 ORDER BY id DESC LIMIT 1)
      FROM (SELECT DISTINCT device, kind FROM alarms) AS pair))
SELECT {ALARM} FROM alarms WHERE id IN (
  SELECT id FROM alarms WHERE received_utc >= ?1 AND received_utc < ?2 UNION ALL
  SELECT id FROM before JOIN alarms USING (device, kind, raised_utc) WHERE received_utc < ?1)
ORDER BY id
"""
ADD_LOSSES = "INSERT INTO losses {} ON CONFLICT DO UPDATE SET messages = messages + excluded.messages"

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
        with self.transaction():
            added = self.execute(
                f"INSERT INTO alarms ({ALARM}) VALUES ({marks}) ON CONFLICT DO NOTHING RETURNING id", *astuple(row)
            )
            if added:
                self._drop_of_the_day(row)
        return bool(added)

    def _drop_of_the_day(self, newest: AlarmRow) -> None:
        """Drop what its device said today of this kind of alarm, as far as it is too much."""
        today = newest.received_utc[:10]
        dropped = self.execute(
            "DELETE FROM alarms WHERE id IN (SELECT id FROM alarms WHERE device = ? AND kind = ? AND received_utc >= ? "
            "ORDER BY id DESC LIMIT -1 OFFSET ?) AND id IS NOT "
            "(SELECT max(id) FROM alarms WHERE device = ? AND kind = ? AND raised_utc = ? AND state = 'raised') "
            "RETURNING id",
            *(newest.device, newest.kind, today, ALARMS_A_DAY, newest.device, newest.kind, newest.raised_utc),
        )
        if dropped:
            self.execute(ADD_LOSSES.format("VALUES (?, ?, ?)"), today, newest.device, len(dropped))

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
                "DELETE FROM alarms WHERE id IN "
                f"(SELECT id FROM alarms WHERE received_utc < ? AND NOT {STANDING} LIMIT ?)",
                *(alarms_before, DROPPED_AT_ONCE),
            )
            self.execute("DELETE FROM losses WHERE day < ?", alarms_before[:10])
            too_many = f"FROM alarms WHERE id <= (SELECT max(id) FROM alarms) - {ALARMS} AND NOT {STANDING}"
            by_day = f"SELECT substr(received_utc, 1, 10), '', count(*) {too_many} GROUP BY 1"
            self.execute(ADD_LOSSES.format(by_day))
            self.execute(f"DELETE {too_many}")
            for table in ("scores", "resources"):
                self.execute(
                    f"DELETE FROM {table} WHERE (start, device) IN "
                    f"(SELECT start, device FROM {table} WHERE start < ? ORDER BY start LIMIT ?)",
                    *(others_before, DROPPED_AT_ONCE),
                )

    def alarms(self, since: str, until: str) -> Iterator[AlarmRow]:
        """What was said in a span, and before it of alarms that stood when it began, in the order in which it came."""
        return (AlarmRow(*row) for row in self.stream(ALARMS_IN, since, until))

    def lost_alarms(self, since: str, until: str) -> dict[str, int]:
        """How many messages of each device were not kept of the days of a span; "": of the whole fleet."""
        query = "SELECT device, sum(messages) FROM losses WHERE day >= ? AND day <= ? GROUP BY device"
        return dict(self.execute(query, since[:10], until[:10]))

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
