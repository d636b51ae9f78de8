"""Let go of what the centre has: SQL of one slice each, inside the writer's transaction.

A slice looks at a bounded number of rows and asks `go_on` before each change. What may go is
decided in the slice itself, in the transaction that deletes: a receipt may have come meanwhile.
A crash between two slices leaves less to do, and nothing that has to be repaired.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agent.store import age

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from agent.store.connection import Connection

    GoOn = Callable[[], bool]

ROWS = 64
"""Rows that one slice looks at."""
PAGES, PAGES_MAX = 16, 512
"""Pages that the file is shortened by between two questions of `go_on`, and in one slice."""
SLACK = 0.1
"""The part of the file that may lie empty, for what comes next."""


@dataclass(frozen=True, slots=True)
class Lane:
    """One lane of one epoch, as a destination sees it."""

    destination: str
    epoch: str
    lane: str

    @property
    def key(self) -> tuple[str, str, str]:
        """The three names, as SQL takes them."""
        return (self.destination, self.epoch, self.lane)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a slice came: the last row it is done with, and how many rows it deleted."""

    at: int
    deleted: int
    ended: bool


def lanes(connection: Connection, destination: str) -> list[Lane]:
    """Every lane of every epoch."""
    rows = connection.execute("SELECT epoch, lane FROM lane")
    return [Lane(destination, *row) for row in rows]


def may_go(connection: Connection, lane: Lane, then: int | None) -> int:
    """The highest seq that may be let go of, where nothing about the record itself forbids it.

    Settled under the present central epoch, in its backup where it names one, and so ever since
    the age `then`. None stands for a disk that is full: age counts no more, but then the centre
    must have named a backup.
    """
    row = connection.execute(
        "SELECT w.through, w.backed_up_through FROM watermark AS w JOIN central_epoch AS c "
        "ON c.destination = w.destination AND c.central_epoch = w.central_epoch "
        "WHERE w.destination = ? AND w.epoch = ? AND w.lane = ? AND c.retired IS NULL",
        lane.key,
    ).fetchone()
    if row is None:
        return 0
    through, backed_up = row
    if then is None:
        return int(min(through, backed_up or 0))
    settled = min(through, age.settled_since(connection, lane.key, then))
    return int(settled if backed_up is None else min(settled, backed_up))


def records(
    connection: Connection, lane: Lane, then: int | None, after: int, go_on: GoOn
) -> Progress:
    """Let go of the records of a lane above seq `after`, oldest first."""
    until = may_go(connection, lane, then)
    rows = connection.execute(
        "SELECT seq, record_id, raw_sha256, hash FROM record "
        "WHERE epoch = ? AND lane = ? AND seq > ? AND seq <= ? ORDER BY seq LIMIT ?",
        (lane.epoch, lane.lane, after, until, ROWS),
    ).fetchall()

    def let_go(row: tuple[int, str, bytes | None, bytes]) -> int:
        if _is_needed(connection, lane, *row[:2]):
            return 0
        _let_go(connection, lane, row)
        return 1

    return _walk(rows, after, go_on, let_go)


def consultations(connection: Connection, then: int, after: int, go_on: GoOn) -> Progress:
    """Forget consultations that were closed at `then` and of which no record is here any more."""
    _, until = age.local_since(connection, then)
    rows = connection.execute(
        "SELECT rowid, consultation FROM consultation WHERE rowid > ? AND rowid <= ? "
        "AND closed IS NOT NULL ORDER BY rowid LIMIT ?",
        (after, until, ROWS),
    ).fetchall()

    def forget(row: tuple[int, str]) -> int:
        return connection.execute(
            "DELETE FROM consultation WHERE rowid = ? "
            "AND NOT EXISTS (SELECT 1 FROM record WHERE consultation = ?)",
            row,
        ).rowcount

    return _walk(rows, after, go_on, forget)


def frames(connection: Connection, then: int, after: int, go_on: GoOn) -> Progress:
    """Forget frames from before `then` that were decoded, and whose record is no longer here."""
    until, _ = age.local_since(connection, then)
    rows = connection.execute(
        "SELECT frame, outcome, record_id FROM frame WHERE frame > ? AND frame <= ? "
        "ORDER BY frame LIMIT ?",
        (after, until, ROWS),
    ).fetchall()

    def forget(row: tuple[int, str, str]) -> int:
        frame, outcome, record = row
        if outcome != "no-reading" and (outcome != "recorded" or _is_kept(connection, record)):
            return 0
        return connection.execute("DELETE FROM frame WHERE frame = ?", (frame,)).rowcount

    return _walk(rows, after, go_on, forget)


