"""Retention: what the centre has confirmed leaves the unit after a while, and the file shrinks.

It works in slices behind whatever wants to be saved. It deletes nothing that `purge` doesn't
allow, in the very transaction of the slice.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import structlog

from agent.clock import now
from agent.errors import StoreFull
from agent.store import age, purge

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.clock import Stamp
    from agent.store.connection import Connection
    from agent.store.purge import Progress
    from agent.store.store import Store

T = TypeVar("T")
COUNT_EVERY = 600.0
"""Seconds between two looks for what has become old; as much age is forgotten by a power cut."""
LOOK_EVERY = 1.0
"""Seconds between two looks whether the disk is nearly full."""
SLICE = 0.05
"""Seconds for which a slice deletes where nobody waits; then it commits."""
_PAUSE = 0.05
"""Seconds after a slice for which the disk is everybody else's, at most."""
_ROUND = 16
"""Slices of records after which, on a full disk, the space is given back at once."""
_LOG = structlog.get_logger("qafila.retention")


@dataclass(slots=True)
class Done:
    """What one sweep deleted: records, consultations, frames and pieces of blobs, in rows."""

    records: int = 0
    consultations: int = 0
    frames: int = 0
    pieces: int = 0
    pages: int = 0


class Retention:
    """Lets go, for one destination, of what it has confirmed `days` ago.

    `scarce` says that the disk is nearly full: then what the centre also has in a backup may go
    at once. `sample` is the clock.
    """

    def __init__(
        self,
        store: Store,
        destination: str,
        days: int,
        *,
        scarce: Callable[[], bool] = lambda: False,
        sample: Callable[[], Stamp] = now,
    ) -> None:
        self._store = store
        self._destination = destination
        self._keep = days * age.DAY
        self._scarce = scarce
        self._sample = sample

    async def run(self) -> None:
        """Sweep every few minutes, and at once when the disk is nearly full; StoreBroken."""
        due, postponed = time.monotonic(), False
        while True:
            try:
                if time.monotonic() >= due:
                    await self.sweep()
                    due = time.monotonic() + COUNT_EVERY
                if self._scarce():
                    await self.make_room()
                postponed = False
            except StoreFull as full:  # until the ballast is released, or somebody makes room
                if not postponed:
                    _LOG.warning("retention-postponed", reason=str(full))
                postponed = True
            await asyncio.sleep(LOOK_EVERY)

    async def sweep(self) -> Done:
        """Count the time, and let go of all that is old enough; StoreFull, StoreBroken."""
        stamp, keep = self._sample(), self._keep
        present = await self._store.writer.write(lambda c: age.count(c, stamp, keep))
        done, then = Done(), present - keep
        if then < 0:
            return done
        for lane in purge.lanes(self._store.reader, self._destination):
            done.records += await self._through(partial(purge.records, lane=lane, then=then))
        done.consultations = await self._through(partial(purge.consultations, then=then))
        await self._empty(done)
        done.frames = await self._through(partial(purge.frames, then=then))
        await self._shrink(done, purge.SLACK)
        if done != Done():
            _LOG.info("aged-out", records=done.records, pieces=done.pieces, pages=done.pages)
        return done

    async def make_room(self) -> Done:
        """Let go, oldest first, of what is in a backup of the centre, while space is scarce."""
        done, before = Done(), -1
        while self._scarce() and done.records != before:
            before = done.records
            for lane in purge.lanes(self._store.reader, self._destination):
                records = partial(purge.records, lane=lane, then=None)
                done.records += await self._through(records, most=_ROUND)
            await self._empty(done)
            await self._shrink(done, 0.0)
        if done != Done():
            _LOG.warning("made-room", records=done.records, pieces=done.pieces, pages=done.pages)
        return done

    async def _empty(self, done: Done) -> None:
        """Delete the content that nobody refers to any more."""
        while not (progress := await self._slice(purge.content)).ended:
            done.pieces += progress.deleted

    async def _shrink(self, done: Done, slack: float) -> None:
        pages = 0
        while not (progress := await self._slice(partial(purge.shrink, slack=slack))).ended:
            pages += progress.deleted
        pages += progress.deleted
        if pages:
            await self._store.writer.fold()
        done.pages += pages

    async def _through(self, job: Callable[..., Progress], most: int = 1 << 62) -> int:
        """Slice after slice, each from where the last one came to; give the rows deleted."""
        at = deleted = 0
        for _ in range(most):
            progress = await self._slice(partial(job, after=at))
            at, deleted = progress.at, deleted + progress.deleted
            if progress.ended:
                break
        return deleted

    async def _slice(self, job: Callable[..., T]) -> T:
        """One slice behind all others; afterwards a pause of as long as it took."""
        begun = time.monotonic()
        found = await self._store.writer.write_behind(self._bounded(job))
        await asyncio.sleep(min(time.monotonic() - begun, _PAUSE))
        return found

    def _bounded(self, job: Callable[..., T]) -> Callable[[Connection], T]:
        writer = self._store.writer

        def run(connection: Connection) -> T:
            end = time.monotonic() + SLICE
            return job(connection, go_on=lambda: not writer.awaited and time.monotonic() < end)

        return run
