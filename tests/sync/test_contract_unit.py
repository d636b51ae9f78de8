"""The unit's side of the contract, part 8, on the pure code that weighs receipts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync.contract.batch import chain
from sync.contract.chunk import CHUNK_MAX, CHUNK_MIN
from sync.contract.fields import GENESIS
from sync.contract.receipt import Receipt, Refusal
from sync.lane import Ignored, LaneState, RestoredCopy, Settled, Verdict, Why, settle
from sync.pace import Pace

if TYPE_CHECKING:
    from sync.contract.ranges import Ranges

EPOCH = "6f0b5c1e-52a0-4f0e-9d3a-0c8f5e0d7a11"
CENTRAL = "b2d4f6a8-0c1e-4a3b-8d5f-7192a3b4c5d6"
LATER = "c3e5a7b9-1d2f-4b4c-9e60-8293b4c5d6e7"
CHAIN = (GENESIS, *chain(GENESIS, [f"record {seq}".encode() for seq in range(1, 21)]))
SEQS = st.integers(0, 20)


def hash_at(seq: int) -> bytes | None:
    """The unit's own chain."""
    return CHAIN[seq] if 0 <= seq < len(CHAIN) else None


def state(
    *, through: int = 4, ahead: Ranges = (), central_epoch: str | None = CENTRAL, serial: int = 7
) -> LaneState:
    """A lane of 20 records, the first four of them settled by receipt number 7."""
    return LaneState(EPOCH, "clinical", 20, through, ahead, central_epoch, serial)


def receipt(through: int, **changed: object) -> Receipt:
    """A sound receipt, number 8, through a seq."""
    fields: dict[str, object] = {
        "central_epoch": CENTRAL,
        "serial": 8,
        "unit": "azilal-03",
        "epoch": EPOCH,
        "lane": "clinical",
        "through": through,
        "head_hash": (hash_at(through) or GENESIS).hex(),
        "last": through,
    }
    return msgspec.convert(fields | changed, Receipt)


def taken(verdict: Verdict) -> Settled:
    """A verdict that must be that the receipt was taken."""
    assert isinstance(verdict, Settled)
    return verdict


def test_an_equal_serial_is_a_repetition_and_raises_no_alarm() -> None:
    """C-8.2: a receipt that comes twice changes nothing, silently."""
    verdict = settle(state(), receipt(9, serial=7), hash_at)
    assert verdict == Ignored(Why.REPEATED)
    assert not Why.REPEATED.alarming


@pytest.mark.parametrize("through", [0, 4, 20])
def test_a_lower_serial_is_stale_whatever_it_says(through: int) -> None:
    """C-8.2: an old receipt settles nothing and unsettles nothing, and raises an alarm."""
    assert settle(state(), receipt(through, serial=6), hash_at) == Ignored(Why.STALE)
    assert Why.STALE.alarming


def test_a_retired_central_epoch_is_heard_no_more() -> None:
    """C-8.3: neither a higher serial nor the right hash helps it."""
    retired = frozenset({CENTRAL})
    old = receipt(20, serial=99)
    verdict = settle(state(central_epoch=LATER, serial=1), old, hash_at, retired)
    assert verdict == Ignored(Why.RETIRED)
    assert Why.RETIRED.alarming


def test_a_head_hash_that_is_not_our_chain_is_impossible() -> None:
    """C-8.4, C-7.3: the centre has other records than we wrote."""
    for through, answering in ((9, False), (4, False), (4, True), (2, True)):
        wrong = receipt(through, head_hash=CHAIN[8].hex())
        verdict = settle(state(), wrong, hash_at, answering=answering)
        assert verdict == Ignored(Why.IMPOSSIBLE)
    assert Why.IMPOSSIBLE.alarming


def test_another_history_of_what_we_have_not_settled_makes_us_a_copy() -> None:
    """C-8.5: told in answer to our hello; what is settled the centre may have damaged instead."""
    wrong = receipt(9, head_hash=CHAIN[8].hex())
    assert settle(state(), wrong, hash_at, answering=True) == RestoredCopy()


def test_the_genesis_is_the_hash_through_nothing() -> None:
    """C-4.4, C-7.3: through 0 goes with 32 zero bytes, and with nothing else."""
    fresh = state(through=0, central_epoch=None, serial=0)
    assert taken(settle(fresh, receipt(0), hash_at)).state.pending == ((1, 20),)
    wrong = receipt(0, head_hash=CHAIN[1].hex())
    assert settle(fresh, wrong, hash_at) == Ignored(Why.IMPOSSIBLE)


def test_a_receipt_beyond_our_last_seq_makes_us_a_restored_copy() -> None:
    """C-8.5: through as well as last."""
    assert settle(state(), receipt(21), hash_at) == RestoredCopy()
    assert settle(state(), receipt(4, last=21), hash_at) == RestoredCopy()