def content(connection: Connection, go_on: GoOn) -> Progress:
    """Delete the pieces of a blob that no record names any more, from its end; at last itself."""
    row = connection.execute(
        "SELECT sha256 FROM blob WHERE refs = 0 "
        "AND NOT EXISTS (SELECT 1 FROM record_blob AS r WHERE r.sha256 = blob.sha256) LIMIT 1"
    ).fetchone()
    if row is None:
        return Progress(0, 0, ended=True)
    deleted = 0
    while go_on():
        gone = connection.execute(
            "DELETE FROM chunk WHERE sha256 = ?1 "
            "AND offset = (SELECT max(offset) FROM chunk WHERE sha256 = ?1)",
            row,
        ).rowcount
        if not gone:
            connection.execute("DELETE FROM blob_settled WHERE sha256 = ?", row)
            connection.execute("DELETE FROM blob WHERE sha256 = ?", row)
            break
        deleted += gone
    return Progress(0, deleted, ended=False)


def shrink(connection: Connection, slack: float, go_on: GoOn) -> Progress:
    """Give empty pages back, until no more than the part `slack` of the file is empty."""
    deleted = 0
    while deleted < PAGES_MAX and go_on():
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        (empty,) = connection.execute("PRAGMA freelist_count").fetchone()
        if empty <= pages * slack:
            return Progress(0, deleted, ended=True)
        connection.execute(f"PRAGMA incremental_vacuum({min(PAGES, empty)})").fetchall()
        deleted += min(PAGES, empty)
    return Progress(0, deleted, ended=False)


def _walk(rows: Sequence[Any], after: int, go_on: GoOn, let_go: Callable[[Any], int]) -> Progress:
    """Go through rows that begin with where they stand; `let_go` gives how many it deleted."""
    deleted = 0
    for row in rows:
        if not go_on():
            return Progress(after, deleted, ended=False)
        deleted += let_go(row)
        after = row[0]
    return Progress(after, deleted, ended=len(rows) < ROWS)


def _is_needed(connection: Connection, lane: Lane, seq: int, record: str) -> bool:
    """Whether something about the record itself forbids to let it go.

    It was refused, nobody has said whose it is, its consultation is still open, or the centre has
    not confirmed one of its blobs.
    """
    row = connection.execute(
        "SELECT EXISTS (SELECT 1 FROM exception WHERE destination = ?1 AND epoch = ?2 "
        "AND lane = ?3 AND seq = ?4) "
        "OR EXISTS (SELECT 1 FROM tray WHERE record_id = ?5 AND assigned_by IS NULL) "
        "OR EXISTS (SELECT 1 FROM record AS r JOIN consultation AS c USING (consultation) "
        "WHERE r.epoch = ?2 AND r.lane = ?3 AND r.seq = ?4 AND c.closed IS NULL) "
        "OR EXISTS (SELECT 1 FROM record_blob AS b WHERE b.epoch = ?2 AND b.lane = ?3 "
        "AND b.seq = ?4 AND NOT EXISTS (SELECT 1 FROM blob_settled AS s "
        "JOIN central_epoch AS c USING (destination, central_epoch) WHERE s.destination = ?1 "
        "AND s.sha256 = b.sha256 AND s.complete = 1 AND c.retired IS NULL))",
        (*lane.key, seq, record),
    ).fetchone()
    return bool(row[0])


def _let_go(connection: Connection, lane: Lane, row: tuple[int, str, bytes | None, bytes]) -> None:
    """Identity first: the line names the patient, so it goes with all that links to a person.

    Pictures and recordings, which nobody can assign from now on, are left to `content`.
    """
    seq, record, raw, own = row
    place = (lane.epoch, lane.lane, seq)
    connection.execute(
        "INSERT INTO anchor (epoch, lane, seq, hash) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
        (*place, own),
    )
    for table in ("reference", "record"):
        connection.execute(
            f"DELETE FROM {table} WHERE epoch = ? AND lane = ? AND seq = ?",  # noqa: S608
            place,
        )
    connection.execute("DELETE FROM tray WHERE record_id = ?", (record,))
    connection.execute(
        "DELETE FROM raw WHERE sha256 = ?1 "
        "AND NOT EXISTS (SELECT 1 FROM record WHERE raw_sha256 = ?1)",
        (raw,),
    )
    _release_blobs(connection, place)
    connection.execute(
        "UPDATE lane SET oldest = max(oldest, ? + 1), aged = aged + 1 WHERE epoch = ? AND lane = ?",
        (seq, lane.epoch, lane.lane),
    )


def _release_blobs(connection: Connection, place: tuple[str, str, int]) -> None:
    rows = connection.execute(
        "DELETE FROM record_blob WHERE epoch = ? AND lane = ? AND seq = ? RETURNING sha256", place
    ).fetchall()
    connection.executemany(
        "UPDATE blob SET refs = (SELECT count(*) FROM record_blob WHERE sha256 = ?1) "
        "WHERE sha256 = ?1",
        set(rows),
    )


def _is_kept(connection: Connection, record: str) -> bool:
    row = connection.execute(
        "SELECT EXISTS (SELECT 1 FROM record WHERE record_id = ?)", (record,)
    ).fetchone()
    return bool(row[0])
