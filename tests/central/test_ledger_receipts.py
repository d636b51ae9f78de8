from __future__ import annotations

import os
import uuid
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from central.backup import back_up, declare_restored
from central.ledger import GROUP_MAX, Inbound, Ledger
from central.report import status
from central.store import create, open_store
from sync.contract.chunk import Chunk
from sync.contract.envelope import key_id
from sync.contract.fields import GENESIS
from sync.contract.receipt import RECEIPT_MAX, Receipt, decode_receipt, encode_receipt

from .twin import Twin, cut, new_line

if TYPE_CHECKING:
    from pathlib import Path

    from central.store import Store


@pytest.fixture
def ledger(store: Store) -> Ledger:
    return Ledger(store)


def receipt_of(ledger: Ledger, message: Inbound) -> Receipt:
    (receipt,) = ledger.commit([message]).receipts
    return receipt


def travel(receipt: Receipt, twin: Twin) -> int:
    """Seal and open a receipt as peers do; give its size."""
    frame = encode_receipt(receipt, twin.key)
    public = twin.key.public_key()
    assert decode_receipt(frame, {key_id(public): public}.get) == receipt
    return len(frame)


def test_hello_is_answered_on_every_offered_lane(ledger: Ledger, twin: Twin, store: Store) -> None:
    """C-6.4: one receipt a lane, each with the hello's session."""
    twin.write(new_line(), new_line())
    ledger.commit([twin.batch(1, 2)])
    session = str(uuid.uuid4())
    hello = twin.hello(1, ("urgent", "clinical", "background", "of-the-future"), session)
    found = ledger.commit([hello]).receipts
    assert [each.lane for each in found] == ["urgent", "clinical", "background", "of-the-future"]
    assert {each.answers for each in found} == {session}
    assert [each.through for each in found] == [0, 2, 0, 0]
    assert found[0].head_hash == GENESIS.hex()
    assert found[1].head_hash == twin.value(2).hex()
    assert {each.central_epoch for each in found} == {store.central_epoch}


def test_only_an_answer_to_a_hello_carries_its_session(ledger: Ledger, twin: Twin) -> None:
    twin.write(new_line())
    session = str(uuid.uuid4())
    found = ledger.commit([twin.hello(session=session), twin.batch(1, 1)]).receipts
    assert [(each.answers, each.through) for each in found] == [(session, 1), (None, 1)]
    assert found[0].serial < found[1].serial


def test_serial_grows_with_every_receipt_of_a_lane(ledger: Ledger, twin: Twin) -> None:
    twin.write(new_line())
    messages = [twin.hello(), twin.batch(1, 1), twin.hello(), twin.batch(1, 1)]
    assert [receipt_of(ledger, each).serial for each in messages] == [1, 2, 3, 4]


def test_more_gaps_than_a_receipt_takes_shrink_what_it_speaks_of(
    ledger: Ledger, twin: Twin
) -> None:
    twin.write(*(new_line() for _ in range(201)))
    for seq in range(2, 201, 2):
        ledger.commit([twin.batch(seq, seq)])
    receipt = receipt_of(ledger, twin.hello())
    assert receipt.through == 0
    assert receipt.missing == tuple((seq, seq) for seq in range(1, 129, 2))
    assert receipt.last == 128
    travel(receipt, twin)
    for seq in range(1, 202, 2):
        receipt = receipt_of(ledger, twin.batch(seq, seq))
    assert (receipt.through, receipt.last, receipt.missing) == (201, 201, ())


def test_more_refusals_than_a_receipt_takes_hold_it_back_before_the_first_not_listed(
    ledger: Ledger, twin: Twin
) -> None:
    """C-9.6: the lowest refusals first, and nothing said beyond them."""
    twin.write(new_line(), *(b"broken %d" % number for number in range(100)), new_line())
    receipt = receipt_of(ledger, twin.batch(1, 102))
    assert [r.seq for r in receipt.refused] == list(range(2, 66))
    assert (receipt.through, receipt.last) == (65, 65)
    assert receipt.head_hash == twin.value(65).hex()
    assert travel(receipt, twin) < RECEIPT_MAX
    rest = receipt_of(ledger, twin.hello(first=66))
    assert [r.seq for r in rest.refused] == list(range(66, 102))
    assert (rest.through, rest.last) == (102, 102)
    assert receipt_of(ledger, twin.hello(first=103)).refused == ()


def test_refusals_above_a_gap_hold_back_last_and_clip_missing(ledger: Ledger, twin: Twin) -> None:
    broken = [b"broken %d" % number for number in range(70)]
    twin.write(new_line(), new_line(), *broken, new_line(), new_line())
    ledger.commit([twin.batch(1, 1), twin.batch(3, 72), twin.batch(74, 74)])
    receipt = receipt_of(ledger, twin.hello())
    assert (receipt.through, receipt.last, receipt.missing) == (1, 66, ((2, 2),))
    assert [r.seq for r in receipt.refused] == list(range(3, 67))
    travel(receipt, twin)


def test_refusals_are_told_until_a_hello_offers_only_what_is_above(
    ledger: Ledger, twin: Twin
) -> None:
    twin.write(b"broken", new_line(), new_line())
    for first, told in ((1, [1]), (2, [])):
        ledger.commit([twin.hello(first=first)])
        assert [r.seq for r in receipt_of(ledger, twin.batch(1, 3)).refused] == told
    assert [r.seq for r in receipt_of(ledger, twin.hello(first=1)).refused] == [1]


