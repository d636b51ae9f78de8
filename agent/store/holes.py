"""Holes in the living log: a record that can't be read back is told as lost (C-4.7)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.clock import now, utc_text
from agent.event import Event
from agent.store import log, settling

if TYPE_CHECKING:
    from agent.store.connection import Connection
    from sync.contract.hello import Origin
    from sync.contract.ranges import Ranges

Place = tuple[str, str, int]
"""Epoch, lane, seq."""


def give_up(connection: Connection, destination: str, origin: Origin, place: Place) -> None:
    """Offer a record no more and tell the centre that it is lost; its row stays as it is.

    Where the chain's value at its place is not known any more, an alarm is all that can be said.
    """
    settling.alarm_unsound(connection)
    value = _value(connection, place)
    if value is None:
        return
    new = connection.execute(
        "INSERT INTO exception (destination, epoch, lane, seq, outcome, code, reason, at) "
        "VALUES (?, ?, ?, ?, 'lost', 'unsound', ?, ?) ON CONFLICT DO NOTHING",
        (destination, *place, settling.UNSOUND, utc_text(now().wall)),
    ).rowcount
    if new:
        connection.execute(  # a receipt may end at the hole, and is weighed by the chain there
            "INSERT INTO anchor (epoch, lane, seq, hash) VALUES (?, ?, ?, ?) "
            "ON CONFLICT DO NOTHING",
            (*place, value),
        )
        said = {"lane": place[1], "seq": place[2], "hash": value.hex(), "reason": settling.UNSOUND}
        log.append_event(connection, Event("lost", now(), origin, said))


def given_up(connection: Connection, destination: str, epoch: str, lane: str) -> Ranges:
    """Every seq of a lane that was given up."""
    rows = connection.execute(
        "SELECT seq FROM exception WHERE destination = ? AND epoch = ? AND lane = ? "
        "AND outcome = 'lost' ORDER BY seq",
        (destination, epoch, lane),
    )
    return tuple((row[0], row[0]) for row in rows)


def _value(connection: Connection, place: Place) -> bytes | None:
    """The chain's value at a place, by what follows on it, else by its own row."""
    epoch, lane, seq = place
    row = connection.execute(
        "SELECT prev_hash FROM record WHERE epoch = ? AND lane = ? AND seq = ? "
        "UNION ALL SELECT head FROM lane WHERE epoch = ? AND lane = ? AND last = ?",
        (epoch, lane, seq + 1, *place),
    ).fetchone()
    return bytes(row[0]) if row is not None else settling.hash_at(connection, *place)
