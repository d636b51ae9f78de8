"""A unit's log and outbox in memory, around the very code that settles and plans on disk.

The simulation runs this one; the state machine runs it beside the store and asks both alike.
"""

from __future__ import annotations

import hashlib
import uuid
from typing import TYPE_CHECKING, Protocol

from sync.contract.batch import gather, link
from sync.contract.chunk import Chunk
from sync.contract.fields import GENESIS
from sync.contract.hello import Hello, LaneOffer
from sync.contract.ranges import Ranges, minus, union
from sync.lane import (
    Ignored,
    LaneState,
    Question,
    Settled,
    Verdict,
    Why,
    proves,
    settle,
    standing_question,
)
from sync.outbox import BatchParcel, ChunkParcel, Parcel
from sync.plan import BlobView, LaneView, Piece, Plan, Stretch

if TYPE_CHECKING:
    from sync.contract.batch import Batch
    from sync.contract.receipt import Receipt

LANE = "clinical"


class Unit(Protocol):
    """What the state machine asks of a unit, on disk or in memory."""

    plan: Plan

    def record(self, line: bytes, blob: bytes | None) -> None:
        """Save; durable when this returns."""

    def hello(self) -> Hello:
        """Begin a session."""

    def next_parcel(self, *, chunks: bool) -> Parcel | None:
        """What the plan would send now; counted as in flight."""

    def settle(self, receipt: Receipt) -> Verdict:
        """Apply a receipt."""

    def crash(self) -> None:
        """Lose everything that is not on disk, and start again."""

    def state(self) -> LaneState:
        """The clinical lane as it is settled."""

    def refused(self) -> set[int]:
        """Records that the centre will never take."""

    def confirmed_blobs(self) -> set[bytes]:
        """Blobs that the centre holds whole, as far as receipts say."""


class PureUnit:
    """One lane, in memory; a crash forgets the plan and nothing else."""

    def __init__(self, unit: str) -> None:
        self.unit = unit
        self.epoch = str(uuid.uuid4())
        self.plan = Plan()
        self.lines: list[bytes] = []
        self.hashes = [GENESIS]
        self.blobs: dict[bytes, bytes] = {}
        self.have: dict[bytes, Ranges] = {}
        self._refused: set[int] = set()
        self._state = LaneState(self.epoch, LANE, 0)
        self._retired: set[str] = set()
        self._live_from = 1
        self._asked = Question("", None)
        self._born = str(uuid.uuid4())

    def record(self, line: bytes, blob: bytes | None) -> None:
        """Save a line and its blob."""
        self.lines.append(line)
        self.hashes.append(link(self.hashes[-1], line))
        if blob is not None:
            self.blobs[hashlib.sha256(blob).digest()] = blob
        self._state = self._state.grown(len(self.lines))

    def hello(self) -> Hello:
        """Begin a session."""
        self.plan = Plan()
        self._live_from = len(self.lines) + 1
        self._asked = Question(str(uuid.uuid4()), self._state.central_epoch)
        return self._say(self._asked.session)

    def next_parcel(self, *, chunks: bool) -> Parcel | None:
        """What the plan would send now."""
        place: Stretch | Piece | None
        if chunks:
            place = self.plan.piece(self._blob_views(), 4)
            if place is None:
                return None
            self.plan.depart(place, place.last - place.offset + 1)
            content = self.blobs[place.sha256][place.offset : place.last + 1]
            return ChunkParcel(place, Chunk(place.sha256, place.size, place.offset, content))
        view = LaneView(self.epoch, LANE, self._state.pending, self._live_from)
        place = self.plan.stretch([view])
        if place is None:
            return None
        lines = self.lines[place.first - 1 : place.last]
        self.plan.depart(place, sum(map(len, lines)))
        before = self.hashes[place.first - 1]
        batch = gather(self.unit, self.epoch, LANE, place.first, before, lines)
        return BatchParcel(place, batch)

    def settle(self, receipt: Receipt) -> Verdict:
        """Apply a receipt."""
        return self._weigh(receipt, (self._asked, self.standing()))

    def settle_carried(self, receipt: Receipt) -> Verdict:
        """Apply a receipt that came in a file (C-10.11)."""
        verdict = self._weigh(receipt, (self.standing(),))
        if verdict == Ignored(Why.STALE):
            for held in receipt.chunks:
                if held.complete:
                    self.have[bytes.fromhex(held.sha256)] = held.have
        return verdict

    def standing(self) -> Question:
        """What every file asks at present."""
        return standing_question(self._born, self._state.central_epoch)

    def carried(self) -> tuple[Hello | Batch | Chunk, ...]:
        """What a file holds of everything that is pending."""
        batches = [
            gather(self.unit, self.epoch, LANE, a, self.hashes[a - 1], self.lines[a - 1 : b])
            for a, b in self._state.pending
        ]
        chunks = [
            Chunk(view.sha256, view.size, a, self.blobs[view.sha256][a : b + 1])
            for view in self._blob_views()
            for a, b in view.pending
        ]
        return (self._say(self.standing().session), *batches, *chunks)

    def _say(self, session: str) -> Hello:
        pending = self._state.pending
        offer = LaneOffer(
            epoch=self.epoch,
            lane=LANE,
            oldest=1,
            first=pending[0][0] if pending else len(self.lines) + 1,
            last=len(self.lines),
            head_hash=self.hashes[-1].hex(),
        )
        return Hello(unit=self.unit, session=session, origin="simulated", lanes=(offer,))

    def _weigh(self, receipt: Receipt, asked: tuple[Question, ...]) -> Verdict:
        verdict = settle(
            self._state,
            receipt,
            lambda seq: self.hashes[seq] if seq < len(self.hashes) else None,
            frozenset(self._retired),
            fresh=proves(receipt, self._state.central_epoch, asked),
        )
        if isinstance(verdict, Settled):
            self._follow(receipt)
            self._state = verdict.state
            self._refused |= {each.seq for each in verdict.refused}
            for held in receipt.chunks:
                self.have[bytes.fromhex(held.sha256)] = held.have
        return verdict

    def crash(self) -> None:
        """Forget what is in flight."""
        self.plan = Plan()

    def state(self) -> LaneState:
        """The lane as it is settled."""
        return self._state

    def refused(self) -> set[int]:
        """Records that the centre will never take."""
        return self._refused

    def confirmed_blobs(self) -> set[bytes]:
        """Blobs that the centre holds whole."""
        return {
            sha256
            for sha256, have in self.have.items()
            if have == ((0, len(self.blobs[sha256]) - 1),)
        }

    def _follow(self, receipt: Receipt) -> None:
        before = self._state.central_epoch
        if before not in {None, receipt.central_epoch}:
            self._retired.add(str(before))
            self.have.clear()

    def _blob_views(self) -> list[BlobView]:
        return [
            BlobView(sha256, len(blob), minus(((0, len(blob) - 1),), self.have.get(sha256, ())))
            for sha256, blob in self.blobs.items()
        ]


