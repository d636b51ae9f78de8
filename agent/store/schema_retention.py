"""What retention needs to know: since when something is confirmed, and who else refers to it."""

from __future__ import annotations

STATEMENTS = """
-- The seconds that have surely gone by, as a clock that nobody can set has counted them.
CREATE TABLE age (
    one        INTEGER PRIMARY KEY CHECK (one = 1),
    seconds    INTEGER NOT NULL,
    boot       TEXT NOT NULL,
    mono_ns    INTEGER NOT NULL,
    wall       TEXT NOT NULL,
    clock      TEXT NOT NULL
) STRICT;

-- How far a lane was settled at such an age, and by which centre.
CREATE TABLE milestone (
    destination TEXT NOT NULL,
    epoch      TEXT NOT NULL,
    lane       TEXT NOT NULL,
    seconds    INTEGER NOT NULL,
    central_epoch TEXT NOT NULL,
    through    INTEGER NOT NULL,
    PRIMARY KEY (destination, epoch, lane, seconds)
) STRICT, WITHOUT ROWID;

-- What travels in no lane: the last frame, and the last consultation with none open up to it.
CREATE TABLE milestone_local (
    seconds    INTEGER PRIMARY KEY,
    frame      INTEGER NOT NULL,
    consultation INTEGER NOT NULL
) STRICT;

ALTER TABLE lane ADD COLUMN aged INTEGER NOT NULL DEFAULT 0;

-- Who else has these raw bytes, or belongs to this consultation; blobs that nobody refers to.
CREATE INDEX record_by_raw ON record (raw_sha256) WHERE raw_sha256 IS NOT NULL;
CREATE INDEX record_by_consultation ON record (consultation) WHERE consultation IS NOT NULL;
CREATE INDEX blob_unowned ON blob (sha256) WHERE refs = 0;
CREATE INDEX blob_settled_by_blob ON blob_settled (sha256);
"""