@pytest.mark.parametrize("code", ["conflict", "chain"])
def test_a_stretch_that_does_not_fit_what_the_centre_has_makes_us_a_restored_copy(
    code: str,
) -> None:
    """C-8.5: another life has written under our seqs; C-9.3 refuses a record alone, without."""
    stretch = Refusal(seq=10, last=20, code=code, reason="Another history.")
    assert settle(state(), receipt(5, refused=(stretch,)), hash_at) == RestoredCopy()
    alone = Refusal(seq=5, code=code, reason="Known with other content.")
    assert taken(settle(state(), receipt(5, refused=(alone,)), hash_at)).refused == (alone,)


def test_through_falling_makes_everything_above_it_pending_again() -> None:
    """C-8.6: the centre lost something; we replay from there."""
    verdict = taken(settle(state(through=15), receipt(9), hash_at))
    assert verdict.replays
    assert verdict.state.pending == ((10, 20),)


def test_a_new_central_epoch_starts_from_what_it_says_itself() -> None:
    """C-8.6: nothing that the old one said of later records stands."""
    before = state(ahead=((8, 9), (15, 20)))
    new = receipt(5, central_epoch=LATER, serial=1, last=7, missing=((6, 6),))
    verdict = taken(settle(before, new, hash_at))
    assert verdict.replays
    assert verdict.state.pending == ((6, 6), (8, 20))
    assert (verdict.state.central_epoch, verdict.state.serial) == (LATER, 1)


def test_the_first_central_epoch_of_all_is_no_replay() -> None:
    """C-8.6: a unit that never had a receipt has nothing to replay."""
    fresh = state(through=0, central_epoch=None, serial=0)
    assert not taken(settle(fresh, receipt(3), hash_at)).replays


def test_beyond_its_last_a_receipt_says_nothing() -> None:
    """C-7.4, C-8.7: what an earlier receipt said there stands."""
    before = state(ahead=((12, 14),))
    verdict = taken(settle(before, receipt(4, last=8, missing=((5, 6),)), hash_at))
    assert verdict.state.pending == ((5, 6), (9, 11), (15, 20))


def test_a_receipt_replaces_what_was_said_up_to_its_last() -> None:
    """C-8.7: a hole that it names is a hole, whatever an earlier one said."""
    before = state(ahead=((6, 8),))
    verdict = taken(settle(before, receipt(4, last=10, missing=((7, 7),)), hash_at))
    assert verdict.state.pending == ((7, 7), (11, 20))


def test_a_refused_record_is_settled_and_a_refused_stretch_stays_pending() -> None:
    """C-7.5: `last` tells them apart, and changes nothing of what is settled."""
    refused = (
        Refusal(seq=6, code="conflict", reason="Another record was taken under this id."),
        Refusal(seq=10, last=20, code="too-large", reason="Smaller, please."),
    )
    verdict = taken(settle(state(), receipt(5, last=9, refused=refused), hash_at))
    assert verdict.refused == refused[:1]
    assert verdict.smaller == ((10, 20),)
    assert verdict.state.pending == ((10, 20),)


def test_a_backup_is_noted_and_settles_nothing() -> None:
    """C-7.7: backed_up_through may even run ahead; pending stays pending."""
    verdict = taken(settle(state(), receipt(5, backed_up_through=20), hash_at))
    assert verdict.state.backed_up_through == 20
    assert verdict.state.pending == ((6, 20),)


@given(SEQS, SEQS, st.lists(st.tuples(SEQS, SEQS), max_size=5))
def test_settled_is_exactly_what_the_receipt_says(
    through: int, last: int, gaps: list[tuple[int, int]]
) -> None:
    """C-7.1, C-7.3, C-7.4: the model is a set of numbers."""
    last = max(through, last)
    holes = {n for a, b in gaps for n in range(a, b + 1) if through < n <= last}
    missing = tuple((n, n) for n in sorted(holes))
    if any(n + 1 in holes for n in holes) or len(missing) > 64:
        missing = ((min(holes), max(holes)),)
        holes = set(range(min(holes), max(holes) + 1))
    verdict = settle(
        state(serial=0, central_epoch=None), receipt(through, last=last, missing=missing), hash_at
    )
    pending = {n for a, b in taken(verdict).state.pending for n in range(a, b + 1)}
    assert pending == holes | set(range(last + 1, 21))


@given(st.lists(st.tuples(st.integers(1, CHUNK_MAX), st.floats(0.001, 600.0)), max_size=60))
def test_chunks_are_16_to_64_kib_at_every_bandwidth(deliveries: list[tuple[int, float]]) -> None:
    """C-5.3: however fast or slow the link is measured."""
    pace, now = Pace(), 0.0
    for size, seconds in deliveries:
        flight = pace.began(now)
        now += seconds
        pace.delivered(flight, size, now)
        assert CHUNK_MIN <= pace.chunk_size <= CHUNK_MAX
    pace.began(now)
    pace.lost()
    assert pace.chunk_size == CHUNK_MIN
