"""Blobs and their chunks, in SQL. Every call runs in the store's transaction."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from sync.contract.ranges import Range, Ranges, total, union

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

    from central.lines import BlobReference


@dataclass(frozen=True, slots=True)
class Blob:
    """What is held of one unit's blob; `have` are byte ranges, both ends included."""

    sha256: bytes
    size: int
    have: Ranges
    complete: bool
    referenced: bool


@dataclass(frozen=True, slots=True)
class Burden:
    """What a unit has sent that no record refers to: bytes held, and blobs still incomplete."""

    held: int
    incomplete: int


_COLUMNS = "sha256, size, have, complete, referenced"


class Blobstore:
    """The blobs of every unit."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._sql = connection

    def find(self, unit: str, sha256: bytes) -> Blob | None:
        """What is held of a blob, None where nothing is known of it."""
        row = self._sql.execute(
            f"SELECT {_COLUMNS} FROM blobs WHERE unit = ? AND sha256 = ?",  # noqa: S608
            (unit, sha256),
        ).fetchone()
        return _blob(row) if row else None

    def incomplete(self, unit: str, most: int) -> tuple[Blob, ...]:
        """Blobs with bytes still wanting, those that records refer to first."""
        rows = self._sql.execute(
            f"SELECT {_COLUMNS} FROM blobs WHERE unit = ? AND complete = 0"  # noqa: S608
            " ORDER BY referenced DESC, sha256 LIMIT ?",
            (unit, most),
        )
        return tuple(_blob(row) for row in rows)

    def burden(self, unit: str) -> Burden:
        """Weigh what no record of the unit refers to."""
        row = self._sql.execute(
            "SELECT coalesce(sum(held), 0), count(*) - coalesce(sum(complete), 0) FROM blobs"
            " WHERE unit = ? AND referenced = 0",
            (unit,),
        ).fetchone()
        return Burden(*row)

    def expect(self, unit: str, sha256: bytes, size: int) -> Blob:
        """Open an empty blob."""
        self._sql.execute(
            "INSERT INTO blobs (unit, sha256, size, have) VALUES (?, ?, ?, ?)",
            (unit, sha256, size, b"[]"),
        )
        return Blob(sha256, size, (), complete=False, referenced=False)

    def add(self, unit: str, blob: Blob, start: int, content: bytes) -> Blob:
        """Keep bytes that are not held yet."""
        self._sql.execute(
            "INSERT INTO chunks (unit, sha256, start, content) VALUES (?, ?, ?, ?)",
            (unit, blob.sha256, start, content),
        )
        return self._note(unit, blob, union(blob.have, ((start, start + len(content) - 1),)))

    def drop(self, unit: str, blob: Blob, size: int) -> None:
        """Forget the bytes of a blob; it is then asked for again, with this size."""
        self._sql.execute("DELETE FROM chunks WHERE unit = ? AND sha256 = ?", (unit, blob.sha256))
        self._note(unit, blob, ())
        self._sql.execute(
            "UPDATE blobs SET size = ? WHERE unit = ? AND sha256 = ?", (size, unit, blob.sha256)
        )

    def complete(self, unit: str, blob: Blob) -> None:
        """Mark a blob as whole and verified."""
        self._sql.execute(
            "UPDATE blobs SET complete = 1 WHERE unit = ? AND sha256 = ?", (unit, blob.sha256)
        )

    def content(self, unit: str, sha256: bytes) -> Iterator[bytes]:
        """The bytes held of a blob, in order."""
        return contents(self._sql, unit, sha256)

    def digest(self, unit: str, sha256: bytes) -> bytes:
        """SHA-256 of the bytes held of a blob."""
        found = hashlib.sha256()
        for piece in self.content(unit, sha256):
            found.update(piece)
        return found.digest()

    def refer(self, unit: str, record_id: str, place: int, reference: BlobReference) -> None:
        """Bind a blob to the record that refers to it."""
        sha256 = bytes.fromhex(reference.sha256)
        self._sql.execute(
            "INSERT INTO record_blobs (unit, record_id, place, sha256, media_type, role)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            (unit, record_id, place, sha256, reference.media_type, reference.role),
        )
        self._sql.execute(
            "UPDATE blobs SET referenced = 1 WHERE unit = ? AND sha256 = ?", (unit, sha256)
        )

    def _note(self, unit: str, blob: Blob, have: Ranges) -> Blob:
        self._sql.execute(
            "UPDATE blobs SET have = ?, held = ? WHERE unit = ? AND sha256 = ?",
            (msgspec.json.encode(have), total(have), unit, blob.sha256),
        )
        return Blob(blob.sha256, blob.size, have, blob.complete, blob.referenced)


def contents(connection: sqlite3.Connection, unit: str, sha256: bytes) -> Iterator[bytes]:
    """The bytes held of a blob, in order, for a reader without a store."""
    rows = connection.execute(
        "SELECT content FROM chunks WHERE unit = ? AND sha256 = ? ORDER BY start", (unit, sha256)
    )
    return (row[0] for row in rows)


def _blob(row: tuple[bytes, int, bytes, int, int]) -> Blob:
    sha256, size, have, complete, referenced = row
    ranges = msgspec.json.decode(have, type=tuple[Range, ...])
    return Blob(sha256, size, ranges, bool(complete), bool(referenced))
