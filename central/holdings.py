"""What is held of each seq, weighed by its own bytes, in SQL; and what was found unsound, aside.

Every call runs in the store's transaction.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING

from sync.contract.batch import link
from sync.contract.digest import ABSENT, NOTHING

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

    from central.logbook import Lane

AGAIN = "again"
"""The code of an entry whose record was kept from another telling, with other bytes (C-9.2)."""
_NOTED_MAX = 1000
_BYTELESS = frozenset({"refused", "lost"})


@dataclass(frozen=True, slots=True)
class Holding:
    """One settled seq with its record; `line` is None where no record is found for it."""

    seq: int
    hash: bytes
    prev_hash: bytes | None
    outcome: str
    code: str | None
    record_id: str | None
    line: bytes | None
    line_hash: bytes | None

    @property
    def leaf(self) -> bytes:
        """The chain's value, where it follows from the record's bytes as they are (C-11.2)."""
        return self.hash if self._follows() else NOTHING

    def _follows(self) -> bool:
        if self.outcome in _BYTELESS:
            return True
        if self.line is None or self.prev_hash is None:
            return False
        if self.code == AGAIN:
            return hashlib.sha256(self.line).digest() == self.line_hash
        return link(self.prev_hash, self.line) == self.hash


class Holdings:
    """What the centre has of every unit."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._sql = connection

    def between(self, lane: Lane, first: int, last: int) -> Iterator[Holding]:
        """What is held of [first, last], in order of seq."""
        rows = self._sql.execute(
            "SELECT e.seq, e.hash, e.prev_hash, e.outcome, e.code, e.record_id, r.line,"
            " r.line_hash FROM entries AS e"
            " LEFT JOIN records AS r ON r.unit = ? AND r.record_id = e.record_id"
            " WHERE e.lane_id = ? AND e.seq BETWEEN ? AND ? ORDER BY e.seq",
            (lane.unit, lane.id, first, last),
        )
        return (Holding(*row) for row in rows)

    def note(self, lane: Lane, seq: int, found: str, holding: Holding | None) -> None:
        """Keep what was found of a seq for the operator, with the bytes that stood there."""
        record, line = (holding.record_id, holding.line) if holding else (None, None)
        self._sql.execute(
            "INSERT INTO damage (unit, epoch, lane, seq, record_id, found, line, at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (unit, epoch, lane, seq) DO UPDATE"
            " SET record_id = coalesce(excluded.record_id, record_id), found = excluded.found,"
            " line = coalesce(excluded.line, line), at = excluded.at",
            (lane.unit, lane.epoch, lane.lane, seq, record, found, line, _now()),
        )

    def drop_record(self, unit: str, record_id: str) -> None:
        """Take a record out whose bytes are not those that were kept; `note` has them."""
        for table in ("record_blobs", "records"):
            self._sql.execute(
                f"DELETE FROM {table} WHERE unit = ? AND record_id = ?",  # noqa: S608
                (unit, record_id),
            )

    def recall(self, lane: Lane) -> None:
        """Let `through` fall to what is still held, where its own entry is gone (C-11.7)."""
        if lane.through and not any(self.between(lane, lane.through, lane.through)):
            self.note(lane, lane.through, ABSENT, None)
            self.unsettle(lane, lane.through)

    def unsettle(self, lane: Lane, seq: int) -> None:
        """Forget that a seq is settled; `through` falls below it (C-11.7).

        What `gone` counted above the new `through` is counted again when it is left behind; what
        is missing besides is noted too, since the same receipt asks for all of it.
        """
        if lane.through >= seq:
            self._note_holes(lane, seq)
        self._sql.execute("DELETE FROM entries WHERE lane_id = ? AND seq = ?", (lane.id, seq))
        self._sql.execute(
            "UPDATE lanes SET through = t.found, gone = gone - max(0, min(oldest - 1, through)"
            " - t.found - (SELECT count(*) FROM entries WHERE lane_id = lanes.id"
            " AND seq > t.found AND seq < oldest AND seq <= through) - (t.seq < oldest))"
            " FROM (SELECT coalesce(max(seq), 0) AS found, ? AS seq FROM entries"
            " WHERE lane_id = ? AND seq < ?) AS t WHERE id = ? AND through >= t.seq",
            (seq, lane.id, seq, lane.id),
        )

    def _note_holes(self, lane: Lane, first: int) -> None:
        rows = self._sql.execute(
            "SELECT seq + 1, next - 1 FROM (SELECT seq, lead(seq) OVER (ORDER BY seq) AS next"
            " FROM entries WHERE lane_id = ? AND seq BETWEEN ? AND ?) WHERE next > seq + 1",
            (lane.id, max(first, lane.oldest - 1), lane.through),
        )
        holes = (seq for a, b in rows.fetchall() for seq in range(a, b + 1))
        for seq in islice(holes, _NOTED_MAX):
            self.note(lane, seq, ABSENT, None)

    def count(self, unit: str, records: int) -> None:
        """Note that a unit has compared so many records."""
        self._sql.execute(
            "INSERT INTO comparisons (unit, at, records) VALUES (?, ?, ?)"
            " ON CONFLICT (unit) DO UPDATE SET at = excluded.at, records = records + ?",
            (unit, _now(), records, records),
        )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
