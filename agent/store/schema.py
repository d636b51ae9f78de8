"""The schema, as migrations. What can't be added later without a rewrite is in the first.

Times: `mono_ns` counts from the boot `boot`, `wall` is UTC as the unit believed it then.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from sqlite_utils import Migrations

from agent.store import schema_damage, schema_reconciliation, schema_retention
from agent.store import waiting as waiting_tables

if TYPE_CHECKING:
    from sqlite_utils import Database

store = Migrations("qafila")
_END = re.compile(r";\n(?!END| )")
"""The end of a statement, and not of one within a trigger."""

FIRST = """
CREATE TABLE unit (
    one        INTEGER PRIMARY KEY CHECK (one = 1),
    name       TEXT NOT NULL,
    origin     TEXT NOT NULL CHECK (origin IN ('clinical', 'simulated')),
    state_id   TEXT NOT NULL,
    epoch      TEXT NOT NULL REFERENCES epoch
) STRICT;

CREATE TABLE epoch (
    epoch      TEXT PRIMARY KEY,
    opened     TEXT NOT NULL,
    closed     TEXT,
    reason     TEXT
) STRICT;

CREATE TABLE lane (
    epoch      TEXT NOT NULL REFERENCES epoch,
    lane       TEXT NOT NULL,
    last       INTEGER NOT NULL DEFAULT 0,
    head       BLOB NOT NULL,
    oldest     INTEGER NOT NULL DEFAULT 1,
    moved      INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (epoch, lane)
) STRICT, WITHOUT ROWID;

-- The log. `line` is the very bytes that travel; the columns beside it serve local questions.
CREATE TABLE record (
    epoch      TEXT NOT NULL,
    lane       TEXT NOT NULL,
    seq        INTEGER NOT NULL CHECK (seq > 0),
    record_id  TEXT NOT NULL,
    kind       TEXT NOT NULL,
    line       BLOB NOT NULL,
    prev_hash  BLOB NOT NULL,
    hash       BLOB NOT NULL,
    raw_sha256 BLOB,
    boot       TEXT,
    mono_ns    INTEGER,
    wall       TEXT,
    offset_min INTEGER,
    clock      TEXT,
    box        TEXT,
    consultation TEXT,
    actor      TEXT,
    origin     TEXT,
    method     TEXT,
    device     TEXT,
    device_time TEXT,
    driver     TEXT,
    driver_version TEXT,
    summary    TEXT,
    PRIMARY KEY (epoch, lane, seq),
    FOREIGN KEY (epoch, lane) REFERENCES lane
) STRICT;
CREATE INDEX record_by_id ON record (record_id);
CREATE INDEX record_by_device ON record (device, kind);