class SettlesTooEarly(PureUnit):
    """A mutant: it takes what it has sent for settled. Every test of the outbox must catch it."""

    def next_parcel(self, *, chunks: bool) -> Parcel | None:
        """Send, and believe."""
        parcel = super().next_parcel(chunks=chunks)
        if isinstance(parcel, BatchParcel):
            sent = ((parcel.place.first, parcel.place.last),)
            ahead = union(self._state.ahead, sent)
            through = self._state.through
            if ahead and ahead[0][0] == through + 1:
                through, ahead = ahead[0][1], ahead[1:]
            self._state = LaneState(
                self.epoch, LANE, len(self.lines), through, ahead, self._state.central_epoch,
                self._state.serial,
            )  # fmt: skip
        return parcel


class IgnoresMissing(PureUnit):
    """A mutant: it takes the highest seq of a receipt for a watermark."""

    def settle(self, receipt: Receipt) -> Verdict:
        """Believe that nothing is missing."""
        verdict = super().settle(receipt)
        if isinstance(verdict, Settled) and receipt.missing:
            self._state = LaneState(
                self.epoch, LANE, len(self.lines), receipt.last, (), receipt.central_epoch,
                receipt.serial,
            )  # fmt: skip
        return verdict


class KeepsBlobsOfAnotherCentre(PureUnit):
    """A mutant: a restored centre need not hold what the one before it held."""

    def _follow(self, receipt: Receipt) -> None:
        """Forget to ask again."""


class BelievesAnyAnswer(PureUnit):
    """A mutant: whatever comes on a stick is taken for news."""

    def settle_carried(self, receipt: Receipt) -> Verdict:
        """Ask nothing."""
        believed = self._state.central_epoch
        return self._weigh(receipt, (Question(receipt.answers or "", believed),))


class AsksTheSameForEver(PureUnit):
    """A mutant: its files carry one session for good."""

    def standing(self) -> Question:
        """Forget what was believed in when it was said."""
        same = standing_question(self._born, None)
        return Question(same.session, self._state.central_epoch)


class AnswersOutliveTheBelief(PureUnit):
    """A mutant: an answer to the link's hello counts, though a stick has brought news since."""

    def settle(self, receipt: Receipt) -> Verdict:
        """Compare sessions only."""
        asked = Question(self._asked.session, self._state.central_epoch)
        return self._weigh(receipt, (asked, self.standing()))
