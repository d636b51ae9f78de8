from __future__ import annotations

import hashlib
import uuid
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from central import report
from central.ledger import Inbound, Ledger
from sync.contract.batch import gather
from sync.contract.envelope import Codec, Magic, seal
from sync.contract.fields import GENESIS

from .glance import refusals, rows, stored
from .twin import Twin, agent_line, lost_line, new_line, record_id

if TYPE_CHECKING:
    from pathlib import Path

    from central.store import Store
    from sync.contract.receipt import Receipt


@pytest.fixture
def ledger(store: Store) -> Ledger:
    return Ledger(store)


def take(ledger: Ledger, *group: Inbound) -> tuple[Receipt, ...]:
    return ledger.commit(group).receipts


def receipt_of(ledger: Ledger, message: Inbound) -> Receipt:
    (receipt,) = take(ledger, message)
    return receipt


def test_batch_is_stored_to_the_byte_and_settled(ledger: Ledger, twin: Twin, folder: Path) -> None:
    odd = b'{ "kind":"x" , "value": 36.0,\t"record":"' + str(uuid.uuid4()).encode() + b'" }'
    twin.write(new_line(), odd)
    receipt = receipt_of(ledger, twin.batch(1, 2))
    assert (receipt.through, receipt.last, receipt.missing) == (2, 2, ())
    assert receipt.head_hash == twin.value(2).hex()
    assert (receipt.unit, receipt.epoch, receipt.lane) == (twin.unit, twin.epoch, "clinical")
    expected = {
        (twin.unit, record_id(line), hashlib.sha256(line).hexdigest())
        for line in twin.lanes["clinical"]
    }
    assert stored(folder) == expected
    assert [line for _, _, line in report.lines(folder)] == twin.lanes["clinical"]


def test_repeated_batch_changes_nothing_and_is_answered_again(
    ledger: Ledger, twin: Twin, store: Store
) -> None:
    twin.write(new_line(), new_line(), new_line())
    first = receipt_of(ledger, twin.batch(1, 3))
    before = rows(store)
    again = receipt_of(ledger, twin.batch(1, 3))
    part = receipt_of(ledger, twin.batch(2, 3))
    assert rows(store) == before
    assert again.through == part.through == first.through == 3
    assert first.serial < again.serial < part.serial


def test_overlapping_batches_settle_each_seq_once(ledger: Ledger, twin: Twin, folder: Path) -> None:
    twin.write(*(new_line() for _ in range(6)))
    take(ledger, twin.batch(1, 4))
    assert receipt_of(ledger, twin.batch(3, 6)).through == 6
    assert len(stored(folder)) == 6


def test_batches_out_of_order_settle_once_the_gap_is_closed(ledger: Ledger, twin: Twin) -> None:
    twin.write(*(new_line() for _ in range(9)))
    ahead = receipt_of(ledger, twin.batch(7, 9))
    assert (ahead.through, ahead.last, ahead.missing) == (0, 9, ((1, 6),))
    assert ahead.head_hash == GENESIS.hex()
    more = receipt_of(ledger, twin.batch(1, 2))
    assert (more.through, more.last, more.missing) == (2, 9, ((3, 6),))
    assert more.head_hash == twin.value(2).hex()
    assert receipt_of(ledger, twin.batch(3, 6)).through == 9


def test_lanes_and_epochs_do_not_mix(ledger: Ledger, twin: Twin) -> None:
    twin.write(new_line(), new_line())
    twin.write(new_line(), lane="urgent")
    other = Twin(key=twin.key, lanes={"clinical": [new_line()]})
    found = take(ledger, twin.batch(1, 2), twin.batch(1, 1, "urgent"), other.batch(1, 1))
    throughs = {(each.epoch, each.lane): each.through for each in found}
    assert throughs == {
        (twin.epoch, "clinical"): 2,
        (twin.epoch, "urgent"): 1,
        (other.epoch, "clinical"): 1,
    }


