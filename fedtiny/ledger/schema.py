"""The ledger's tables, as the steps that made them: step n brings a file from version n - 1 to version n.

A step that has been released is never changed; a change of the tables is one more step at the end. Numbers give the
order of things, never the times, which people set back: rounds by ``number``, heads by ``revision``, what was
published by ``serial``, the rest by ``id``.
"""

APPLICATION_ID = 0x46744C67  # "FtLg", in the file's header from version 2 on

BEGINNING = """
CREATE TABLE revisions (
  release_id TEXT NOT NULL, revision INTEGER NOT NULL, object TEXT NOT NULL, round INTEGER NOT NULL,
  created_utc TEXT NOT NULL, PRIMARY KEY (release_id, revision));
CREATE TABLE rounds (
  number INTEGER PRIMARY KEY, release_id TEXT NOT NULL, revision INTEGER NOT NULL, strategy TEXT NOT NULL,
  opened_utc TEXT NOT NULL, closed_utc TEXT, outcome TEXT, loss_before REAL, loss_after REAL,
  bytes_up INTEGER NOT NULL DEFAULT 0);
CREATE TABLE updates (
  round INTEGER NOT NULL REFERENCES rounds (number), device TEXT NOT NULL, num_examples INTEGER NOT NULL,
  output_min REAL NOT NULL, output_max REAL NOT NULL, loss_before REAL NOT NULL, loss_after REAL NOT NULL,
  bytes INTEGER NOT NULL, payload BLOB, PRIMARY KEY (round, device));
"""

# A release's file is the object of its own id. Serial 0: from before there were serials. updates.round: the one that
# an update counted in. updates_by_fate serves the tallies, the waiting updates and the bound of the refused ones.
FATES = f"""
PRAGMA application_id = {APPLICATION_ID};
ALTER TABLE revisions RENAME TO revisions_1;
ALTER TABLE rounds RENAME TO rounds_1;
ALTER TABLE updates RENAME TO updates_1;

CREATE TABLE releases (release_id TEXT PRIMARY KEY CHECK (length(release_id) = 64), added_utc TEXT NOT NULL);
CREATE TABLE publications (
  serial INTEGER PRIMARY KEY, release_id TEXT NOT NULL REFERENCES releases, object TEXT NOT NULL,
  published_utc TEXT NOT NULL, why TEXT NOT NULL);
CREATE TABLE revisions (
  release_id TEXT NOT NULL REFERENCES releases, revision INTEGER NOT NULL CHECK (revision >= 0),
  serial INTEGER NOT NULL, parent INTEGER, restores INTEGER, round INTEGER REFERENCES rounds (number),
  object TEXT NOT NULL, state TEXT, created_utc TEXT NOT NULL, PRIMARY KEY (release_id, revision));
CREATE UNIQUE INDEX revisions_by_serial ON revisions (serial) WHERE serial > 0;
CREATE TABLE rounds (
  number INTEGER PRIMARY KEY, release_id TEXT NOT NULL, revision INTEGER NOT NULL, strategy TEXT NOT NULL,
  mode TEXT NOT NULL CHECK (mode IN ('rounds', 'buffered')), opened_utc TEXT NOT NULL, deadline_s REAL NOT NULL,
  invited TEXT, closed_utc TEXT, outcome TEXT, loss_before REAL, loss_after REAL, bytes_up INTEGER NOT NULL,
  made INTEGER, CHECK ((closed_utc IS NULL) = (outcome IS NULL)),
  FOREIGN KEY (release_id, revision) REFERENCES revisions,
  FOREIGN KEY (release_id, made) REFERENCES revisions DEFERRABLE INITIALLY DEFERRED);
CREATE TABLE updates (
  id INTEGER PRIMARY KEY, device TEXT NOT NULL, digest TEXT CHECK (length(digest) = 64), round_claimed INTEGER,
  round INTEGER REFERENCES rounds (number), base_release TEXT, base_revision INTEGER,
  kind TEXT CHECK (kind IN ('delta', 'statistics')), num_examples INTEGER, output_min REAL, output_max REAL,
  loss_before REAL, loss_after REAL, bytes INTEGER NOT NULL, received_utc TEXT NOT NULL,
  fate TEXT NOT NULL CHECK (fate IN ('waiting', 'used', 'left out', 'refused', 'abandoned', 'forgotten')),
  reason TEXT, payload BLOB,
  UNIQUE (device, digest),
  CHECK ((fate = 'waiting') = (payload IS NOT NULL)),
  CHECK (fate = 'refused' OR round + base_revision + num_examples + output_min + output_max + loss_before + loss_after
    IS NOT NULL AND kind IS NOT NULL AND base_release IS NOT NULL));
CREATE INDEX updates_by_fate ON updates (fate, device, id);
CREATE TABLE statistics (
  release_id TEXT NOT NULL REFERENCES releases, device TEXT NOT NULL,
  update_id INTEGER NOT NULL REFERENCES updates (id), payload BLOB NOT NULL, PRIMARY KEY (release_id, device));
CREATE INDEX statistics_by_update ON statistics (update_id);
CREATE TABLE devices (
  device TEXT PRIMARY KEY, first_seen_utc TEXT, last_seen_utc TEXT,
  standing TEXT NOT NULL DEFAULT 'active' CHECK (standing IN ('active', 'quarantined', 'blocked')),
  reason TEXT, strikes INTEGER NOT NULL DEFAULT 0, status TEXT);
CREATE TABLE orders (
  id INTEGER PRIMARY KEY, at_utc TEXT NOT NULL, what TEXT NOT NULL, done_utc TEXT, ok INTEGER, outcome TEXT,
  CHECK ((ok IS NULL) = (outcome IS NULL)));
CREATE INDEX orders_to_do ON orders (id) WHERE ok IS NULL;
CREATE TABLE settings (key TEXT PRIMARY KEY, value TEXT NOT NULL);

INSERT INTO releases SELECT release_id, min(created_utc) FROM revisions_1 GROUP BY release_id;
INSERT INTO revisions
  SELECT release_id, revision, 0, CASE WHEN round > 0 THEN revision - 1 END, NULL, nullif(round, 0), object, NULL,
    created_utc FROM revisions_1;
INSERT INTO rounds
  SELECT number, release_id, revision, strategy, 'rounds', opened_utc, 0, NULL, closed_utc, outcome, loss_before,
    loss_after, bytes_up,
    (SELECT revision FROM revisions_1 WHERE round = number AND release_id = rounds_1.release_id) FROM rounds_1;
INSERT INTO updates
  SELECT NULL, device, NULL, round, round, release_id, revision,
    CASE strategy WHEN 'ridge' THEN 'statistics' ELSE 'delta' END, num_examples, output_min, output_max,
    updates_1.loss_before, updates_1.loss_after, bytes, opened_utc,
    CASE WHEN outcome IS NULL THEN 'waiting' WHEN made IS NULL THEN 'abandoned' ELSE 'used' END,
    CASE WHEN made IS NULL THEN outcome END, payload
  FROM updates_1 JOIN rounds ON rounds.number = updates_1.round ORDER BY round, device;
DROP TABLE updates_1;
DROP TABLE rounds_1;
DROP TABLE revisions_1;
"""

