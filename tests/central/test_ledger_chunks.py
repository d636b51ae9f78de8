from __future__ import annotations

import hashlib
import random
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from central import chunks, report
from central.ledger import Inbound, Ledger
from sync.contract.chunk import BLOB_MAX, Chunk

from .twin import Twin, cut, new_line

if TYPE_CHECKING:
    from pathlib import Path

    from central.store import Store
    from sync.contract.receipt import Held, Receipt

KIB = 1024
PICTURE = random.Random(7).randbytes(100 * KIB + 17)


@pytest.fixture
def ledger(store: Store) -> Ledger:
    return Ledger(store)


@pytest.fixture
def greeted(ledger: Ledger, twin: Twin) -> Twin:
    ledger.commit([twin.hello()])
    return twin


def receipt_of(ledger: Ledger, message: Inbound) -> Receipt:
    (receipt,) = ledger.commit([message]).receipts
    return receipt


def held(ledger: Ledger, twin: Twin, chunk: Chunk) -> Held:
    (found,) = receipt_of(ledger, twin.chunk(chunk)).chunks
    assert found.sha256 == chunk.sha256.hex()
    return found


def counted(folder: Path) -> dict[str, int]:
    return report.status(folder).units[0].refused_messages


def test_blob_is_whole_after_its_chunks_in_any_order(
    ledger: Ledger, greeted: Twin, folder: Path
) -> None:
    pieces = cut(PICTURE)
    random.Random(3).shuffle(pieces)
    states = [held(ledger, greeted, piece) for piece in pieces]
    assert [state.complete for state in states] == [False] * (len(pieces) - 1) + [True]
    (blob,) = report.blobs(folder)
    assert (blob.complete, blob.size) == (True, len(PICTURE))
    assert blob.content_sha256 == blob.sha256 == hashlib.sha256(PICTURE).hexdigest()


def test_repeated_chunk_changes_nothing_and_is_answered_again(
    ledger: Ledger, greeted: Twin, folder: Path
) -> None:
    first, *rest = cut(PICTURE)
    one = held(ledger, greeted, first)
    assert held(ledger, greeted, first) == one
    for piece in rest:
        held(ledger, greeted, piece)
    assert held(ledger, greeted, rest[0]).complete
    assert [blob.complete for blob in report.blobs(folder)] == [True]


def test_overlapping_bytes_already_held_are_not_overwritten(
    ledger: Ledger, greeted: Twin, folder: Path
) -> None:
    first, second, *rest = cut(PICTURE)
    held(ledger, greeted, second)
    width = len(first.content)
    torn = replace(first, content=first.content + b"\x00" * (width + 5))
    state = held(ledger, greeted, torn)
    assert state.have == ((0, 2 * width + 4),)
    # The five forged bytes behind `second` were new, and make the whole wrong in the end.
    for piece in rest:
        state = held(ledger, greeted, piece)
    assert state.have == ()
    for piece in cut(PICTURE):
        state = held(ledger, greeted, piece)
    assert state.complete
    assert counted(folder) == {"blob-hash": 1}


def test_wrong_blob_is_dropped_counted_and_asked_for_again(
    ledger: Ledger, greeted: Twin, folder: Path
) -> None:
    """C-9.7: complete only when the hash is right."""
    *rest, last = cut(PICTURE)
    for piece in rest:
        held(ledger, greeted, piece)
    wrong = replace(last, content=bytes(len(last.content)))
    state = held(ledger, greeted, wrong)
    assert (state.have, state.size) == ((), len(PICTURE))
    assert counted(folder) == {"blob-hash": 1}
    assert [h.have for h in receipt_of(ledger, greeted.hello()).chunks] == [()]
    for piece in (*rest, last):
        state = held(ledger, greeted, piece)
    assert state.complete


def test_chunk_with_another_size_of_the_blob_is_refused(
    ledger: Ledger, greeted: Twin, folder: Path
) -> None:
    first, second, *_ = cut(PICTURE)
    before = held(ledger, greeted, first)
    assert held(ledger, greeted, replace(second, size=second.size + 1)) == before
    assert counted(folder) == {"blob-size": 1}


def test_chunk_that_breaks_its_bounds_is_refused(ledger: Ledger, greeted: Twin) -> None:
    message = greeted.chunk(cut(PICTURE)[0])
    beyond = message.payload[:36] + (BLOB_MAX + 1).to_bytes(8) + message.payload[44:]
    outside = message.payload[:44] + len(PICTURE).to_bytes(8) + message.payload[52:]
    group = [
        greeted.message("up/chunk", payload) for payload in (beyond, outside, message.payload[:52])
    ]
    assert dict(ledger.commit(group).refused) == {"chunk": 3}


def test_record_gives_the_size_where_earlier_chunks_gave_another(
    ledger: Ledger, greeted: Twin, folder: Path
) -> None:
    first, *rest = cut(PICTURE)
    held(ledger, greeted, replace(first, size=first.size + 9))
    greeted.write(new_line(blobs=[(PICTURE, "photograph")]))
    (told,) = receipt_of(ledger, greeted.batch(1, 1)).chunks
    assert (told.size, told.have) == (len(PICTURE), ())
    for piece in (first, *rest):
        state = held(ledger, greeted, piece)
    assert state.complete
    assert counted(folder) == {}


