"""What goes next: pure. In flight is memory and lives here, never in a stored state.

Records: what an urgent request refers to, then urgent, then live clinical, then history, then
background; whatever stands behind is guaranteed a fifth of the bytes while the front flows.
Chunks go beside history and background, never before the front.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from sync.contract.batch import LINES_MAX
from sync.contract.ranges import Range, Ranges, clip, minus, normal, union

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

SHARE = 0.2
"""The part of the record bytes that whatever stands behind gets while the front flows."""
DEBT_MAX = 256 << 10
"""The bytes of share that may be owed or enjoyed in advance: more than a batch has, but little
enough that a debt of long ago can't hold up what is live now."""
_RANKS = {"urgent": 1, "clinical": 2, "background": 4}
_PULLED, _URGENT, _LIVE, _HISTORY, _BACKGROUND, _CHUNKS = range(6)
PRESSING = frozenset({_PULLED, _URGENT})
FRONT = PRESSING | {_LIVE}
BULK = frozenset({_HISTORY, _BACKGROUND})
"""The ranks that wait for nothing, those that never wait behind bulk, and bulk itself."""


@dataclass(frozen=True, slots=True)
class LaneView:
    """What is pending of a lane. From `live_from` on it was recorded in this session."""

    epoch: str
    lane: str
    pending: Ranges
    live_from: int
    pulled: Ranges = ()


@dataclass(frozen=True, slots=True)
class BlobView:
    """What is pending of a blob, in bytes; blobs are handed over most pressing first."""

    sha256: bytes
    size: int
    pending: Ranges


@dataclass(frozen=True, slots=True)
class Stretch:
    """Records to send: as many of [first, last] as the budget of bytes allows."""

    epoch: str
    lane: str
    first: int
    last: int
    rank: int


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of a blob to send; `last` is included."""

    sha256: bytes
    size: int
    offset: int
    last: int


@dataclass(slots=True)
class Plan:
    """The plan of one session; forgotten with it. It offers records of its `ranks` only."""

    _records: dict[tuple[str, str], Ranges] = field(default_factory=dict)
    _chunks: dict[bytes, Ranges] = field(default_factory=dict)
    _owed: dict[int, float] = field(
        default_factory=lambda: dict.fromkeys((_HISTORY, _BACKGROUND, _CHUNKS), 0.0)
    )
    _narrow: dict[tuple[str, str], list[tuple[Range, int]]] = field(default_factory=dict)
    _aside: dict[tuple[str, str], Ranges] = field(default_factory=dict)
    ranks: frozenset[int] = FRONT | BULK

    def only(self, ranks: frozenset[int]) -> Plan:
        """The same plan, with the same in flight, for somebody who carries these ranks."""
        return replace(self, ranks=ranks)

    def stretch(self, views: Iterable[LaneView]) -> Stretch | None:
        """Choose the next records, or None when nothing is pending that isn't in flight."""
        offers: dict[int, Stretch] = {}
        for view in views:
            key = (view.epoch, view.lane)
            busy = union(self._records.get(key, ()), self._aside.get(key, ()))
            for rank, wanted in _classes(view):
                left = minus(wanted, busy)
                if left and rank not in offers:
                    first, last = left[0]
                    last = min(last, first + self._most(view, first) - 1)
                    offers[rank] = Stretch(view.epoch, view.lane, first, last, rank)
        chosen = self._rank(sorted(offers))
        return None if chosen is None else offers[chosen]

    def piece(self, blobs: Iterable[BlobView], chunk_size: int) -> Piece | None:
        """Choose the next chunk of at most `chunk_size` bytes."""
        for blob in blobs:
            left = minus(blob.pending, self._chunks.get(blob.sha256, ()))
            if left:
                offset, last = left[0]
                last = min(last, offset + chunk_size - 1)
                return Piece(blob.sha256, blob.size, offset, last)
        return None

    def depart(self, parcel: Stretch | Piece, size: int) -> None:
        """Count a stretch (as cut to its budget) or a piece as in flight; `size` in bytes."""
        if isinstance(parcel, Stretch):
            key = (parcel.epoch, parcel.lane)
            span = ((parcel.first, parcel.last),)
            self._records[key] = union(self._records.get(key, ()), span)
            self._count(parcel.rank, size)
        else:
            span = ((parcel.offset, parcel.last),)
            self._chunks[parcel.sha256] = union(self._chunks.get(parcel.sha256, ()), span)
            self._count(_CHUNKS, size)

    def correct(self, parcel: Stretch, change: int) -> None:
        """Count what a departed stretch weighs on the link, packed, not what its lines do."""
        self._count(parcel.rank, change)

    def owed(self, parcel: Stretch | Piece) -> float:
        """The bytes of its share that a parcel's rank has not had; the more, the sooner it goes."""
        return self._owed[parcel.rank if isinstance(parcel, Stretch) else _CHUNKS]

    def arrive(self, parcel: Stretch | Piece) -> None:
        """Answered or given up: no longer in flight; pending again unless it was settled."""
        if isinstance(parcel, Stretch):
            key = (parcel.epoch, parcel.lane)
            self._records[key] = minus(self._records[key], ((parcel.first, parcel.last),))
        else:
            left = minus(self._chunks[parcel.sha256], ((parcel.offset, parcel.last),))
            self._chunks[parcel.sha256] = left

    def narrow(self, epoch: str, lane: str, stretches: Sequence[Range]) -> Ranges:
        """Halve the batches of stretches that were explicitly refused as such.

        A record that is refused alone is set aside, so that it blocks nothing and isn't sent
        over and over; gives what was set aside now. The next session tries it once more.
        """
        key = (epoch, lane)
        before = self._aside.get(key, ())
        single = minus(normal(each for each in stretches if each[0] == each[1]), before)
        self._aside[key] = union(before, single)
        for first, last in stretches:
            half = max(1, (last - first + 1) // 2)
            self._narrow.setdefault(key, []).append(((first, last), half))
        return single

    def _most(self, view: LaneView, first: int) -> int:
        rules = self._narrow.get((view.epoch, view.lane), ())
        return min((most for (a, b), most in rules if a <= first <= b), default=LINES_MAX)

    def _count(self, rank: int, size: int) -> None:
        for other, owed in self._owed.items():
            change = -size if other == rank else size * SHARE / (1 - SHARE)
            self._owed[other] = max(-DEBT_MAX, min(DEBT_MAX, owed + change))

    def _rank(self, offered: list[int]) -> int | None:
        """Which of the offered ranks goes: the first of ours, unless bulk is owed its share.

        None where nothing of ours is offered, or where it must wait for others to have theirs.
        """
        front = next((rank for rank in offered if rank in self.ranks), None)
        bulk = [rank for rank in offered if rank in BULK]
        if front is None or front in PRESSING or not bulk:
            return front
        most = max(bulk, key=self._owed.__getitem__)
        if self._owed[most] <= 0:
            return front
        return most if most in self.ranks else None


def _classes(view: LaneView) -> Iterable[tuple[int, Ranges]]:
    """Split a lane's pending into its ranks, most pressing first."""
    yield 0, minus(view.pending, minus(view.pending, view.pulled))
    rank = _RANKS.get(view.lane, 4)
    top = view.pending[-1][1] if view.pending else 0
    if rank != _RANKS["clinical"]:
        yield rank, view.pending
        return
    yield rank, clip(view.pending, view.live_from, max(top, view.live_from))
    yield _HISTORY, clip(view.pending, 0, view.live_from - 1)
