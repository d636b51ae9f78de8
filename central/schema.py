"""The tables, in SQL that PostgreSQL takes with few changes.

For PostgreSQL: BLOB is bytea, `lanes.id` an identity column, STRICT and WITHOUT ROWID fall away.
"""

from __future__ import annotations

VERSION = 1

TABLES = """
CREATE TABLE centre (
    one           INTEGER PRIMARY KEY CHECK (one = 1),
    version       INTEGER NOT NULL,
    central_epoch TEXT NOT NULL,
    origin        TEXT NOT NULL CHECK (origin IN ('clinical', 'simulated'))
) STRICT;

CREATE TABLE units (
    unit       TEXT PRIMARY KEY,
    public_key BLOB NOT NULL CHECK (length(public_key) = 32),
    origin     TEXT NOT NULL CHECK (origin IN ('clinical', 'simulated')),
    greetings  INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;

-- `offered` and `oldest` are `first` and `oldest` of the latest hello, `greeted` the number of
-- that hello; `through` is the highest contiguous settled seq, `told` the highest seq of which any
-- receipt of this central epoch spoke; `gone` counts what the unit no longer had when its oldest
-- record came.
CREATE TABLE lanes (
    id         INTEGER PRIMARY KEY,
    unit       TEXT NOT NULL REFERENCES units,
    epoch      TEXT NOT NULL,
    lane       TEXT NOT NULL,
    through    INTEGER NOT NULL DEFAULT 0,
    offered    INTEGER NOT NULL DEFAULT 1,
    oldest     INTEGER NOT NULL DEFAULT 1,
    gone       INTEGER NOT NULL DEFAULT 0,
    greeted    INTEGER NOT NULL DEFAULT 0,
    serial     INTEGER NOT NULL DEFAULT 0,
    told       INTEGER NOT NULL DEFAULT 0,
    backed_up_through INTEGER,
    UNIQUE (unit, epoch, lane)
) STRICT;

-- `prev_hash` is unknown for what is lost.
CREATE TABLE entries (
    lane_id    INTEGER NOT NULL REFERENCES lanes,
    seq        INTEGER NOT NULL CHECK (seq > 0),
    hash       BLOB NOT NULL CHECK (length(hash) = 32),
    prev_hash  BLOB CHECK (length(prev_hash) = 32),
    record_id  TEXT,
    outcome    TEXT NOT NULL CHECK (outcome IN ('taken', 'refused', 'lost')),
    code       TEXT,
    reason     TEXT,
    PRIMARY KEY (lane_id, seq),
    CHECK (outcome = 'lost' OR prev_hash IS NOT NULL),
    CHECK (outcome <> 'refused' OR (code IS NOT NULL AND reason IS NOT NULL))
) STRICT, WITHOUT ROWID;
CREATE INDEX entries_refused ON entries (lane_id, seq) WHERE outcome = 'refused';

CREATE TABLE records (
    unit        TEXT NOT NULL REFERENCES units,
    record_id   TEXT NOT NULL,
    kind        TEXT NOT NULL,
    line        BLOB NOT NULL,
    line_hash   BLOB NOT NULL CHECK (length(line_hash) = 32),
    received_at TEXT NOT NULL,
    PRIMARY KEY (unit, record_id)
) STRICT;

CREATE INDEX records_of_loss ON records (unit, kind) WHERE kind IN ('epoch-closed', 'blob-lost');

-- Per unit: no unit can probe or spoil what another has sent. `have` holds byte ranges as JSON.
CREATE TABLE blobs (
    unit       TEXT NOT NULL REFERENCES units,
    sha256     BLOB NOT NULL CHECK (length(sha256) = 32),
    size       INTEGER NOT NULL CHECK (size > 0),
    have       BLOB NOT NULL,
    held       INTEGER NOT NULL DEFAULT 0 CHECK (held BETWEEN 0 AND size),
    complete   INTEGER NOT NULL DEFAULT 0 CHECK (complete IN (0, 1)),
    referenced INTEGER NOT NULL DEFAULT 0 CHECK (referenced IN (0, 1)),
    PRIMARY KEY (unit, sha256)
) STRICT;
CREATE INDEX blobs_incomplete ON blobs (unit) WHERE complete = 0;
CREATE INDEX blobs_unreferenced ON blobs (unit) WHERE referenced = 0;

CREATE TABLE chunks (
    unit       TEXT NOT NULL,
    sha256     BLOB NOT NULL,
    start      INTEGER NOT NULL CHECK (start >= 0),
    content    BLOB NOT NULL,
    PRIMARY KEY (unit, sha256, start),
    FOREIGN KEY (unit, sha256) REFERENCES blobs
) STRICT;

CREATE TABLE record_blobs (
    unit       TEXT NOT NULL,
    record_id  TEXT NOT NULL,
    place      INTEGER NOT NULL,
    sha256     BLOB NOT NULL,
    media_type TEXT NOT NULL,
    role       TEXT NOT NULL,
    PRIMARY KEY (unit, record_id, place),
    FOREIGN KEY (unit, record_id) REFERENCES records,
    FOREIGN KEY (unit, sha256) REFERENCES blobs
) STRICT;

-- Messages that were refused, by code; `unit` is empty for a sender that is not enrolled.
CREATE TABLE refusals (
    unit       TEXT NOT NULL,
    code       TEXT NOT NULL,
    times      INTEGER NOT NULL,
    PRIMARY KEY (unit, code)
) STRICT, WITHOUT ROWID;
"""

# Made where they are missing whenever a centre opens its database.
COMPARING = """
-- When a unit last compared what it has settled, and how many records it has compared in all.
CREATE TABLE IF NOT EXISTS comparisons (
    unit       TEXT PRIMARY KEY REFERENCES units,
    at         TEXT NOT NULL,
    records    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What a comparison named; `line` is what stood in the place of a record that was set aside.
CREATE TABLE IF NOT EXISTS damage (
    unit       TEXT NOT NULL REFERENCES units,
    epoch      TEXT NOT NULL,
    lane       TEXT NOT NULL,
    seq        INTEGER NOT NULL,
    record_id  TEXT,
    found      TEXT NOT NULL CHECK (found IN ('absent', 'other')),
    line       BLOB,
    at         TEXT NOT NULL,
    PRIMARY KEY (unit, epoch, lane, seq)
) STRICT;
"""
