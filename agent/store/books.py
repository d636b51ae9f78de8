"""The books of one destination: digests of what it has settled, over the bytes that are here.

Implements `sync.comparing.Books`. All that grows with the log is read in a thread, on a
connection of its own: nobody's save waits for it.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, TypeVar

from agent.clock import now
from agent.store import compared, reconciling, settling
from agent.store.connection import open_reader

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from agent.store.connection import Connection
    from agent.store.store import Store
    from sync.comparing import Comparison, Span
    from sync.contract.digest import Compared
    from sync.contract.ranges import Range

T = TypeVar("T")
DAY = 24 * 3600.0
AGAIN = 3600.0
"""Seconds until the next comparison: after one that was answered, and after one that was not."""


class StoreBooks:
    """What a destination has settled, as the store has it."""

    def __init__(self, store: Store, destination: str) -> None:
        self._store = store
        self._destination = destination
        self._asked = asyncio.Event()
        self._centre = settling.present(store.reader, destination)

    def ask(self) -> None:
        """Compare as soon as there is a link."""
        self._asked.set()

    def doubt(self) -> None:
        """Compare as soon as may be, unless that was done within the hour."""
        last = reconciling.last(self._store.reader, self._destination)
        if last is None or last.age(now()) > AGAIN:
            self.ask()

    def meet(self, central_epoch: str) -> None:
        """Compare as soon as may be with a centre that came back.

        No hello offers it what an epoch that was left holds, and it may have lost some of that.
        """
        if self._centre not in {None, central_epoch}:
            self.ask()
        self._centre = central_epoch

    def shown(self) -> dict[str, Any] | None:
        """The latest comparison, for `status`; None where there was none."""
        return reconciling.shown(self._store.reader, self._destination)

    def listed(self) -> dict[str, Any] | None:
        """The latest comparison with every record that it named."""
        return reconciling.listed(self._store.reader, self._destination)

    async def due(self) -> None:
        """Return once a day has passed since the latest comparison, or a person asks."""
        while not self._asked.is_set() and (wait := self._wait()) > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._asked.wait()

    async def lanes(self) -> tuple[tuple[str, str, int], ...]:
        """Every epoch and lane of which something is settled, closed epochs included.

        With each the last seq that is settled.
        """
        return await self._read(lambda sql: compared.lanes(sql, self._destination))

    async def page(self, epoch: str, lane: str, span: Range) -> tuple[Compared, ...]:
        """The settled stretches of a span, cut by day, as many as one question takes."""
        return await self._read(
            lambda sql: compared.page(sql, self._destination, epoch, lane, span)
        )

    async def digests(self, epoch: str, lane: str, spans: Sequence[Span]) -> tuple[Compared, ...]:
        """The digests of given spans."""
        return await self._read(lambda sql: compared.digests(sql, epoch, lane, spans))

    async def conclude(self, comparison: Comparison) -> None:
        """Keep what the comparison came to, and raise an alarm where records differ."""
        await self._store.writer.write(
            lambda connection: reconciling.conclude(connection, self._destination, comparison)
        )
        self._store.wake()  # what the centre had lost may be logged anew
        self._asked.clear()

    def _wait(self) -> float:
        """Seconds until the next comparison, by the boot's clock; over boots by the wall's."""
        last = reconciling.last(self._store.reader, self._destination)
        if last is None:
            return 0.0
        return (DAY if last.answered else AGAIN) - last.age(now())

    async def _read(self, work: Callable[[Connection], T]) -> T:
        def read() -> T:
            with contextlib.closing(open_reader(self._store.folder, self._store.key)) as sql:
                return work(sql)

        return await asyncio.to_thread(read)
