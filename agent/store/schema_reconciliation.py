"""The migration for what the latest comparison with a destination came to."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlite_utils import Database

NAME = "reconciliation"
TABLE = """
CREATE TABLE reconciliation (
    destination TEXT PRIMARY KEY,
    number     INTEGER NOT NULL,
    at         TEXT NOT NULL,
    boot       TEXT NOT NULL,
    mono_ns    INTEGER NOT NULL,
    outcome    TEXT NOT NULL,
    records    INTEGER NOT NULL,
    days       INTEGER NOT NULL,
    differing  TEXT NOT NULL
) STRICT, WITHOUT ROWID
"""


def reconciliation(db: Database) -> None:
    """Create the table of the latest comparison, one row a destination."""
    db.execute(TABLE)