def test_incomplete_blobs_are_spread_over_the_receipts_of_a_hello(
    ledger: Ledger, twin: Twin
) -> None:
    ledger.commit([twin.hello()])
    wanted = [bytes([number]) * 20_000 for number in range(80)]
    twin.write(*(new_line(blobs=[(content, "photograph")]) for content in wanted))
    ledger.commit([twin.batch(1, 80), twin.chunk(cut(wanted[5])[0])])
    hello = twin.hello(1, ("urgent", "clinical"))
    found = ledger.commit([hello, hello]).receipts
    assert [len(each.chunks) for each in found] == [64, 16]
    told = {held.sha256: held.have for each in found for held in each.chunks}
    assert len(told) == 80
    assert sum(have != () for have in told.values()) == 1


def test_fullest_receipt_stays_within_its_bound(ledger: Ledger, twin: Twin) -> None:
    twin.write(*(new_line() for _ in range(2)), *(b"broken %d" % n for n in range(400)))
    ledger.commit([twin.batch(seq, seq) for seq in range(3, 131, 2)])
    sparse = [
        Chunk(bytes([number]) * 32, 60 << 20, (50 << 20) + at * 7, b"x")
        for number in range(64)
        for at in range(16)
    ]
    for at in range(0, len(sparse), GROUP_MAX):
        ledger.commit([twin.chunk(each) for each in sparse[at : at + GROUP_MAX]])
    receipt = receipt_of(ledger, twin.hello())
    assert [len(part) for part in (receipt.missing, receipt.refused, receipt.chunks)] == [64] * 3
    assert {len(held.have) for held in receipt.chunks} == {16}
    assert 0 < travel(receipt, twin) <= RECEIPT_MAX


def test_backed_up_through_is_told_once_a_backup_was_made(
    ledger: Ledger, twin: Twin, folder: Path, tmp_path: Path
) -> None:
    twin.write(new_line(), new_line())
    assert receipt_of(ledger, twin.batch(1, 1)).backed_up_through is None
    back_up(folder, tmp_path / "copy.db")
    receipt = receipt_of(ledger, twin.batch(2, 2))
    assert (receipt.through, receipt.backed_up_through) == (2, 1)


def test_backup_counts_a_record_only_with_its_picture(
    ledger: Ledger, twin: Twin, folder: Path, tmp_path: Path
) -> None:
    """C-7.7: a unit may delete the picture as well, and the copy must not be without it."""
    picture = os.urandom(40_000)
    twin.write(new_line(), new_line(blobs=[(picture, "original")]), new_line())
    chunks = [twin.chunk(each) for each in cut(picture)]
    ledger.commit([twin.batch(1, 3), *chunks[:-1]])
    back_up(folder, tmp_path / "first.db")
    receipt = receipt_of(ledger, twin.hello())
    assert (receipt.through, receipt.backed_up_through) == (3, 1)
    ledger.commit(chunks)
    back_up(folder, tmp_path / "second.db")
    assert receipt_of(ledger, twin.hello()).backed_up_through == 3


def test_restored_centre_takes_a_new_epoch_and_says_what_it_lacks(
    ledger: Ledger, twin: Twin, store: Store, folder: Path, tmp_path: Path
) -> None:
    """C-9.9: another central epoch after a restore."""
    twin.write(new_line(), new_line())
    ledger.commit([twin.batch(1, 1)])
    copy = tmp_path / "copy"
    copy.mkdir()
    back_up(folder, copy / "central.db")
    before = receipt_of(ledger, twin.batch(2, 2))
    epoch = declare_restored(copy)
    with closing(open_store(copy)) as again:
        receipt = receipt_of(Ledger(again), twin.hello(first=3))
    assert receipt.central_epoch == epoch != before.central_epoch == store.central_epoch
    assert (receipt.through, receipt.backed_up_through) == (1, None)


def test_simulated_centre_takes_simulated_units_only(tmp_path: Path) -> None:
    """C-9.8: nothing of another origin, by root, hello or context."""
    create(tmp_path, "simulated")
    with closing(open_store(tmp_path)) as store:
        clinical, simulated = Twin(), Twin(origin="simulated")
        for each in (clinical, simulated):
            each.write(new_line(context={"origin": each.origin}))
        with store.transaction():
            store.enrol(simulated.unit, simulated.key.public_key().public_bytes_raw())
        ledger = Ledger(store)
        assert dict(ledger.commit([clinical.batch(1, 1)]).refused) == {"origin": 1}
        assert receipt_of(ledger, simulated.batch(1, 1)).refused == ()


def test_what_a_unit_no_longer_has_is_counted_lost_once_its_oldest_is_here(
    ledger: Ledger, twin: Twin, folder: Path
) -> None:
    """C-9.10: a centre that lost its database takes up from `oldest`."""
    twin.write(*(new_line() for _ in range(6)))
    assert receipt_of(ledger, twin.hello(4, oldest=4)).through == 0
    receipt = receipt_of(ledger, twin.batch(6, 6))
    assert (receipt.through, receipt.missing) == (0, ((1, 5),))
    receipt = receipt_of(ledger, twin.batch(4, 5))
    assert (receipt.through, receipt.head_hash) == (6, twin.value(6).hex())
    (lane,) = status(folder).units[0].lanes
    assert (lane.lost, lane.taken) == (3, 3)
    assert receipt_of(ledger, twin.hello(4, oldest=4)).through == 6