-- Ids outlive retention: what was stored once is known for ever.
CREATE TABLE identity (
    record_id  TEXT PRIMARY KEY,
    raw_sha256 BLOB,
    epoch      TEXT NOT NULL,
    lane       TEXT NOT NULL,
    seq        INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The chain outlives retention as well: (seq, hash) of what has aged out.
CREATE TABLE anchor (
    epoch      TEXT NOT NULL,
    lane       TEXT NOT NULL,
    seq        INTEGER NOT NULL,
    hash       BLOB NOT NULL,
    PRIMARY KEY (epoch, lane, seq)
) STRICT, WITHOUT ROWID;

-- What a record refers to, so that an urgent request can pull it forward.
CREATE TABLE reference (
    epoch      TEXT NOT NULL,
    lane       TEXT NOT NULL,
    seq        INTEGER NOT NULL,
    record_id  TEXT NOT NULL,
    PRIMARY KEY (epoch, lane, seq, record_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE raw (
    sha256     BLOB PRIMARY KEY,
    content    BLOB NOT NULL
) STRICT;

-- Bytes as links delivered them, durable before anything is decoded.
CREATE TABLE frame (
    frame      INTEGER PRIMARY KEY AUTOINCREMENT,
    device     TEXT NOT NULL,
    driver     TEXT NOT NULL,
    name       TEXT,
    box        TEXT,
    source     TEXT NOT NULL,
    content    BLOB NOT NULL,
    boot       TEXT,
    mono_ns    INTEGER,
    wall       TEXT,
    offset_min INTEGER,
    clock      TEXT,
    outcome    TEXT CHECK (outcome IN ('recorded', 'no-reading', 'quarantined')),
    reason     TEXT,
    record_id  TEXT
) STRICT;
CREATE INDEX frame_undecoded ON frame (device, frame) WHERE outcome IS NULL;
CREATE INDEX frame_quarantined ON frame (frame) WHERE outcome = 'quarantined';

CREATE TABLE blob (
    sha256     BLOB PRIMARY KEY,
    size       INTEGER NOT NULL,
    media_type TEXT NOT NULL,
    refs       INTEGER NOT NULL
) STRICT;

CREATE TABLE chunk (
    sha256     BLOB NOT NULL REFERENCES blob,
    offset     INTEGER NOT NULL,
    content    BLOB NOT NULL,
    PRIMARY KEY (sha256, offset)
) STRICT;

CREATE TABLE record_blob (
    epoch      TEXT NOT NULL,
    lane       TEXT NOT NULL,
    seq        INTEGER NOT NULL,
    sha256     BLOB NOT NULL REFERENCES blob,
    role       TEXT NOT NULL,
    PRIMARY KEY (epoch, lane, seq, sha256, role)
) STRICT, WITHOUT ROWID;
CREATE INDEX record_by_blob ON record_blob (sha256);

-- Per destination: what is settled. There is no «sending».
CREATE TABLE watermark (
    destination TEXT NOT NULL,
    epoch      TEXT NOT NULL,
    lane       TEXT NOT NULL,
    central_epoch TEXT,
    serial     INTEGER NOT NULL DEFAULT 0,
    through    INTEGER NOT NULL DEFAULT 0,
    ahead      TEXT NOT NULL DEFAULT '[]',
    backed_up_through INTEGER,
    PRIMARY KEY (destination, epoch, lane)
) STRICT, WITHOUT ROWID;

CREATE TABLE exception (
    destination TEXT NOT NULL,
    epoch      TEXT NOT NULL,
    lane       TEXT NOT NULL,
    seq        INTEGER NOT NULL,
    outcome    TEXT NOT NULL CHECK (outcome IN ('refused', 'lost')),
    code       TEXT NOT NULL,
    reason     TEXT NOT NULL,
    at         TEXT NOT NULL,
    PRIMARY KEY (destination, epoch, lane, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE central_epoch (
    destination TEXT NOT NULL,
    central_epoch TEXT NOT NULL,
    first_seen TEXT NOT NULL,
    retired    TEXT,
    PRIMARY KEY (destination, central_epoch)
) STRICT, WITHOUT ROWID;

-- Byte ranges of a blob that a destination holds under its present central epoch.
CREATE TABLE blob_settled (
    destination TEXT NOT NULL,
    sha256     BLOB NOT NULL REFERENCES blob,
    central_epoch TEXT NOT NULL,
    have       TEXT NOT NULL,
    complete   INTEGER NOT NULL CHECK (complete IN (0, 1)),
    PRIMARY KEY (destination, sha256)
) STRICT, WITHOUT ROWID;

CREATE TABLE consultation (
    consultation TEXT PRIMARY KEY,
    box        TEXT NOT NULL,
    patient    TEXT NOT NULL,
    actor      TEXT NOT NULL,
    opened     TEXT NOT NULL,
    closed     TEXT
) STRICT;
CREATE UNIQUE INDEX consultation_open ON consultation (box) WHERE closed IS NULL;

-- The tray: readings without a patient, until somebody assigns them.
CREATE TABLE tray (
    record_id  TEXT PRIMARY KEY,
    box        TEXT,
    why        TEXT NOT NULL,
    assigned_by TEXT
) STRICT, WITHOUT ROWID;

CREATE TABLE alarm (
    code       TEXT PRIMARY KEY,
    detail     TEXT NOT NULL,
    first_seen TEXT NOT NULL,
    last_seen  TEXT NOT NULL,
    count      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
"""


@store()
def log(db: Database) -> None:
    """Create the log, the frames, the blobs, what is settled, and the consultations."""
    for statement in FIRST.split(";\n"):
        if statement.strip():
            db.execute(statement)


SECOND = """
-- Which device a person has put into which box; released rows stay, for the record.
CREATE TABLE binding (
    binding    INTEGER PRIMARY KEY,
    device     TEXT NOT NULL,
    driver     TEXT NOT NULL,
    name       TEXT NOT NULL,
    box        TEXT NOT NULL,
    place      TEXT NOT NULL,
    bound_by   TEXT NOT NULL,
    bound      TEXT NOT NULL,
    calibration_due TEXT,
    released_by TEXT,
    released   TEXT
) STRICT;
CREATE UNIQUE INDEX binding_name ON binding (name) WHERE released IS NULL;
CREATE UNIQUE INDEX binding_place ON binding (place) WHERE released IS NULL;

-- Where a device that tells its serial number was read first since a person last settled it.
CREATE TABLE device_serial (
    driver     TEXT NOT NULL,
    serial     TEXT NOT NULL,
    device     TEXT NOT NULL,
    name       TEXT NOT NULL,
    box        TEXT,
    first_seen TEXT NOT NULL,
    PRIMARY KEY (driver, serial)
) STRICT, WITHOUT ROWID;
"""


@store()
def binding(db: Database) -> None:
    """Create the bindings, and where devices were seen by their serial numbers."""
    for statement in SECOND.split(";\n"):
        if statement.strip():
            db.execute(statement)


@store()
def waiting(db: Database) -> None:
    """List what waits, and count it, where it would have to be looked for in the whole log."""
    for statement in _END.split(waiting_tables.SQL):
        if statement.strip():
            db.execute(statement)


store(name=schema_damage.NAME)(schema_damage.salvage)


@store()
def retention(db: Database) -> None:
    """Create the milestones of retention, and the indexes that it looks into."""
    for statement in schema_retention.STATEMENTS.split(";\n"):
        if statement.strip():
            db.execute(statement)


store(name=schema_reconciliation.NAME)(schema_reconciliation.reconciliation)


GENERATION = 1
"""Raised by a migration that the version before can't work with; it then refuses the database.
One that only adds tables, indices, triggers or columns with a default leaves it, so that the way
back to the version before stays open (decision 0046)."""
