"""Receipts that must settle nothing, and what a session does about refusals."""

from __future__ import annotations

import asyncio
import random
import secrets
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from sync.answer import speaks_of
from sync.contract.ranges import normal
from sync.contract.receipt import Held, Receipt, Refusal, encode_receipt
from sync.plan import Piece, Stretch

from .ledger_link import LedgerLink, connected, ending, session
from .rig import ROOT, UNIT, Place, conserved, until

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

STRANGER = Ed25519PrivateKey.generate()
NOWHERE = "00000000-0000-4000-8000-000000000000"
PICTURE = random.Random(6).randbytes(60_000)


def changed(**fields: Any) -> Callable[[LedgerLink, Receipt], bytes]:
    """The centre's own receipt with other fields, signed by the centre itself."""
    return lambda link, receipt: link.seal(msgspec.structs.replace(receipt, **fields))


FALSE: dict[str, Callable[[LedgerLink, Receipt], bytes]] = {
    "key": lambda _, receipt: encode_receipt(receipt, STRANGER),
    "signature": lambda link, receipt: link.seal(receipt)[:-1] + b"\r",
    "short": lambda *_: b"QFLR",
    "magic": lambda link, receipt: b"QFLB" + link.seal(receipt)[4:],
    "another-unit": changed(unit="azilal-04"),
    "unknown-epoch": changed(epoch=NOWHERE),
    "impossible": changed(head_hash="ab" * 32),
}


@pytest.mark.parametrize("code", sorted(FALSE))
async def test_a_false_receipt_settles_nothing_and_is_counted_and_raised(
    code: str, here: Place, link: LedgerLink
) -> None:
    """C-8.1, C-8.4: the true one is held back; the false one says that all is well."""
    true: list[Receipt] = []

    def hold(receipt: Receipt) -> Sequence[Receipt]:
        if receipt.answers:
            return [receipt]
        true.append(receipt)
        return []

    link.on_the_way_down = hold
    async with session(here.unit, link) as state:
        await connected(state)
        await here.unit.record(PICTURE)  # live: it goes beside its picture, not before it
        await until(lambda: any(each.chunks for each in true), "receipts of record and chunk")
        told = len(true)
        for receipt in true[:told]:
            link.put(FALSE[code](link, receipt))
        assert told >= 2
        await until(lambda: here.unit.alarms().get(f"receipt-{code}") == told, "the alarms")
        await until(lambda: state.ignored.get(code) == told, "the count")
        assert here.unit.pending() == 1
        assert here.unit.blobs() == 1
        link.on_the_way_down = lambda receipt: [receipt]
        link.tell(true)
        await here.unit.settled()
    conserved(here.unit, here.centre, PICTURE)


async def test_a_retained_receipt_settles_nothing_though_it_is_genuine(
    here: Place, link: LedgerLink
) -> None:
    """C-8.1: nobody knows of when it is."""
    await here.unit.record()
    link.on_the_way_down = lambda receipt: [receipt] if receipt.answers else []
    async with session(here.unit, link) as state:
        await until(link.batches, "the record on its way")
        genuine = link.commit(*link.sent[-1])
        link.put(link.seal(genuine[0]), retained=True)
        await until(lambda: here.unit.alarms().get("receipt-retained") == 1, "the alarm")
        assert state.ignored["retained"] == 1
        assert here.unit.pending() == 1


async def test_a_repeated_receipt_is_silent_and_a_stale_one_is_not(
    here: Place, link: LedgerLink
) -> None:
    """C-8.2: what it says is known already, or was overtaken."""
    await here.unit.record_many(3)
    async with session(here.unit, link) as state:
        await here.unit.settled()
        newest = next(each for each in reversed(link.receipts) if each.lane == "clinical")
        oldest = next(each for each in link.receipts if each.lane == "clinical")
        assert (oldest.through, newest.through) == (0, 3)
        link.put(link.seal(newest))
        await until(lambda: state.ignored.get("repeated") == 1, "the repetition read")
        assert here.unit.alarms() == {}
        link.put(link.seal(oldest))
        await until(lambda: state.ignored.get("stale") == 1, "the stale receipt read")
        assert here.unit.alarms() == {"receipt-stale": 1}
        assert here.unit.pending() == 0


async def test_other_channels_below_down_are_passed_over(here: Place, link: LedgerLink) -> None:
    """C-3.6: commands and answers are reserved."""
    await here.unit.record()
    async with session(here.unit, link) as state:
        for channel in ("down/command", "down/answer", "down/of-tomorrow"):
            link.put(secrets.token_bytes(64), channel=channel)
        await here.unit.settled()
        assert state.ignored == {}
    assert here.unit.alarms() == {}


