"""The outbox: the log as one destination sees it. Implements `sync.outbox.Outbox`.

It reads what is committed on a read-only connection and settles through the writer. What is in
flight it doesn't know: that is the plan's, in memory.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from agent.store import settling
from sync.contract.batch import gather, link
from sync.contract.chunk import Chunk
from sync.contract.hello import Hello, LaneOffer
from sync.contract.ranges import clip, minus, normal
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
SELECT b.sha256, b.size, coalesce(s.have, '[]')
FROM record_blob AS r JOIN blob AS b ON b.sha256 = r.sha256
LEFT JOIN blob_settled AS s ON s.sha256 = b.sha256 AND s.destination = ?
WHERE coalesce(s.complete, 0) = 0
GROUP BY b.sha256
ORDER BY min(CASE r.lane WHEN 'urgent' THEN 0 WHEN 'clinical' THEN 1 ELSE 2 END), min(r.seq)
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
SELECT b.sha256, b.size, coalesce(s.have, '[]')
FROM reference AS f JOIN identity AS i ON i.record_id = f.record_id
JOIN record_blob AS r ON r.epoch = i.epoch AND r.lane = i.lane AND r.seq = i.seq
JOIN blob AS b ON b.sha256 = r.sha256
LEFT JOIN blob_settled AS s ON s.sha256 = b.sha256 AND s.destination = ?
WHERE f.lane = 'urgent' AND coalesce(s.complete, 0) = 0
GROUP BY b.sha256 ORDER BY min(f.seq), min(i.seq) LIMIT ?
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
        self._session = ""

    def wake(self) -> None:
        """Something was stored: whoever waits for it looks again."""
        self._woken.set()
        self._woken = asyncio.Event()

    async def hello(self, session: str) -> Hello:
        """Offer every lane of the present epoch; what comes later counts as live."""
        self._session = session
        offers = []
        for state, oldest, head in self._lanes():
            self._live_from[state.epoch, state.lane] = state.last + 1
            pending = clip(state.pending, oldest, state.last)
            first = pending[0][0] if pending else state.last + 1
            offers.append(
                LaneOffer(
                    epoch=state.epoch,
                    lane=state.lane,
                    oldest=oldest,
                    first=first,
                    last=state.last,
                    head_hash=head.hex(),
                )
            )
        return Hello(unit=self._unit, session=session, origin=self._origin, lanes=tuple(offers))

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
            # Nothing of it is sound: it blocks nothing, and is tried again in the next session.
            plan.narrow(place.epoch, place.lane, [(place.first, place.first)])
            await self.alarm("record-unsound", "a record can't be read back as it was written")

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
        """Apply a verified receipt in one transaction."""
        fresh = receipt.answers == self._session
        verdict = await self._writer.write(
            lambda connection: settling.apply(
                connection, self._destination, self._unit, receipt, fresh=fresh
            )
        )
        self.wake()
        return verdict

    async def alarm(self, code: str, detail: str) -> None:
        """Keep an alarm where `status` shows it."""
        await self._writer.write(lambda connection: settling.alarm(connection, code, detail))

    def _lanes(self) -> list[tuple[LaneState, int, bytes]]:
        rows = self._reader.execute(
            "SELECT lane.epoch, lane.lane, oldest, head FROM lane JOIN unit USING (epoch)"
        ).fetchall()
        found = []
        for epoch, lane, oldest, head in rows:
            state = settling.load(self._reader, self._destination, epoch, lane)
            if state is not None:
                found.append((state, oldest, bytes(head)))
        return found

    def _views(self) -> list[LaneView]:
        lanes = self._lanes()
        pulled = self._pulled([state for state, _, _ in lanes])
        return [
            LaneView(
                state.epoch,
                state.lane,
                clip(state.pending, oldest, state.last),
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

    def _batch(self, plan: Plan, place: Stretch, budget: int) -> BatchParcel | None:
        """The sound records at the beginning of a stretch; None where the first isn't."""
        rows = self._reader.execute(
            "SELECT seq, prev_hash, hash, line FROM record WHERE epoch = ? AND lane = ? "
            "AND seq BETWEEN ? AND ? ORDER BY seq",
            (place.epoch, place.lane, place.first, place.last),
        )
        before, size = b"", 0
        lines: list[bytes] = []
        for seq, prev_hash, own, line in rows:
            sound = seq == place.first + len(lines) and link(prev_hash, line) == own
            if not sound or (lines and size + len(line) > budget):
                break
            before = before or bytes(prev_hash)
            lines.append(bytes(line))
            size += len(line)
        rows.close()
        if not lines:
            return None
        cut = replace(place, last=place.first + len(lines) - 1)
        plan.depart(cut, size)
        return BatchParcel(cut, gather(self._unit, cut.epoch, cut.lane, cut.first, before, lines))

    def _blobs(self) -> list[BlobView]:
        """What is asked about urgently first; a blob may be named twice, and is in flight once."""
        asked = (self._destination, _BLOBS_AT_ONCE)
        rows = [*self._reader.execute(_ASKED_ABOUT, asked), *self._reader.execute(_BLOBS, asked)]
        return [
            BlobView(bytes(sha256), size, minus(((0, size - 1),), settling.ranges(have)))
            for sha256, size, have in rows
        ]

    def _chunk(self, place: Piece) -> Chunk:
        content = read_blob(self._reader, place.sha256, place.offset, place.last)
        return Chunk(place.sha256, place.size, place.offset, content)


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
