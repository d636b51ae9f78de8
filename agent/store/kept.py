"""What is still here of what a destination waits for, now that retention lets records go."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.store import holes
from sync.contract.ranges import clip, minus, normal, union

if TYPE_CHECKING:
    from agent.store.connection import Connection
    from sync.contract.ranges import Ranges
    from sync.lane import LaneState


def owed(connection: Connection, destination: str, state: LaneState, oldest: int) -> Ranges:
    """What is pending and can be sent: everything from `oldest` on, and what is left below it.

    Below `oldest` something is pending only where the centre holds less than it once confirmed.
    There single records are left: those that never age out. What was given up is not owed.
    """
    given_up = holes.given_up(connection, destination, state.epoch, state.lane)
    pending = minus(state.pending, given_up)
    from_oldest = clip(pending, oldest, state.last)
    below = clip(pending, 1, oldest - 1)
    if not below:
        return from_oldest
    rows = connection.execute(
        "SELECT seq FROM record WHERE epoch = ? AND lane = ? AND seq BETWEEN ? AND ? ORDER BY seq",
        (state.epoch, state.lane, below[0][0], below[-1][1]),
    )
    islands = normal((row[0], row[0]) for row in rows)
    return union(minus(islands, minus(islands, below)), from_oldest)
