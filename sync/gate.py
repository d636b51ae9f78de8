"""Room for bulk: as many parcels under way as the pace has measured that the link needs."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sync.pace import Pace
    from sync.plan import Piece, Plan, Stretch


class Gate:
    """Whoever is owed most of its share goes next."""

    def __init__(self, pace: Pace, plan: Plan) -> None:
        self._pace = pace
        self._plan = plan
        self._inside = 0
        self._waiting: list[tuple[Stretch | Piece, asyncio.Future[None]]] = []

    async def enter(self, place: Stretch | Piece) -> None:
        """Wait for room."""
        room: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((place, room))
        self._admit()
        await room

    def leave(self) -> None:
        """Give the room to the next."""
        self._inside -= 1
        self._admit()

    def _admit(self) -> None:
        while self._waiting and self._inside < self._pace.window:
            entry = max(self._waiting, key=lambda each: self._plan.owed(each[0]))
            self._waiting.remove(entry)
            if not entry[1].done():  # else whoever waited was cancelled
                self._inside += 1
                entry[1].set_result(None)
