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
    "fold",
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
        if connection.execute("PRAGMA auto_vacuum").fetchone()[0] != _INCREMENTAL:
            message = "the database was made without incremental auto_vacuum: it is not ours"
            raise StoreBroken(message)
        _begin_log_anew(connection)
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


def fold(connection: Connection) -> None:
    """Copy the write-ahead log into the file and begin it anew, unless a reader needs what it has.

    Outside of a transaction; nobody is waited for. Raises what SQLite raises.
    """
    connection.execute("PRAGMA busy_timeout = 0")
    try:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    finally:
        connection.execute(f"PRAGMA busy_timeout = {BUSY_MS}")


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


def _begin_log_anew(connection: Connection) -> None:
    """Leave nothing behind the end of the log.

    Of a commit that a power cut interrupted, sound pages may lie there: once something shorter is
    written before them, nobody can tell that they are older. A full disk has to stay as it is.
    """
    try:
        fold(connection)
    except sqlite.Error as error:
        if not isinstance(translate(error), StoreFull):
            raise


def _guard() -> None:
    if sqlite.sqlite_version_info < _SAFE:
        raise StoreBroken(
            f"SQLite {sqlite.sqlite_version} can corrupt a write-ahead log: "
            "install the sqlcipher3 of requirements.lock"
        )
