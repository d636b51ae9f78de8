"""A cap of bytes a second, over all connections of an uplink; the most pressing goes first."""

from __future__ import annotations

import asyncio
import heapq
from dataclasses import dataclass
from itertools import count


@dataclass(slots=True)
class Bucket:
    """Bytes a second that may be spent, None for no cap; pure, monotonic seconds handed in.

    In any stretch of time it lets through what the rate gives, and one parcel more.
    """

    rate: int | None
    free: float = 0.0

    def wait(self, now: float) -> float:
        """Seconds until something may be spent."""
        return 0.0 if self.rate is None else max(0.0, self.free - now)

    def spend(self, size: int, now: float) -> None:
        """Spend `size` bytes; without having waited this is a debt for whoever comes next."""
        if self.rate is not None:
            self.free = max(self.free, now) + size / self.rate


class Allowance:
    """Lets parcels pass at the rate of a bucket."""

    def __init__(self, rate: int | None = None) -> None:
        self._bucket = Bucket(rate)
        self._queue: list[tuple[int, int]] = []
        self._order = count()
        self._turn = asyncio.Event()

    def charge(self, size: int) -> None:
        """Spend without waiting: for what is pressing, and what a session can't do without."""
        self._bucket.spend(size, asyncio.get_running_loop().time())

    async def pay(self, size: int, rank: int) -> None:
        """Wait until `size` bytes may go; of those who wait, the lowest rank goes first."""
        clock = asyncio.get_running_loop().time
        ticket = (rank, next(self._order))
        heapq.heappush(self._queue, ticket)
        try:
            while self._queue[0] != ticket or self._bucket.wait(clock()) > 0:
                await self._next(self._bucket.wait(clock()))
            self._bucket.spend(size, clock())
        finally:
            self._queue.remove(ticket)
            heapq.heapify(self._queue)
            turn, self._turn = self._turn, asyncio.Event()
            turn.set()

    async def _next(self, wait: float) -> None:
        """Return when somebody else has gone, or when it is time."""
        try:
            async with asyncio.timeout(wait or None):
                await self._turn.wait()
        except TimeoutError:
            return