# What devices have said over time. Times in seconds since 1970 are the coordinator's, as are received_utc; at_utc and
# raised_utc are a device's own word. Scores and resources begin with the time: what is written together lies together.
HISTORY = """
CREATE TABLE alarms (
  id INTEGER PRIMARY KEY, device TEXT NOT NULL, received_utc TEXT NOT NULL, at_utc TEXT NOT NULL,
  raised_utc TEXT NOT NULL, epoch TEXT NOT NULL, number INTEGER NOT NULL, kind TEXT NOT NULL, state TEXT NOT NULL,
  reason TEXT NOT NULL, window INTEGER NOT NULL, score REAL, threshold REAL, point TEXT NOT NULL, bands TEXT NOT NULL,
  UNIQUE (device, epoch, number, at_utc));
CREATE INDEX alarms_by_time ON alarms (received_utc);
CREATE INDEX alarms_by_device ON alarms (device, received_utc);
CREATE TABLE scores (
  start INTEGER NOT NULL, device TEXT NOT NULL, windows INTEGER NOT NULL, over INTEGER NOT NULL, mean REAL NOT NULL,
  largest REAL NOT NULL, share REAL, threshold REAL, level REAL, PRIMARY KEY (start, device)) WITHOUT ROWID;
CREATE TABLE resources (
  start INTEGER NOT NULL, device TEXT NOT NULL, peak_rss_mb REAL, cpu_share REAL, temperature_c REAL, lag_s REAL,
  throttled INTEGER NOT NULL, PRIMARY KEY (start, device)) WITHOUT ROWID;
"""

# alarms_by_kind serves the newest word of each kind of alarm. losses: messages of alarms that were dropped for being
# too many, by the day on which they came; device: empty where they were too many of the whole fleet.
LOSSES = """
CREATE INDEX alarms_by_kind ON alarms (device, kind);
CREATE TABLE losses (
  day TEXT NOT NULL, device TEXT NOT NULL, messages INTEGER NOT NULL, PRIMARY KEY (day, device)) WITHOUT ROWID;
"""

STEPS = (BEGINNING, FATES, HISTORY, LOSSES)
