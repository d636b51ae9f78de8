"""Epochs: a log's history, and how it forks into a new one when it turns out not to be alone."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from agent.clock import now, utc_text
from agent.store import settling
from sync.contract.batch import link
from sync.contract.fields import GENESIS, LANES
from sync.contract.ranges import covers, total

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.store.connection import Connection
    from sync.lane import LaneState

_AT_ONCE = 1000
"""Records that are in memory at once while a log forks."""


def bear(connection: Connection) -> str:
    """Write a new epoch with its empty lanes; give its id."""
    epoch = str(uuid.uuid4())
    connection.execute(
        "INSERT INTO epoch (epoch, opened) VALUES (?, ?)", (epoch, utc_text(now().wall))
    )
    connection.executemany(
        "INSERT INTO lane (epoch, lane, head) VALUES (?, ?, ?)",
        ((epoch, lane, GENESIS) for lane in LANES),
    )
    return epoch


def fork(
    connection: Connection,
    destination: str,
    reason: str,
    centre: str | None,
    go_on: Callable[[], None] = lambda: None,
) -> str:
    """Close the present epoch and go on in a new one, in the writer's transaction.

    A long backlog takes long: `go_on` is called after every thousand records.

    What nothing proves to be at the centre is logged anew, in order and byte for byte: there the
    same record id with the same bytes is the same record. The old chain's values stay as anchors.
    Proven is what a head hash was compared for, so what lies settled above `through` is not: it
    may be of another life under the same seqs. `centre` is the central epoch that one goes on
    with. Of a lane that another one has settled (C-8.3) nothing proves that this one has it, and
    no hello will offer it again: then all of the lane that is kept is logged anew.
    """
    (old,) = connection.execute("SELECT epoch FROM unit").fetchone()
    new = bear(connection)
    for (lane,) in connection.execute(
        "SELECT lane FROM lane WHERE epoch = ? ORDER BY lane", (old,)
    ).fetchall():
        state = settling.load(connection, destination, old, lane)
        if state is not None:
            _move(connection, state, new, centre, go_on)
    connection.execute(
        "UPDATE epoch SET closed = ?, reason = ? WHERE epoch = ?",
        (utc_text(now().wall), reason, old),
    )
    connection.execute("UPDATE unit SET epoch = ?", (new,))
    return new


def log_again(connection: Connection, epoch: str, lane: str, seq: int) -> None:
    """Log a record of a closed epoch anew in the present one, byte for byte: it is sent again."""
    line, own, record = connection.execute(
        "SELECT line, hash, record_id FROM record WHERE epoch = ? AND lane = ? AND seq = ?",
        (epoch, lane, seq),
    ).fetchone()
    new, last, head = connection.execute(
        "SELECT lane.epoch, last, head FROM lane JOIN unit USING (epoch) WHERE lane = ?", (lane,)
    ).fetchone()
    after = link(head, line)
    move_record(connection, (epoch, lane, seq, own), (new, lane, last + 1, head, after))
    connection.execute(
        "UPDATE identity SET epoch = ?, seq = ? WHERE record_id = ?", (new, last + 1, record)
    )
    connection.execute(
        "UPDATE lane SET last = ?, head = ? WHERE epoch = ? AND lane = ?",
        (last + 1, after, new, lane),
    )
    connection.execute(
        "UPDATE lane SET moved = moved + 1 WHERE epoch = ? AND lane = ?", (epoch, lane)
    )


def is_closed(connection: Connection, epoch: str) -> bool:
    """Whether this unit once had the epoch, and has left it."""
    row = connection.execute("SELECT closed FROM epoch WHERE epoch = ?", (epoch,)).fetchone()
    return row is not None and row[0] is not None


def _move(
    connection: Connection,
    state: LaneState,
    new: str,
    centre: str | None,
    go_on: Callable[[], None],
) -> None:
    old, lane = state.epoch, state.lane
    here = state.central_epoch == centre
    head, seq, moved = GENESIS, 0, total(state.pending) if here else 0
    for start in range(state.through + 1 if here else 1, state.last + 1, _AT_ONCE):
        end = min(state.last, start + _AT_ONCE - 1)
        for before, line, own, record in _sound(connection, (old, lane, start, end)):
            seq += 1
            after = link(head, line)
            move_record(connection, (old, lane, before, own), (new, lane, seq, head, after))
            connection.execute(
                "UPDATE identity SET epoch = ?, seq = ? WHERE record_id = ?", (new, seq, record)
            )
            head = after
            moved += not (here and covers(state.pending, before, before))
        go_on()
    connection.execute(
        "UPDATE lane SET last = ?, head = ? WHERE epoch = ? AND lane = ?", (seq, head, new, lane)
    )
    connection.execute("UPDATE lane SET moved = ? WHERE epoch = ? AND lane = ?", (moved, old, lane))


def _sound(
    connection: Connection, span: tuple[str, str, int, int]
) -> list[tuple[int, bytes, bytes, str]]:
    """The records of a span that are what their hash says: seq, line, hash, id.

    Another line must not get a hash of its own: it would pass for what was saved.
    """
    rows = connection.execute(
        "SELECT seq, prev_hash, line, hash, record_id FROM record "
        "WHERE epoch = ? AND lane = ? AND seq BETWEEN ? AND ? ORDER BY seq",
        span,
    ).fetchall()
    sound = [row[:1] + row[2:] for row in rows if link(row[1], row[2]) == row[3]]
    if len(sound) < len(rows):
        settling.alarm_unsound(connection)
    return sound


def move_record(
    connection: Connection,
    old: tuple[str, str, int, bytes],
    new: tuple[str, str, int, bytes, bytes],
) -> None:
    """Give a record another place (epoch, lane, seq, hash before, hash); its old one stays known.

    `old` is the place it leaves: epoch, lane, seq, hash.
    """
    connection.execute(
        "INSERT INTO anchor (epoch, lane, seq, hash) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
        old,
    )
    connection.execute(
        "UPDATE record SET epoch = ?, lane = ?, seq = ?, prev_hash = ?, hash = ? "
        "WHERE epoch = ? AND lane = ? AND seq = ?",
        (*new, *old[:3]),
    )
    # What was said of it in its old place is to be said anew, if it still holds.
    connection.execute("DELETE FROM exception WHERE epoch = ? AND lane = ? AND seq = ?", old[:3])
    for table in ("record_blob", "reference"):
        connection.execute(
            f"UPDATE {table} SET epoch = ?, seq = ? "  # noqa: S608 - our own words
            "WHERE epoch = ? AND lane = ? AND seq = ?",
            (new[0], new[2], *old[:3]),
        )
