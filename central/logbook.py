"""Lanes, their entries and the records, in SQL. Every call runs in the store's transaction."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from central.holdings import AGAIN
from sync.contract.fields import GENESIS, SEQ_MAX
from sync.contract.receipt import Refusal

if TYPE_CHECKING:
    import sqlite3

    from sync.contract.hello import LaneOffer
    from sync.contract.ranges import Range

Outcome = Literal["taken", "refused", "lost"]


@dataclass(frozen=True, slots=True)
class Lane:
    """A lane of one unit and epoch, as it stands in this transaction."""

    id: int
    unit: str
    epoch: str
    lane: str
    through: int
    offered: int
    oldest: int
    spoken: int
    backed_up_through: int | None


@dataclass(frozen=True, slots=True)
class Entry:
    """What is known of one seq; `prev_hash` is None for what is lost."""

    hash: bytes
    prev_hash: bytes | None
    outcome: Outcome


class Logbook:
    """The log of every unit."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._sql = connection

    def lane(self, unit: str, epoch: str, lane: str) -> Lane:
        """Give the lane, made where it is new. On PostgreSQL this is where the row is locked."""
        self._sql.execute(
            "INSERT INTO lanes (unit, epoch, lane) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
            (unit, epoch, lane),
        )
        row = self._sql.execute(
            "SELECT id, unit, epoch, lane, through, offered, oldest, told, backed_up_through"
            " FROM lanes"
            " WHERE unit = ? AND epoch = ? AND lane = ?",
            (unit, epoch, lane),
        ).fetchone()
        return Lane(*row)

    def home(self, unit: str) -> tuple[str, str] | None:
        """Epoch and lane to speak of when a message has none: of the latest hello."""
        row = self._sql.execute(
            "SELECT epoch, lane FROM lanes WHERE unit = ? ORDER BY greeted DESC, id LIMIT 1",
            (unit,),
        ).fetchone()
        return (row[0], row[1]) if row else None

    def greet(self, lane: Lane, offer: LaneOffer, greeting: int) -> None:
        """Note what the latest hello offers of a lane; leave behind what will never come."""
        self._sql.execute(
            "UPDATE lanes SET offered = ?, oldest = ?, greeted = ? WHERE id = ?",
            (offer.first, offer.oldest, greeting, lane.id),
        )
        if offer.oldest > offer.last > lane.through and not self.entries(
            lane, offer.last, offer.last
        ):
            head = Entry(bytes.fromhex(offer.head_hash), None, "lost")
            self.enter(lane, offer.last, head, None, None)
        self.advance(lane)

    def greet_late(self, lane: Lane, offer: LaneOffer, greeting: int) -> None:
        """Note a hello that may be older than the latest: it takes nothing back."""
        self._sql.execute(
            "UPDATE lanes SET offered = max(offered, ?), oldest = max(oldest, ?), greeted = ?"
            " WHERE id = ?",
            (offer.first, offer.oldest, greeting, lane.id),
        )

    def entries(self, lane: Lane, first: int, last: int) -> dict[int, Entry]:
        """What is known of [first, last]."""
        rows = self._sql.execute(
            "SELECT seq, hash, prev_hash, outcome FROM entries"
            " WHERE lane_id = ? AND seq BETWEEN ? AND ?",
            (lane.id, first, min(last, SEQ_MAX)),
        )
        return {row[0]: Entry(*row[1:]) for row in rows}

    def enter(
        self,
        lane: Lane,
        seq: int,
        entry: Entry,
        record_id: str | None,
        refusal: Refusal | None,
        *,
        again: bool = False,
    ) -> None:
        """Settle a seq; what was lost gives way to the record that turned up after all.

        `again`: what is kept under the record's id are the bytes of another telling.
        """
        code, reason = (AGAIN if again else None), None
        if refusal:  # it is told, also where the latest hello took the seq for settled
            code, reason = refusal.code, refusal.reason
            self._sql.execute(
                "UPDATE lanes SET offered = min(offered, ?) WHERE id = ?", (seq, lane.id)
            )
        self._sql.execute(
            "INSERT OR REPLACE INTO entries"
            " (lane_id, seq, hash, prev_hash, record_id, outcome, code, reason)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *(lane.id, seq, entry.hash, entry.prev_hash),
                *(record_id, entry.outcome, code, reason),
            ),
        )

    def line(self, unit: str, record_id: str) -> bytes | None:
        """The exact bytes of a stored record."""
        row = self._sql.execute(
            "SELECT line FROM records WHERE unit = ? AND record_id = ?", (unit, record_id)
        ).fetchone()
        return row[0] if row else None

    def keep(self, unit: str, record_id: str, kind: str, line: bytes, line_hash: bytes) -> None:
        """Store a record's exact bytes."""
        self._sql.execute(
            "INSERT INTO records (unit, record_id, kind, line, line_hash, received_at)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            (unit, record_id, kind, line, line_hash, datetime.now(UTC).isoformat()),
        )

    def advance(self, lane: Lane) -> None:
        """Move `through` over whatever now follows on it without a gap."""
        lane = self._leave_behind(lane)
        row = self._sql.execute(
            "SELECT max(seq) FROM (SELECT seq, row_number() OVER (ORDER BY seq) AS place"
            " FROM entries WHERE lane_id = ? AND seq > ?) AS ahead WHERE seq = ? + place",
            (lane.id, lane.through, lane.through),
        ).fetchone()
        if row[0] is not None:
            self._sql.execute("UPDATE lanes SET through = ? WHERE id = ?", (row[0], lane.id))

    def _leave_behind(self, lane: Lane) -> Lane:
        """Count as lost what the unit no longer has, once what stands beside it is here."""
        row = self._sql.execute(
            "UPDATE lanes SET through = oldest - 1, gone = gone + oldest - 1 - through"
            " - (SELECT count(*) FROM entries WHERE lane_id = id AND seq > through"
            " AND seq < oldest) WHERE id = ? AND oldest > through + 1"
            " AND EXISTS (SELECT 1 FROM entries WHERE lane_id = id"
            " AND seq BETWEEN oldest - 1 AND oldest)"
            " RETURNING through",
            (lane.id,),
        ).fetchone()
        return replace(lane, through=row[0]) if row else lane

    def ahead(self, lane: Lane, most: int) -> tuple[Range, ...]:
        """The lowest settled ranges above `through`."""
        rows = self._sql.execute(
            "SELECT min(seq), max(seq) FROM (SELECT seq, seq - row_number() OVER (ORDER BY seq)"
            " AS island FROM entries WHERE lane_id = ? AND seq > ?) AS ahead"
            " GROUP BY island ORDER BY 1 LIMIT ?",
            (lane.id, lane.through, most),
        )
        return tuple((row[0], row[1]) for row in rows)

    def refused(self, lane: Lane, last: int, most: int) -> tuple[Refusal, ...]:
        """The lowest refused records from what the latest hello offers up to `last`."""
        rows = self._sql.execute(
            "SELECT seq, code, reason FROM entries WHERE lane_id = ? AND outcome = 'refused'"
            " AND seq BETWEEN ? AND ? ORDER BY seq LIMIT ?",
            (lane.id, lane.offered, last, most),
        )
        return tuple(Refusal(seq=row[0], code=row[1], reason=row[2]) for row in rows)

    def hash_at(self, lane: Lane, seq: int) -> bytes:
        """The chain's value at a settled seq; the genesis at 0."""
        return self.entries(lane, seq, seq)[seq].hash if seq else GENESIS

    def next_serial(self, lane: Lane, last: int) -> int:
        """Number a receipt, and note how far it speaks."""
        row = self._sql.execute(
            "UPDATE lanes SET serial = serial + 1, told = max(told, ?) WHERE id = ?"
            " RETURNING serial",
            (last, lane.id),
        ).fetchone()
        return int(row[0])

    def note_backup(self, lane: Lane, through: int) -> None:
        """Note how far a backup of the centre holds the lane."""
        self._sql.execute("UPDATE lanes SET backed_up_through = ? WHERE id = ?", (through, lane.id))
