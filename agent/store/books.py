"""The books of one destination: digests of what it has settled, over the bytes that are here.

Implements `sync.comparing.Books`. Leaves are computed in a thread, on a connection of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
from itertools import groupby
from typing import TYPE_CHECKING, Any, TypeVar

from agent.clock import now
from agent.store import epochs, reconciling, settling
from agent.store.connection import open_reader
from sync.contract.batch import link
from sync.contract.digest import COMPARED_MAX, NOTHING, STRETCHES_MAX, Compared, digest
from sync.contract.ranges import Ranges, clip, minus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from agent.store.connection import Connection
    from agent.store.store import Store
    from sync.comparing import Comparison, Span

T = TypeVar("T")
DAY = 24 * 3600.0
AGAIN = 3600.0
"""Seconds until the next comparison: after one that was answered, and after one that was not."""
Leaf = tuple[int, bytes, str | None]
"""seq, leaf, UTC date; the date is None where the record is no longer here."""


class StoreBooks:
    """What a destination has settled, as the store has it."""

    def __init__(self, store: Store, destination: str) -> None:
        self._store = store
        self._destination = destination
        self._asked = asyncio.Event()

    def ask(self) -> None:
        """Compare as soon as there is a link."""
        self._asked.set()

    def doubt(self) -> None:
        """Compare as soon as may be, unless that was done within the hour."""
        last = reconciling.last(self._store.reader, self._destination)
        if last is None or last.age(now()) > AGAIN:
            self.ask()

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

    async def lanes(self) -> tuple[tuple[str, str], ...]:
        """Every epoch and lane of which something is settled, closed epochs included."""
        rows = self._store.reader.execute(
            "SELECT epoch, lane FROM lane JOIN epoch USING (epoch) ORDER BY opened, lane"
        ).fetchall()
        return tuple((epoch, lane) for epoch, lane in rows if self._settled(epoch, lane))

    async def page(self, epoch: str, lane: str, first: int) -> tuple[Compared, ...]:
        """The settled stretches from a seq on, cut by day, as many as one question takes."""
        left, spans = COMPARED_MAX, []
        for start, end in clip(self._settled(epoch, lane), first, 1 << 63):
            spans.append((start, min(end, start + left - 1)))
            left -= spans[-1][1] - start + 1
            if not left:
                break
        found = await self._read(lambda sql: _stretches(sql, epoch, lane, spans))
        return tuple(found[:STRETCHES_MAX])

    async def digests(self, epoch: str, lane: str, spans: Sequence[Span]) -> tuple[Compared, ...]:
        """The digests of given spans."""
        return await self._read(lambda sql: _digests(sql, epoch, lane, spans))

    async def conclude(self, comparison: Comparison) -> None:
        """Keep what the comparison came to, and raise an alarm where records differ."""
        await self._store.writer.write(
            lambda connection: reconciling.conclude(connection, self._destination, comparison)
        )
        self._asked.clear()

    def _settled(self, epoch: str, lane: str) -> Ranges:
        sql = self._store.reader
        state = settling.load(sql, self._destination, epoch, lane)
        if state is None or state.last == 0:
            return ()
        settled = minus(((1, state.last),), state.pending)
        if not epochs.is_closed(sql, epoch):
            return settled
        # What a closed epoch no longer holds has moved on, and is compared where it stands now.
        return _standing(settled, sql, epoch, lane)

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


def _standing(settled: Ranges, sql: Connection, epoch: str, lane: str) -> Ranges:
    """What of it stands here as records."""
    rows = sql.execute(
        "SELECT min(seq), max(seq) FROM (SELECT seq, seq - row_number() OVER (ORDER BY seq)"
        " AS island FROM record WHERE epoch = ? AND lane = ?) GROUP BY island ORDER BY 1",
        (epoch, lane),
    ).fetchall()
    return tuple(part for first, last in rows for part in clip(settled, first, last))


def leaves(sql: Connection, epoch: str, lane: str, first: int, last: int) -> Iterator[Leaf]:
    """The leaf of every seq of [first, last] (C-11.2), from records, anchors, or nothing."""
    place = (epoch, lane, first, last)
    anchors = dict(
        sql.execute(
            "SELECT seq, hash FROM anchor WHERE epoch = ? AND lane = ? AND seq BETWEEN ? AND ?",
            place,
        )
    )
    rows = sql.execute(
        "SELECT seq, prev_hash, line, hash, substr(wall, 1, 10) FROM record "
        "WHERE epoch = ? AND lane = ? AND seq BETWEEN ? AND ? ORDER BY seq",
        place,
    )
    at = first
    for seq, previous, line, own, day in rows:
        yield from ((gap, anchors.get(gap, NOTHING), None) for gap in range(at, seq))
        # Of a record that was given up as lost the anchor tells the value (C-4.7).
        yield seq, own if link(previous, line) == own else anchors.get(seq, NOTHING), day
        at = seq + 1
    yield from ((gap, anchors.get(gap, NOTHING), None) for gap in range(at, last + 1))


def _stretches(
    sql: Connection, epoch: str, lane: str, spans: Sequence[tuple[int, int]]
) -> list[Compared]:
    """Spans cut by the date of their records; what has none goes with what was before it."""
    found = []
    for first, last in spans:
        dated = _dated(leaves(sql, epoch, lane, first, last))
        for day, group in groupby(dated, key=lambda leaf: leaf[2]):
            stretch = list(group)
            found.append(_compared(stretch, day))
    return found


def _dated(found: Iterator[Leaf]) -> Iterator[Leaf]:
    day = None
    for seq, leaf, own in found:
        day = own or day
        yield seq, leaf, day


def _digests(sql: Connection, epoch: str, lane: str, spans: Sequence[Span]) -> tuple[Compared, ...]:
    return tuple(
        _compared(list(leaves(sql, epoch, lane, each.first, each.last)), each.day) for each in spans
    )


def _compared(stretch: Sequence[Leaf], day: str | None) -> Compared:
    made = digest(leaf for _, leaf, _ in stretch).hex()
    return Compared(first=stretch[0][0], last=stretch[-1][0], digest=made, day=day)