def test_batch_with_another_record_under_a_known_seq_is_refused_as_a_whole(
    ledger: Ledger, twin: Twin, store: Store, folder: Path
) -> None:
    twin.write(new_line(), new_line(), new_line())
    take(ledger, twin.batch(1, 3))
    before = rows(store)
    forked = Twin(epoch=twin.epoch, key=twin.key)
    forked.write(twin.lanes["clinical"][0], new_line(), new_line(), new_line())
    receipt = receipt_of(ledger, forked.batch(1, 4))
    assert rows(store) == before
    assert refusals(folder) == {"conflict": 1}
    assert [(r.seq, r.last, r.code) for r in receipt.refused] == [(1, 4, "conflict")]
    assert receipt.through == 3
    assert receipt.head_hash == twin.value(3).hex()


@pytest.mark.parametrize("side", ["before", "after"])
def test_batch_that_does_not_chain_to_its_neighbour_is_refused(
    side: str, ledger: Ledger, twin: Twin, store: Store, folder: Path
) -> None:
    """C-9.4: what contradicts the chain is refused as a stretch."""
    twin.write(*(new_line() for _ in range(4)))
    known, torn = ((1, 2), (3, 4)) if side == "before" else ((3, 4), (1, 2))
    take(ledger, twin.batch(*known))
    before = rows(store)
    forked = Twin(epoch=twin.epoch, key=twin.key)
    forked.write(*(new_line() for _ in range(4)))
    receipt = receipt_of(ledger, forked.batch(*torn))
    assert rows(store) == before
    assert refusals(folder) == {"chain": 1}
    assert [(r.seq, r.last, r.code) for r in receipt.refused] == [(*torn, "chain")]
    assert receipt_of(ledger, twin.batch(*torn)).through == 4


def test_first_record_of_a_lane_follows_on_the_genesis(
    ledger: Ledger, twin: Twin, folder: Path
) -> None:
    batch = gather(twin.unit, twin.epoch, "clinical", 1, b"\x01" * 32, [new_line()])
    assert take(ledger, twin.sealed(batch)) == ()
    assert refusals(folder) == {"chain": 1}


def test_unreadable_record_is_refused_alone(ledger: Ledger, twin: Twin, folder: Path) -> None:
    """C-9.5: a refused record settles, and blocks nothing behind it."""
    known, plain = str(uuid.uuid4()), '"kind":"x"'
    bad = (
        b"not json at all",
        b"[1,2]",
        f'{{"record":"{known}"}}'.encode(),
        f"{{{plain}}}".encode(),
        f'{{"record":"{known.upper()}X",{plain}}}'.encode(),
        f'{{"record":"{known}",{plain},"blobs":[{{"sha256":"00","size":1}}]}}'.encode(),
        f'{{"record":"{known}",{plain},"blobs":{{}}}}'.encode(),
        b"\xff\xfe{",
        b"[" * 5000,
    )
    twin.write(new_line(), *bad, new_line())
    receipt = receipt_of(ledger, twin.batch(1, len(bad) + 2))
    assert receipt.through == len(bad) + 2
    assert receipt.head_hash == twin.value(len(bad) + 2).hex()
    assert [(r.seq, r.code, r.last) for r in receipt.refused] == [
        (seq, "unreadable", None) for seq in range(2, len(bad) + 2)
    ]
    assert len(stored(folder)) == 2
    assert all(known not in r.reason for r in receipt.refused)


def test_unknown_fields_of_a_record_are_let_through(
    ledger: Ledger, twin: Twin, folder: Path
) -> None:
    twin.write(new_line(future={"deep": [1, None]}, lost=7))
    assert receipt_of(ledger, twin.batch(1, 1)).refused == ()
    assert len(stored(folder)) == 1


def test_same_record_under_another_seq_is_settled_and_stored_once(
    ledger: Ledger, twin: Twin, folder: Path
) -> None:
    line = new_line()
    twin.write(line, new_line(), line)
    twin.write(line, lane="urgent")
    found = take(ledger, twin.batch(1, 3), twin.batch(1, 1, "urgent"))
    assert [(each.through, each.refused) for each in found] == [(3, ()), (1, ())]
    assert len(stored(folder)) == 2


def test_same_record_id_with_other_bytes_is_refused_alone(
    ledger: Ledger, twin: Twin, folder: Path
) -> None:
    """C-9.3: a conflict, and the first is kept."""
    one = str(uuid.uuid4())
    first = new_line(record=one)
    twin.write(first, new_line(record=one, value=2), new_line())
    receipt = receipt_of(ledger, twin.batch(1, 3))
    assert receipt.through == 3
    assert [(r.seq, r.code, r.last) for r in receipt.refused] == [(2, "conflict", None)]
    assert (twin.unit, one, hashlib.sha256(first).hexdigest()) in stored(folder)