async def test_a_copy_of_itself_begins_anew_instead_of_saying_hello_for_ever(
    here: Place, link: LedgerLink
) -> None:
    """C-8.5: the plan of this session belongs to the epoch that is over."""
    await here.unit.record_many(2)
    link.on_the_way_down = lambda receipt: [
        msgspec.structs.replace(receipt, last=receipt.last + 9)
        if receipt.lane == "clinical"
        else receipt
    ]
    assert "beginning anew" in await ending(here.unit, link)
    assert link.channels() == ["up/hello"]


async def test_an_answer_of_another_history_is_named_when_the_session_ends(
    here: Place, link: LedgerLink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sync.session.GREETING_TIMEOUT", 0.6)
    await here.unit.record()
    link.on_the_way_down = lambda receipt: [msgspec.structs.replace(receipt, head_hash="ab" * 32)]
    words = await ending(here.unit, link)
    assert words == "the centre's answer had to be ignored: impossible"


async def test_a_cancelled_session_leaves_no_task_behind(here: Place, link: LedgerLink) -> None:
    await here.unit.record(PICTURE, PICTURE[::-1])
    before = asyncio.all_tasks()
    link.on_the_way_up = lambda channel, payload: (
        [(channel, payload)] if channel == "up/hello" else []
    )
    async with session(here.unit, link) as state:
        await connected(state)
        await until(lambda: len(link.channels()) > 1, "something on its way")
        assert len(asyncio.all_tasks()) > len(before) + 3
    assert asyncio.all_tasks() == before


async def test_a_lost_link_ends_every_carrier(here: Place, link: LedgerLink) -> None:
    await here.unit.record(PICTURE)
    before = asyncio.all_tasks()
    link.on_the_way_up = lambda channel, payload: (
        [(channel, payload)] if channel == "up/hello" else []
    )
    task = asyncio.create_task(ending(here.unit, link))
    await until(lambda: len(link.channels()) > 1, "something on its way")
    link.cut()
    assert await task == "cut"
    assert asyncio.all_tasks() == before


SEQS = st.integers(0, 12)


STRETCH = Refusal(seq=2, last=9, code="x", reason="x")
ALONE = Refusal(seq=5, code="x", reason="x")


@settings(deadline=None)
@given(
    SEQS,
    SEQS,
    st.sets(SEQS),
    st.tuples(st.integers(1, 12), st.integers(1, 12)),
    st.sampled_from([STRETCH, ALONE]),
)
def test_a_receipt_speaks_of_a_batch_when_it_says_what_became_of_every_record(
    through: int, last: int, holes: set[int], span: tuple[int, int], refusal: Refusal
) -> None:
    last = max(through, last)
    missing = {seq for seq in holes if through < seq <= last}
    receipt = Receipt(
        central_epoch=NOWHERE,
        serial=1,
        unit=UNIT,
        epoch=NOWHERE,
        lane="clinical",
        through=through,
        head_hash="00" * 32,
        last=last,
        missing=normal((seq, seq) for seq in missing),
        refused=(refusal,),
    )
    place_ = Stretch(NOWHERE, "clinical", min(span), max(span), 2)
    told = all(
        seq <= through or (seq <= last and seq not in missing)
        for seq in range(min(span), max(span) + 1)
    )
    smaller = refusal is STRETCH and min(span) >= 2 and max(span) <= 9
    assert speaks_of(receipt, place_) == (told or smaller)
    assert not speaks_of(receipt, Stretch(NOWHERE, "urgent", 1, 1, 1))
    assert not speaks_of(receipt, Stretch(ROOT, "clinical", 1, 1, 1))
    assert not speaks_of(receipt, Piece(bytes(32), 10, 0, 9))


@settings(deadline=None)
@given(st.sets(st.integers(0, 20)), st.integers(0, 20), st.integers(0, 20))
def test_a_receipt_speaks_of_a_chunk_that_it_holds_or_of_a_blob_thrown_away(
    have: set[int], one: int, other: int
) -> None:
    piece = Piece(bytes(32), 21, min(one, other), max(one, other))
    receipt = Receipt(
        central_epoch=NOWHERE,
        serial=1,
        unit=UNIT,
        epoch=NOWHERE,
        lane="clinical",
        through=0,
        head_hash="00" * 32,
        last=0,
        chunks=(Held(sha256="00" * 32, size=21, have=normal((at, at) for at in have)),),
    )
    whole = set(range(piece.offset, piece.last + 1)) <= have
    assert speaks_of(receipt, piece) == (whole or not have)
    assert not speaks_of(receipt, Piece(b"\x01" * 32, 21, 0, 20))
