"""The migration for damaged databases: what was set aside, and how far its salvage is."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlite_utils import Database

NAME = "salvage"
_TABLE = """
CREATE TABLE salvage (
    place      TEXT PRIMARY KEY,
    found      TEXT NOT NULL,
    reason     TEXT NOT NULL,
    epoch      TEXT,
    step       TEXT,
    cursor     INTEGER NOT NULL DEFAULT 0,
    records    INTEGER NOT NULL DEFAULT 0,
    lost       INTEGER NOT NULL DEFAULT 0,
    blobs_lost INTEGER NOT NULL DEFAULT 0,
    rows_torn  INTEGER NOT NULL DEFAULT 0,
    pages_bad  INTEGER NOT NULL DEFAULT 0,
    finished   TEXT
) STRICT
"""


def salvage(db: Database) -> None:
    """Create the list of databases set aside: `place` is the folder below `damaged/`."""
    db.execute(_TABLE)