def test_same_reading_told_again_in_another_context_is_settled_and_the_first_kept(
    ledger: Ledger, twin: Twin, folder: Path
) -> None:
    """A cuff sends its memory again to a unit that was restored: same id, same raw hash."""
    one, raw = str(uuid.uuid4()), {"sha256": "ab" * 32, "size": 19}
    first = new_line(record=one, raw=raw, context={"wall": "2026-11-22T09:00:00Z"})
    again = new_line(record=one, raw=raw, context={"wall": "2026-11-23T09:00:00Z"})
    other = new_line(record=one, raw={"sha256": "cd" * 32, "size": 19})
    twin.write(first, again, other)
    receipt = receipt_of(ledger, twin.batch(1, 3))
    assert receipt.through == 3
    assert [(r.seq, r.code) for r in receipt.refused] == [(3, "conflict")]
    assert stored(folder) == {(twin.unit, one, hashlib.sha256(first).hexdigest())}


def test_same_record_id_of_two_units_does_not_collide(
    ledger: Ledger, twin: Twin, store: Store, folder: Path
) -> None:
    other = Twin(unit="azilal-04")
    with store.transaction():
        store.enrol(other.unit, other.key.public_key().public_bytes_raw())
    one = str(uuid.uuid4())
    twin.write(new_line(record=one, value=1))
    other.write(new_line(record=one, value=2))
    found = take(ledger, twin.batch(1, 1), other.batch(1, 1))
    assert [each.refused for each in found] == [(), ()]
    assert {unit for unit, _, _ in stored(folder)} == {twin.unit, other.unit}


def test_lost_record_settles_its_seq(ledger: Ledger, twin: Twin, folder: Path) -> None:
    twin.write(new_line(), new_line(), new_line())
    take(ledger, twin.batch(1, 1), twin.batch(3, 3))
    twin.write(lost_line("clinical", 2, twin.value(2)), lane="background")
    found = take(ledger, twin.batch(1, 1, "background"))
    by_lane = {each.lane: each for each in found}
    assert by_lane["clinical"].through == 3
    assert by_lane["clinical"].head_hash == twin.value(3).hex()
    assert by_lane["background"].through == 1
    lanes = {each.lane: each for each in report.status(folder).units[0].lanes}
    assert (lanes["clinical"].taken, lanes["clinical"].lost) == (2, 1)


def closing_line(epoch: str, through: int, *lost: tuple[int, int]) -> bytes:
    return agent_line("epoch-closed", epoch=epoch, lane="clinical", through=through, lost=lost)


def test_closed_epoch_counts_what_never_comes_and_takes_what_does(
    ledger: Ledger, twin: Twin, folder: Path
) -> None:
    """C-4.8, C-9.12: in several records, and whatever comes first."""
    twin.write(*(new_line() for _ in range(6)))
    old = twin.epoch
    take(ledger, twin.batch(1, 2))
    new = Twin(key=twin.key)
    new.write(closing_line(old, 6, (2, 3)), closing_line(old, 6, (5, 6)), lane="background")
    take(ledger, new.batch(1, 1, "background"), new.batch(2, 2, "background"))
    assert (closed_lane(folder, old).lost, closed_lane(folder, old).through) == (3, 2)
    late = take(ledger, twin.batch(3, 3))
    assert [each.through for each in late] == [3]
    assert closed_lane(folder, old).lost == 2
    take(ledger, new.batch(1, 1, "background"))
    assert closed_lane(folder, old).lost == 2


def closed_lane(folder: Path, epoch: str) -> report.LaneReport:
    (unit,) = report.status(folder).units
    (lane,) = (each for each in unit.lanes if each.epoch == epoch)
    assert lane.closed
    return lane


def test_closing_that_can_not_be_is_refused_alone(ledger: Ledger, twin: Twin) -> None:
    """C-9.12."""
    other = str(uuid.uuid4())
    twin.write(
        closing_line(twin.epoch, 3),
        closing_line("x", 3),
        closing_line(other, 3, (2, 4)),
        closing_line(other, 3, (3, 3), (1, 1)),
        new_line("epoch-closed"),
        agent_line("blob-lost", sha256="ab", reason="x"),
        new_line(),
    )
    (found,) = take(ledger, twin.batch(1, 7))
    assert found.through == 7
    codes = [each.code for each in found.refused]
    assert codes == ["conflict", *["unreadable"] * 5]


