"""`lane.settle` against a naive model: one set of numbers, written down receipt by receipt."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sync.contract.batch import chain
from sync.contract.fields import GENESIS
from sync.contract.ranges import normal
from sync.contract.receipt import Receipt, Refusal, check_receipt
from sync.lane import Ignored, LaneState, RestoredCopy, Settled, Verdict, Why, settle

if TYPE_CHECKING:
    from collections.abc import Iterable

EPOCH = "6f0b5c1e-52a0-4f0e-9d3a-0c8f5e0d7a11"
CENTRES = tuple(f"{n}0000000-0000-4000-8000-000000000000" for n in "abc")
LOG = 10
CHAIN = (GENESIS, *chain(GENESIS, [b"%d" % seq for seq in range(1, LOG + 1)]))
STRANGER = bytes.fromhex("5a" * 32)


@dataclass
class Naive:
    """What is settled, as a person with a pencil would keep it."""

    last: int = 6
    settled: set[int] = field(default_factory=set)
    through: int = 0
    centre: str | None = None
    serial: int = 0
    retired: set[str] = field(default_factory=set)

    def take(self, receipt: Receipt, *, fresh: bool, answering: bool) -> str:
        """The verdict as a word; changes the books where it is `settled`."""
        why = self._objection(receipt, fresh=fresh, answering=answering)
        if why:
            return why
        new = receipt.central_epoch != self.centre
        if new and self.centre:
            self.retired.add(self.centre)
        if new or receipt.through < self.through:
            self.settled.clear()
        missing = numbers(receipt.missing)
        for seq in range(1, receipt.last + 1):
            if seq <= receipt.through or seq not in missing:
                self.settled.add(seq)
            else:
                self.settled.discard(seq)
        self.centre, self.serial, self.through = (
            receipt.central_epoch,
            receipt.serial,
            receipt.through,
        )
        return "settled"

    def _objection(self, receipt: Receipt, *, fresh: bool, answering: bool) -> str:
        same = receipt.central_epoch == self.centre
        strange = receipt.head_hash != CHAIN[receipt.through].hex()
        objections = (
            (receipt.central_epoch in self.retired, Why.RETIRED),
            (not same and not fresh, Why.UNPROVEN),
            (same and receipt.serial == self.serial, Why.REPEATED),
            (same and receipt.serial < self.serial, Why.STALE),
            (receipt.last > self.last, "restored"),
            (strange and answering and receipt.through > self.through, "restored"),
            (strange, Why.IMPOSSIBLE),
        )
        return next((why for holds, why in objections if holds), "")


def numbers(ranges: Iterable[tuple[int, int]]) -> set[int]:
    return {seq for first, last in ranges for seq in range(first, last + 1)}


MOSTLY = st.integers(0, 9).map(bool)


@st.composite
def receipts(draw: st.DrawFn) -> Receipt:
    """Any receipt that a centre's key could have signed, sensible or not."""
    through = draw(st.integers(0, LOG))
    last = draw(st.integers(through, LOG))
    seqs = range(through + 1, last + 1)
    missing = draw(st.sets(st.sampled_from(seqs))) if seqs else set()
    honest = draw(MOSTLY)
    receipt = Receipt(
        central_epoch=draw(st.sampled_from(CENTRES)),
        serial=draw(st.integers(1, 12)),
        unit="azilal-03",
        epoch=EPOCH,
        lane="clinical",
        through=through,
        head_hash=(CHAIN[through] if honest else STRANGER).hex(),
        last=last,
        missing=normal((seq, seq) for seq in missing),
    )
    check_receipt(receipt)
    return receipt


def word(verdict: Verdict) -> str:
    if isinstance(verdict, Ignored):
        return verdict.why
    return "restored" if isinstance(verdict, RestoredCopy) else "settled"


@dataclass(frozen=True)
class Said:
    """A receipt, placed beside what was believed last: a step of its serial, mostly the next."""

    receipt: Receipt
    step: int
    same_centre: bool
    fresh: bool
    answering: bool = False

    def after(self, naive: Naive) -> Receipt:
        if not self.same_centre or naive.centre is None:
            return self.receipt
        return msgspec.structs.replace(
            self.receipt, central_epoch=naive.centre, serial=max(1, naive.serial + self.step)
        )


