"""What goes next: pure. In flight is memory and lives here, never in a stored state.

Records: what an urgent request refers to, then urgent, then live clinical, then history, then
background; whatever stands behind is guaranteed a fifth of the bytes while the front flows.
Chunks go beside records, never before them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
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
_URGENT, _HISTORY, _BACKGROUND = 1, 3, 4


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
    """The plan of one session; forgotten with it."""

    _records: dict[tuple[str, str], Ranges] = field(default_factory=dict)
    _chunks: dict[bytes, Ranges] = field(default_factory=dict)
    _owed: dict[int, float] = field(default_factory=lambda: {_HISTORY: 0.0, _BACKGROUND: 0.0})
    _narrow: dict[tuple[str, str], list[tuple[Range, int]]] = field(default_factory=dict)
    _aside: dict[tuple[str, str], Ranges] = field(default_factory=dict)

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
        if not offers:
            return None
        return offers[self._rank(sorted(offers))]

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

    def _rank(self, ranks: list[int]) -> int:
        front, *behind = ranks
        if front <= _URGENT or not behind:
            return front
        most = max(behind, key=self._owed.__getitem__)
        return most if self._owed[most] > 0 else front


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
