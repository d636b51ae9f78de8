"""What a destination still lacks, read from the log: for a link, and for a stick.

Whoever asks brings a connection of his own thread; nothing here writes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.store import settling
from sync.contract.batch import LINES_MAX, Batch, gather, link
from sync.contract.hello import LaneOffer
from sync.contract.ranges import Range, Ranges, clip, minus

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agent.store.connection import Connection
    from sync.lane import LaneState

_OF = "FROM blob AS b LEFT JOIN blob_settled AS s ON s.sha256 = b.sha256 AND s.destination = ?"
_BLOB = f"SELECT b.size, coalesce(s.have, '[]'), coalesce(s.complete, 0) {_OF}"
_DUE = "b.sha256 IN (SELECT sha256 FROM blob_due)"
_BLOBS = f"SELECT b.sha256, b.size, coalesce(s.have, '[]') {_OF} WHERE {_DUE}"


def lanes(connection: Connection, destination: str) -> list[tuple[LaneState, int, bytes]]:
    """Each lane of the present epoch: its state, its oldest seq still kept, and its head."""
    rows = connection.execute(
        "SELECT lane.epoch, lane.lane, oldest, head FROM lane JOIN unit USING (epoch)"
    ).fetchall()
    found = []
    for epoch, lane, oldest, head in rows:
        state = settling.load(connection, destination, epoch, lane)
        if state is not None:
            found.append((state, oldest, bytes(head)))
    return found


def offers(connection: Connection, destination: str) -> tuple[LaneOffer, ...]:
    """What a hello says of each lane."""
    found = []
    for state, oldest, head in lanes(connection, destination):
        pending = clip(state.pending, oldest, state.last)
        found.append(
            LaneOffer(
                epoch=state.epoch,
                lane=state.lane,
                oldest=oldest,
                first=pending[0][0] if pending else state.last + 1,
                last=state.last,
                head_hash=head.hex(),
            )
        )
    return tuple(found)


def sound_batch(
    connection: Connection, unit: str, place: tuple[str, str], span: Range, budget: int
) -> Batch | None:
    """The sound records at the beginning of a span of an epoch and lane; None where none is.

    At most `budget` bytes of lines, but one record at least.
    """
    rows = connection.execute(
        "SELECT seq, prev_hash, hash, line FROM record WHERE epoch = ? AND lane = ? "
        "AND seq BETWEEN ? AND ? ORDER BY seq",
        (*place, *span),
    )
    before, size = b"", 0
    lines: list[bytes] = []
    for seq, prev_hash, own, line in rows:
        sound = seq == span[0] + len(lines) and link(prev_hash, line) == own
        if not sound or len(lines) == LINES_MAX or (lines and size + len(line) > budget):
            break
        before = before or bytes(prev_hash)
        lines.append(bytes(line))
        size += len(line)
    rows.close()
    return gather(unit, *place, span[0], before, lines) if lines else None


def next_seq(connection: Connection, place: tuple[str, str], seq: int) -> int | None:
    """The lowest seq beyond this one whose record is there; None where none is."""
    row = connection.execute(
        "SELECT min(seq) FROM record WHERE epoch = ? AND lane = ? AND seq > ?", (*place, seq)
    ).fetchone()
    return None if row[0] is None else int(row[0])


def waiting_blobs(connection: Connection, destination: str) -> dict[bytes, tuple[int, Ranges]]:
    """The size of each blob that isn't complete there, and the byte ranges that are wanting."""
    return {
        bytes(sha256): (size, minus(((0, size - 1),), settling.ranges(have)))
        for sha256, size, have in connection.execute(_BLOBS, (destination,))
    }


def settled_bytes(
    connection: Connection, destination: str, blobs: Iterable[str]
) -> dict[str, Ranges]:
    """The byte ranges of each of these blobs (hex) that are there; without those not known."""
    found = {}
    for sha256 in blobs:
        row = connection.execute(
            f"{_BLOB} WHERE b.sha256 = ?", (destination, bytes.fromhex(sha256))
        )
        for size, have, complete in row.fetchall():
            found[sha256] = ((0, size - 1),) if complete else settling.ranges(have)
    return found


def sizes(connection: Connection, blobs: Iterable[str]) -> dict[str, int]:
    """The size in bytes of each of these blobs (hex) that is known."""
    return {
        sha256: row[0]
        for sha256 in blobs
        for row in connection.execute(
            "SELECT size FROM blob WHERE sha256 = ?", (bytes.fromhex(sha256),)
        ).fetchall()
    }


def read_blob(connection: Connection, sha256: bytes, first: int, last: int) -> bytes:
    """The bytes [first, last] of a blob."""
    rows = connection.execute(
        "SELECT offset, content FROM chunk WHERE sha256 = ? AND offset <= ? "
        "AND offset + length(content) > ? ORDER BY offset",
        (sha256, last, first),
    ).fetchall()
    return b"".join(
        bytes(content)[max(0, first - offset) : last - offset + 1] for offset, content in rows
    )