@pytest.mark.parametrize("whole", [False, True])
def test_record_that_gives_a_known_blob_another_size_is_refused_alone(
    whole: bool,  # noqa: FBT001 - a parameter of pytest
    ledger: Ledger,
    greeted: Twin,
) -> None:
    if whole:
        for piece in cut(PICTURE):
            held(ledger, greeted, piece)
    right = new_line(blobs=[(PICTURE, "photograph")])
    size = f'"size": {len(PICTURE)}'.encode()
    wrong = new_line(blobs=[(PICTURE, "photograph")]).replace(size, b'"size": 5')
    fresh = PICTURE[::-1]
    twice = new_line(blobs=[(fresh, "a"), (fresh, "b")]).replace(size, b'"size": 5', 1)
    greeted.write(right, wrong, twice)
    receipt = receipt_of(ledger, greeted.batch(1, 3))
    assert [(r.seq, r.code) for r in receipt.refused] == [(2, "blob-size"), (3, "blob-size")]
    assert receipt.through == 3


def test_chunks_may_arrive_before_or_after_their_record(
    ledger: Ledger, greeted: Twin, folder: Path
) -> None:
    early, late = PICTURE, PICTURE[::-1]
    greeted.write(new_line(blobs=[(early, "photograph")]), new_line(blobs=[(late, "preview")]))
    for piece in cut(early):
        held(ledger, greeted, piece)
    assert receipt_of(ledger, greeted.batch(1, 2)).through == 2
    (waiting,) = receipt_of(ledger, greeted.hello(first=3)).chunks
    assert (waiting.sha256, waiting.have) == (hashlib.sha256(late).hexdigest(), ())
    for piece in cut(late):
        held(ledger, greeted, piece)
    assert receipt_of(ledger, greeted.hello(first=3)).chunks == ()
    found = {a.role: b"".join(content) for a, content in report.attachments(folder)}
    assert found == {"photograph": early, "preview": late}


def test_units_do_not_share_blobs(
    ledger: Ledger, greeted: Twin, store: Store, folder: Path
) -> None:
    other = Twin(unit="azilal-04")
    with store.transaction():
        store.enrol(other.unit, other.key.public_key().public_bytes_raw())
    ledger.commit([other.hello()])
    first, *rest = cut(PICTURE)
    spoilt = replace(first, content=bytes(len(first.content)))
    assert held(ledger, other, spoilt).have == ((0, len(first.content) - 1),)
    assert held(ledger, greeted, rest[0]).have == ((rest[0].offset, rest[0].last),)
    for piece in (first, *rest):
        state = held(ledger, greeted, piece)
    assert state.complete
    assert counted(folder) == {}


def test_chunk_of_a_unit_that_never_spoke_is_kept_and_told_at_its_hello(
    ledger: Ledger, twin: Twin
) -> None:
    first = cut(PICTURE)[0]
    assert ledger.commit([twin.chunk(first)]).receipts == ()
    (told,) = receipt_of(ledger, twin.hello()).chunks
    assert told.have == ((0, first.last),)


def test_bytes_that_no_record_refers_to_are_bounded(
    ledger: Ledger, greeted: Twin, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunks, "UNREFERENCED_MAX", 40 * KIB)
    first, second, third, *rest = cut(PICTURE)
    held(ledger, greeted, first)
    before = held(ledger, greeted, second)
    assert held(ledger, greeted, third) == before
    other = cut(PICTURE[::-1])[0]
    assert held(ledger, greeted, other).have == ()
    assert counted(folder) == {"quota": 2}
    greeted.write(new_line(blobs=[(PICTURE, "photograph")]))
    ledger.commit([greeted.batch(1, 1)])
    others = [held(ledger, greeted, piece) for piece in cut(PICTURE[::-1])[:3]]
    assert [each.have[0][1] + 1 for each in others] == [16 * KIB, 32 * KIB, 32 * KIB]
    for piece in (third, *rest):
        state = held(ledger, greeted, piece)
    assert state.complete
    assert counted(folder) == {"quota": 3}


def test_incomplete_blobs_that_no_record_refers_to_are_bounded(
    ledger: Ledger, greeted: Twin, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunks, "INCOMPLETE_MAX", 2)
    blobs = [cut(bytes([number]) * 40 * KIB) for number in range(3)]
    assert [held(ledger, greeted, pieces[0]).have != () for pieces in blobs] == [True, True, False]
    assert counted(folder) == {"quota": 1}
    for pieces in blobs[:2]:
        for piece in pieces:
            state = held(ledger, greeted, piece)
        assert state.complete
    assert held(ledger, greeted, blobs[2][0]).have == ((0, 16 * KIB - 1),)


def test_pieces_of_one_blob_are_bounded(
    ledger: Ledger, greeted: Twin, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunks, "RANGES_MAX", 3)
    crumbs = [Chunk(b"\x01" * 32, 100, at, b"x") for at in range(0, 10, 2)]
    states = [held(ledger, greeted, crumb) for crumb in crumbs]
    assert states[-1].have == ((0, 0), (2, 2), (4, 4))
    assert counted(folder) == {"quota": 2}


def test_receipt_shows_at_most_sixteen_ranges_and_among_them_those_just_touched(
    ledger: Ledger, greeted: Twin
) -> None:
    sparse = [Chunk(b"\x02" * 32, 1000, at, b"xx") for at in range(0, 200, 10)]
    for piece in sparse:
        state = held(ledger, greeted, piece)
        assert (piece.offset, piece.last) in state.have
    assert len(state.have) == 16
    (told,) = receipt_of(ledger, greeted.hello()).chunks
    assert told.have == tuple((p.offset, p.last) for p in sparse[:16])


def test_chunks_of_one_group_share_a_receipt_with_their_batch(
    ledger: Ledger, greeted: Twin
) -> None:
    greeted.write(new_line(blobs=[(PICTURE, "photograph")]))
    first, second, *_ = cut(PICTURE)
    group = [greeted.chunk(second), greeted.batch(1, 1), greeted.chunk(first)]
    (receipt,) = ledger.commit(group).receipts
    assert receipt.through == 1
    assert [each.have for each in receipt.chunks] == [((0, second.last),)]