def test_lost_record_at_the_head_is_chained_to_by_what_follows(
    ledger: Ledger, twin: Twin, folder: Path
) -> None:
    twin.write(new_line(), new_line())
    twin.write(lost_line("clinical", 1, twin.value(1)), lane="background")
    take(ledger, twin.batch(1, 1, "background"))
    assert receipt_of(ledger, twin.batch(2, 2)).through == 2
    forked = Twin(key=twin.key, lanes={"clinical": [new_line(), new_line()]})
    forked.write(lost_line("clinical", 1, b"\x05" * 32), lane="background")
    take(ledger, forked.batch(1, 1, "background"))
    take(ledger, forked.batch(2, 2))
    assert refusals(folder) == {"chain": 1}


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
@pytest.mark.parametrize("line", [new_line(), b"unreadable"], ids=["sound", "unreadable"])
def test_record_that_turns_up_after_all_counts_whatever_comes_first(
    order: tuple[int, int], line: bytes, ledger: Ledger, twin: Twin, folder: Path
) -> None:
    twin.write(line)
    twin.write(lost_line("clinical", 1, twin.value(1)), lane="background")
    messages = (twin.batch(1, 1), twin.batch(1, 1, "background"))
    for number in order:
        take(ledger, messages[number])
    (lane,) = (each for each in report.status(folder).units[0].lanes if each.lane == "clinical")
    assert (lane.through, lane.lost, lane.taken + lane.refused) == (1, 0, 1)


def test_lost_record_that_contradicts_the_log_is_refused_alone(ledger: Ledger, twin: Twin) -> None:
    twin.write(new_line(), new_line(), new_line())
    take(ledger, twin.batch(1, 1), twin.batch(3, 3))
    twin.write(
        lost_line("clinical", 1, b"\x07" * 32),
        lost_line("clinical", 2, b"\x07" * 32),
        lost_line("nowhere", 2, b"\x07" * 32),
        lost_line("background", 4, b"\x07" * 32),
        new_line("lost"),
        lane="background",
    )
    found = take(ledger, twin.batch(1, 5, "background"))
    by_lane = {each.lane: each for each in found}
    assert [(r.seq, r.code) for r in by_lane["background"].refused] == [
        (1, "conflict"),
        (2, "conflict"),
        (3, "unreadable"),
        (4, "conflict"),
        (5, "unreadable"),
    ]
    assert by_lane["background"].through == 5
    hello = receipt_of(ledger, twin.hello())
    assert (hello.through, hello.missing) == (1, ((2, 2),))


def test_record_of_another_origin_is_refused_alone(ledger: Ledger, twin: Twin) -> None:
    twin.write(
        new_line(context={"origin": "simulated"}),
        new_line(context={"origin": "clinical"}),
        new_line(),
    )
    receipt = receipt_of(ledger, twin.batch(1, 3))
    assert [(r.seq, r.code) for r in receipt.refused] == [(1, "origin")]


def test_signed_batch_of_the_key_before_is_refused_after_a_new_enrolment(
    ledger: Ledger, twin: Twin, store: Store
) -> None:
    twin.write(new_line())
    before = twin.batch(1, 1)
    twin.key = Ed25519PrivateKey.generate()
    with store.transaction():
        store.enrol(twin.unit, twin.key.public_key().public_bytes_raw())
    assert dict(ledger.commit([before]).refused) == {"key": 1}
    assert receipt_of(ledger, twin.batch(1, 1)).through == 1


def test_sealed_plain_batches_are_taken_as_well(ledger: Ledger, twin: Twin) -> None:
    twin.write(new_line())
    batch = twin.stretch(1, 1)
    head = batch.header
    body = b"".join((msg + b"\n") for msg in (_header(head), *batch.lines))
    frame = seal(Magic.BATCH, body, twin.key, Codec.PLAIN)
    assert receipt_of(ledger, twin.message("up/log/clinical", frame)).through == 1


def _header(header: object) -> bytes:
    import msgspec  # noqa: PLC0415 - the one test that builds a frame by hand

    return msgspec.json.encode(header)
