"""The outbox: the log as one destination sees it. Implements `sync.outbox.Outbox`.

It reads what is committed on a read-only connection and settles through the writer. What is in
flight it doesn't know: that is the plan's, in memory.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from agent.store import backlog, holes, receipts, settling
from agent.store.connection import translating
from agent.store.kept import owed
from sync.contract.chunk import Chunk
from sync.contract.fields import LANES
from sync.contract.hello import Hello
from sync.contract.ranges import minus, normal
from sync.lane import Question
from sync.outbox import BatchParcel, ChunkParcel
from sync.plan import BlobView, LaneView, Piece, Plan, Stretch

if TYPE_CHECKING:
    from agent.store.connection import Connection
    from agent.store.writer import Writer
    from sync.contract.hello import Origin
    from sync.contract.ranges import Range
    from sync.contract.receipt import Receipt
    from sync.lane import LaneState, Verdict

_BLOBS_AT_ONCE = 32
_BLOBS = """
SELECT due.sha256, b.size, coalesce(s.have, '[]')
FROM blob_due AS due JOIN blob AS b ON b.sha256 = due.sha256
LEFT JOIN blob_settled AS s ON s.sha256 = due.sha256 AND s.destination = ?
WHERE due.lane = ?
ORDER BY due.seq
LIMIT ?
"""


_PULLED = """
WITH RECURSIVE pulled (record_id) AS (
    SELECT record_id FROM reference WHERE epoch = ? AND lane = 'urgent' AND seq > ?
    UNION
    SELECT next.record_id FROM pulled JOIN identity AS i ON i.record_id = pulled.record_id
    JOIN reference AS next ON next.epoch = i.epoch AND next.lane = i.lane AND next.seq = i.seq
)
SELECT i.lane, i.seq FROM pulled JOIN identity AS i ON i.record_id = pulled.record_id
WHERE i.epoch = ?
"""
_ASKED_ABOUT = """
SELECT due.sha256, b.size, coalesce(s.have, '[]')
FROM reference AS f JOIN identity AS i ON i.record_id = f.record_id
JOIN blob_due AS due ON due.lane = i.lane AND due.seq = i.seq AND due.epoch = i.epoch
JOIN blob AS b ON b.sha256 = due.sha256
LEFT JOIN blob_settled AS s ON s.sha256 = due.sha256 AND s.destination = ?
WHERE f.lane = 'urgent'
GROUP BY due.sha256 ORDER BY min(f.seq), min(i.seq) LIMIT ?
"""
"""What the requests that are not settled refer to, and the blobs of what any refers to."""


class StoreOutbox:
    """The outbox of one destination over the store's connections."""

    def __init__(
        self, reader: Connection, writer: Writer, destination: str, unit: str, origin: Origin
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._destination = destination
        self._unit = unit
        self._origin = origin
        self._live_from: dict[tuple[str, str], int] = {}
        self._woken = asyncio.Event()
        self._asked = Question("", None)

    def wake(self) -> None:
        """Something was stored: whoever waits for it looks again."""
        self._woken.set()
        self._woken = asyncio.Event()

    async def hello(self, session: str) -> Hello:
        """Offer every lane of the present epoch; what comes later counts as live."""
        self._asked = Question(session, settling.present(self._reader, self._destination))
        offers = backlog.offers(self._reader, self._destination)
        for each in offers:
            self._live_from[each.epoch, each.lane] = each.last + 1
        return Hello(unit=self._unit, session=session, origin=self._origin, lanes=offers)

    async def next_batch(self, plan: Plan, budget: int) -> BatchParcel:
        """Wait for pending records; the batch is cut to the budget."""
        while True:
            woken = self._woken
            place = plan.stretch(self._views())
            if place is None:
                await woken.wait()
                continue
            parcel = self._batch(plan, place, budget)
            if parcel is not None:
                return parcel
            # Its first record is not sound: it blocks nothing.
            plan.narrow(place.epoch, place.lane, [(place.first, place.first)])
            await self._give_up((place.epoch, place.lane, place.first))

    async def next_chunk(self, plan: Plan, chunk_size: int) -> ChunkParcel:
        """Wait for pending bytes of a blob."""
        while True:
            woken = self._woken
            place = plan.piece(self._blobs(), chunk_size)
            if place is not None:
                plan.depart(place, place.last - place.offset + 1)
                return ChunkParcel(place, self._chunk(place))
            await woken.wait()

    async def settle(self, receipt: Receipt) -> Verdict:
        """Apply a verified receipt; see `receipts.settle`."""
        asked = self._asked

        def weigh(connection: Connection) -> Verdict:
            return settling.apply(connection, self._destination, self._unit, receipt, asked=asked)

        verdict = await receipts.settle(self._writer, self._destination, receipt, weigh)
        self.wake()
        return verdict

    async def alarm(self, code: str, detail: str) -> None:
        """Keep an alarm where `status` shows it."""
        await self._writer.write(lambda connection: settling.alarm(connection, code, detail))

    async def _give_up(self, place: holes.Place) -> None:
        await self._writer.write(
            lambda connection: holes.give_up(connection, self._destination, self._origin, place)
        )
        self.wake()

    @translating()
    def _lanes(self) -> list[tuple[LaneState, int, bytes]]:
        return backlog.lanes(self._reader, self._destination)

    @translating()
    def _views(self) -> list[LaneView]:
        lanes = self._lanes()
        pulled = self._pulled([state for state, _, _ in lanes])
        return [
            LaneView(
                state.epoch,
                state.lane,
                owed(self._reader, self._destination, state, oldest),
                self._live_from.get((state.epoch, state.lane), 1),
                normal(pulled.get(state.lane, ())),
            )
            for state, oldest, _ in lanes
        ]

    def _pulled(self, states: list[LaneState]) -> dict[str, list[Range]]:
        """By lane, what a request that is not settled refers to, and what that refers to."""
        pulled: dict[str, list[Range]] = {}
        for state in states:
            if state.lane == "urgent" and state.pending:
                floor = state.pending[0][0] - 1
                rows = self._reader.execute(_PULLED, (state.epoch, floor, state.epoch))
                for lane, seq in rows.fetchall():
                    pulled.setdefault(lane, []).append((seq, seq))
        return pulled

    @translating()
    def _batch(self, plan: Plan, place: Stretch, budget: int) -> BatchParcel | None:
        """The sound records at the beginning of a stretch; None where the first isn't."""
        batch = backlog.sound_batch(
            self._reader, self._unit, (place.epoch, place.lane), (place.first, place.last), budget
        )
        if batch is None:
            return None
        cut = replace(place, last=batch.header.last)
        plan.depart(cut, sum(map(len, batch.lines)))
        return BatchParcel(cut, batch)

    @translating()
    def _blobs(self) -> list[BlobView]:
        """The most pressing blobs that wait, each once: what is asked about urgently first."""
        found: dict[bytes, BlobView] = {}
        asks: list[tuple[str, tuple[str, ...]]] = [(_ASKED_ABOUT, (self._destination,))]
        asks += [(_BLOBS, (self._destination, lane)) for lane in LANES]
        for sql, of in asks:
            left = _BLOBS_AT_ONCE - len(found)
            for sha256, size, have in self._reader.execute(sql, (*of, left)).fetchall():
                whole, held = ((0, size - 1),), settling.ranges(have)
                found.setdefault(bytes(sha256), BlobView(bytes(sha256), size, minus(whole, held)))
        return list(found.values())

    @translating()
    def _chunk(self, place: Piece) -> Chunk:
        content = backlog.read_blob(self._reader, place.sha256, place.offset, place.last)
        return Chunk(place.sha256, place.size, place.offset, content)
