"""Open the database: the one way, with the pragmas in the one order that holds."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sqlcipher3 import dbapi2 as sqlite

from agent.errors import StoreBroken, StoreDamaged, StoreError, StoreFull

if TYPE_CHECKING:
    # sqlcipher3 carries no types; its interface is the standard library's.
    from collections.abc import Iterator
    from pathlib import Path
    from sqlite3 import Connection
else:
    Connection = sqlite.Connection

__all__ = [
    "BUSY_MS",
    "FILE",
    "FULL",
    "Connection",
    "open_reader",
    "open_writer",
    "translate",
    "translating",
]
FILE = "qafila.db"
_SAFE = (3, 51, 3)
"""The first SQLite without the WAL-reset fault of 3.7.0 to 3.51.2 (sqlite.org/wal.html)."""
_INCREMENTAL = 2
FULL = "the disk is full: nothing was saved just now; free some space"
_PIECE = 1 << 20
_DAMAGE = frozenset({sqlite.SQLITE_CORRUPT, sqlite.SQLITE_NOTADB})
FOLD_PAGES = 250
"""Pages of the log after which a commit folds it into the file: a megabyte at a time delays the
save that meets it little, and costs a seventh more bytes than SQLite's thousand pages would."""
BUSY_MS = 10_000
"""Milliseconds for which another process that holds the database is waited for."""


def open_writer(folder: Path, key: str) -> Connection:
    """The one connection that writes; StoreBroken for a damaged file or another key."""
    _guard()
    _write_again(folder / f"{FILE}-wal")
    connection: Connection = sqlite.connect(
        str(folder / FILE), isolation_level=None, check_same_thread=False, timeout=BUSY_MS / 1000
    )
    try:
        _unlock(connection, key)
        # Before journal_mode and before any table: later it is silently ignored.
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA journal_size_limit = 67108864")
        connection.execute(f"PRAGMA wal_autocheckpoint = {FOLD_PAGES}")
        if connection.execute("PRAGMA auto_vacuum").fetchone()[0] != _INCREMENTAL:
            message = "the database was made without incremental auto_vacuum: it is not ours"
            raise StoreBroken(message)
    except sqlite.Error as error:
        connection.close()
        raise translate(error) from None
    return connection


def open_reader(folder: Path, key: str) -> Connection:
    """A connection that can't write; StoreBroken where there is nothing to read."""
    _guard()
    uri = f"{(folder / FILE).absolute().as_uri()}?mode=ro"
    try:
        connection: Connection = sqlite.connect(
            uri, uri=True, isolation_level=None, timeout=BUSY_MS / 1000
        )
        _unlock(connection, key)
        connection.execute("PRAGMA query_only = ON")
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite.Error as error:
        raise translate(error) from None
    return connection


def translate(error: sqlite.Error) -> StoreError:
    """What an error of SQLite means for whoever asked; the text is SQLite's own, no value."""
    text = str(error)
    if "full" in text:
        return StoreFull(FULL)
    if getattr(error, "sqlite_errorcode", 0) & 0xFF in _DAMAGE:  # above that: which kind of it
        return StoreDamaged(f"the database is damaged: {text}")
    return StoreBroken(f"the database failed: {text}")


@contextmanager
def translating() -> Iterator[None]:
    """Turn an error of SQLite into one of the store."""
    try:
        yield
    except sqlite.Error as error:
        raise translate(error) from None


def _unlock(connection: Connection, key: str) -> None:
    connection.execute("PRAGMA cipher_log_level = NONE")  # errors are raised; stderr is ours
    connection.execute(f"PRAGMA key = \"x'{key}'\"")


def _write_again(log: Path) -> None:
    """Make durable what the write-ahead log holds now, before anything is built on it.

    After a failed fsync Linux takes the pages for written: a restarted process would read them,
    append behind them, and lose all of it to a power cut.
    """
    if not log.exists():
        return
    with log.open("r+b", buffering=0) as file:
        while piece := file.read(_PIECE):
            file.seek(-len(piece), os.SEEK_CUR)
            file.write(piece)
        os.fsync(file.fileno())


def _guard() -> None:
    if sqlite.sqlite_version_info < _SAFE:
        raise StoreBroken(
            f"SQLite {sqlite.sqlite_version} can corrupt a write-ahead log: "
            "install the sqlcipher3 of requirements.lock"
        )
