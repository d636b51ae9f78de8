"""Close what a damaged database leaves open: log anew, find the holes, tell the centre."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

from agent.clock import now
from agent.damage.carry import DAMAGED, SALVAGED
from agent.event import Event
from agent.store import epochs, log, settling
from sync.contract.fields import LANES
from sync.contract.ranges import minus, normal, total

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agent.store.connection import Connection
    from sync.contract.hello import Origin
    from sync.contract.ranges import Range, Ranges

_RANGES_MAX = 4096
"""Ranges in one record, so that it stays within C-4.3."""
Lane = tuple[str, str]
"""Epoch and lane."""
Hole = tuple[int, "Ranges"]
"""The last seq that a lane had, and the ranges of it that will never come."""


def log_anew(destination: str, most: int, connection: Connection) -> int:
    """Log up to `most` records of older epochs anew that no receipt has settled; how many.

    As in a fork: in order and byte for byte, so that at the centre it is the same record.
    """
    done = 0
    for epoch, lane in _left(connection):
        state = settling.load(connection, destination, epoch, lane)
        for first, last in state.pending if state else ():
            done += _move(connection, (epoch, lane), (first, last), most - done)
            if done >= most:
                return done
    return done


def holes(destination: str, connection: Connection) -> dict[Lane, Hole]:
    """Of each lane of a damaged epoch the last seq it had, and what of it will never come."""
    rows = connection.execute(
        "SELECT epoch, lane, last, oldest FROM lane JOIN epoch USING (epoch) WHERE reason = ?",
        (DAMAGED,),
    ).fetchall()
    found = {}
    for epoch, lane, last, oldest in rows:
        state = settling.load(connection, destination, epoch, lane)
        if state is None or last == 0:
            continue
        through = max(state.through, oldest - 1)
        pending = replace(state, through=through).pending
        found[epoch, lane] = (last, minus(pending, _held(connection, epoch, lane, through)))
    return found


def tell(
    connection: Connection,
    destination: str,
    origin: Origin,
    found: dict[Lane, Hole],
) -> None:
    """Close the damaged epochs, here and at the centre."""
    for (epoch, lane), (last, lost) in found.items():
        for at in range(0, max(1, len(lost)), _RANGES_MAX):
            said = {"epoch": epoch, "lane": lane, "through": last}
            said |= {"lost": lost[at : at + _RANGES_MAX]}
            log.append_event(connection, Event("epoch-closed", now(), origin, said))
    connection.execute("UPDATE epoch SET reason = ? WHERE reason = ?", (SALVAGED, DAMAGED))
    rows = connection.execute(
        "SELECT epoch, lane FROM lane JOIN epoch USING (epoch) WHERE reason = ?", (SALVAGED,)
    )
    for place in rows.fetchall():
        state = settling.load(connection, destination, *place)
        connection.execute(
            "UPDATE lane SET moved = ? WHERE epoch = ? AND lane = ?",
            (total(state.pending) if state else 0, *place),
        )


def torn_blobs(connection: Connection) -> list[bytes]:
    """Blobs whose pieces are not the bytes that their name says. Reads every blob.

    One that no record names is on its way out, piece by piece, and is none of them.
    """
    names = connection.execute("SELECT DISTINCT sha256 FROM record_blob ORDER BY sha256").fetchall()
    return [bytes(sha256) for (sha256,) in names if not _is_whole(connection, sha256)]


def give_up_blob(connection: Connection, origin: Origin, sha256: bytes) -> None:
    """Offer a torn blob no more, and tell the centre, so that nobody waits for it."""
    said = {"sha256": sha256.hex(), "reason": "its bytes lay on pages that can't be read any more"}
    log.append_event(connection, Event("blob-lost", now(), origin, said))
    for table in ("record_blob", "blob_settled", "chunk", "blob"):
        connection.execute(f"DELETE FROM {table} WHERE sha256 = ?", (sha256,))  # noqa: S608


def _left(connection: Connection) -> list[Lane]:
    return [
        (epoch, lane)
        for epoch, lane in connection.execute(
            "SELECT epoch, lane FROM lane JOIN epoch USING (epoch) WHERE closed IS NOT NULL "
            "ORDER BY opened, epoch, lane"
        ).fetchall()
        if lane in LANES
    ]


def _move(connection: Connection, lane: Lane, span: Range, most: int) -> int:
    rows = connection.execute(
        "SELECT seq, record_id, line, hash FROM record "
        "WHERE epoch = ? AND lane = ? AND seq BETWEEN ? AND ? ORDER BY seq LIMIT ?",
        (*lane, *span, most),
    ).fetchall()
    for seq, record, line, own in rows:
        old = (*lane, seq, own)
        if _is_elsewhere(connection, (*lane, seq), record, line):
            _drop(connection, old)
            continue
        new = log.advance(connection, lane[1], line)
        epochs.move_record(connection, old, new)
        connection.execute(
            "UPDATE identity SET epoch = ?, lane = ?, seq = ? WHERE record_id = ?",
            (*new[:3], record),
        )
    return len(rows)


def _is_elsewhere(
    connection: Connection, place: tuple[str, str, int], record: str, line: bytes
) -> bool:
    """Whether the same bytes stand in the log already: two damaged databases may hold them."""
    row = connection.execute(
        "SELECT r.line FROM identity AS i JOIN record AS r USING (epoch, lane, seq) "
        "WHERE i.record_id = ? AND (i.epoch, i.lane, i.seq) <> (?, ?, ?)",
        (record, *place),
    ).fetchone()
    return row is not None and row[0] == line


def _drop(connection: Connection, old: tuple[str, str, int, bytes]) -> None:
    connection.execute(
        "INSERT INTO anchor (epoch, lane, seq, hash) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
        old,
    )
    connection.execute(
        "UPDATE blob SET refs = refs - 1 WHERE sha256 IN "
        "(SELECT sha256 FROM record_blob WHERE epoch = ? AND lane = ? AND seq = ?)",
        old[:3],
    )
    for table in ("record_blob", "reference", "record"):
        connection.execute(
            f"DELETE FROM {table} WHERE epoch = ? AND lane = ? AND seq = ?",  # noqa: S608
            old[:3],
        )


def _held(connection: Connection, epoch: str, lane: str, through: int) -> Ranges:
    rows = connection.execute(
        "SELECT seq FROM record WHERE epoch = ? AND lane = ? AND seq > ? "
        "UNION SELECT seq FROM anchor WHERE epoch = ? AND lane = ? AND seq > ? ORDER BY seq",
        (epoch, lane, through, epoch, lane, through),
    )
    return normal(_runs(row[0] for row in rows))


def _runs(numbers: Iterable[int]) -> Iterable[Range]:
    """Numbers in order, as ranges."""
    first = last = None
    for number in numbers:
        if last is None or number != last + 1:
            if first is not None and last is not None:
                yield first, last
            first = number
        last = number
    if first is not None and last is not None:
        yield first, last


def _is_whole(connection: Connection, sha256: bytes) -> bool:
    found = hashlib.sha256()
    for (content,) in connection.execute(
        "SELECT content FROM chunk WHERE sha256 = ? ORDER BY offset", (sha256,)
    ):
        found.update(content)
    return found.digest() == sha256