STEPS = st.sampled_from((-1, 0, 1, 1, 1, 2))
SAID = st.builds(Said, receipts(), STEPS, MOSTLY, MOSTLY, st.booleans())


def told(centre: str, last: int, missing: tuple[tuple[int, int], ...] = ()) -> Said:
    receipt = Receipt(
        central_epoch=centre,
        serial=1,
        unit="azilal-03",
        epoch=EPOCH,
        lane="clinical",
        through=2,
        head_hash=CHAIN[2].hex(),
        last=last,
        missing=missing,
    )
    return Said(receipt, step=1, same_centre=False, fresh=True)


@settings(deadline=None, max_examples=200)
@example([told(CENTRES[0], last=6, missing=((3, 3),)), told(CENTRES[1], last=2)])
@given(st.lists(st.one_of(SAID, SAID, SAID, st.integers(1, 3)), max_size=15))
def test_what_is_settled_is_what_the_newest_valid_receipt_said_of_it(
    events: list[Said | int],
) -> None:
    """C-7.3, C-7.4, C-8.2, C-8.3, C-8.4, C-8.5, C-8.6, C-8.7: over any sequence of receipts."""
    naive = Naive()
    state = LaneState(EPOCH, "clinical", naive.last)
    for event in events:
        if isinstance(event, int):
            naive.last = min(LOG, naive.last + event)
            state = state.grown(naive.last)
            continue
        receipt, fresh, answering = event.after(naive), event.fresh, event.answering
        retired = frozenset(naive.retired)
        verdict = settle(
            state, receipt, lambda seq: CHAIN[seq], retired, fresh=fresh, answering=answering
        )
        assert word(verdict) == naive.take(receipt, fresh=fresh, answering=answering)
        if isinstance(verdict, Settled):
            state = verdict.state
    pending = numbers(state.pending)
    assert pending == set(range(1, naive.last + 1)) - naive.settled
    assert (state.central_epoch, state.serial) == (naive.centre, naive.serial)


@settings(deadline=None)
@given(receipts(), receipts())
def test_a_receipt_that_comes_again_after_any_other_changes_nothing(
    one: Receipt, other: Receipt
) -> None:
    """C-8.2, C-8.3: the second time it is a repetition, stale, or of a retired epoch."""
    state, retired = LaneState(EPOCH, "clinical", LOG), frozenset[str]()
    for each in (one, other, one):
        verdict = settle(state, each, lambda seq: CHAIN[seq], retired)
        before = state
        if isinstance(verdict, Settled):
            if state.central_epoch not in {None, verdict.state.central_epoch}:
                retired |= {str(state.central_epoch)}
            state = verdict.state
    if before != state:  # the third was taken: so it had not been before, or it is the newer one
        first_taken = one.head_hash == CHAIN[one.through].hex()
        assert not first_taken or (
            other.central_epoch == one.central_epoch and other.serial < one.serial
        )


@settings(deadline=None)
@given(receipts(), st.lists(st.integers(1, LOG), max_size=4))
def test_refused_records_and_refused_stretches_come_apart_and_settle_nothing(
    receipt: Receipt, seqs: list[int]
) -> None:
    """C-7.5, C-8.11: whatever is refused, only through, last and missing settle."""
    plain = settle(LaneState(EPOCH, "clinical", LOG), receipt, lambda seq: CHAIN[seq])
    refused = tuple(
        Refusal(seq=seq, code="x", reason="x", last=seq if number % 2 else None)
        for number, seq in enumerate(seqs)
    )
    told = Receipt(
        **{name: getattr(receipt, name) for name in receipt.__struct_fields__}
        | {"refused": refused}
    )
    verdict = settle(LaneState(EPOCH, "clinical", LOG), told, lambda seq: CHAIN[seq])
    assert word(verdict) == word(plain)
    if isinstance(verdict, Settled) and isinstance(plain, Settled):
        assert verdict.state == plain.state
        assert verdict.refused == refused[::2]
        assert verdict.smaller == tuple((each.seq, each.seq) for each in refused[1::2])
