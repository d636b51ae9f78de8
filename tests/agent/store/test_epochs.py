"""A folder that was restored from a copy, while its original went on: nothing lost or doubled."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING

import msgspec
import pytest

from agent.store import epochs, settling
from agent.store.figures import figures
from agent.store.listing import pending, readings
from sync.contract.batch import chain, gather
from sync.contract.fields import GENESIS
from sync.contract.receipt import Refusal
from sync.lane import Ignored, RestoredCopy, Settled, Why
from sync.plan import Plan
from tests.model.centre import ModelCentre
from tests.model.unit import LANE

from .truck import UNIT, as_it_is, capture, open_store

if TYPE_CHECKING:
    from pathlib import Path

    from agent.store.outbox import StoreOutbox
    from agent.store.store import Store
    from sync.contract.receipt import Receipt


async def drain(outbox: StoreOutbox, centre: ModelCentre) -> None:
    """Say hello, settle the answers, send everything, settle the receipts."""
    for receipt in centre.greet(await outbox.hello(str(uuid.uuid4()))):
        await outbox.settle(receipt)
    plan = Plan()
    while plan.stretch(outbox._views()) is not None:
        parcel = await outbox.next_batch(plan, 2000)
        await outbox.settle(centre.take_batch(parcel.batch))
        plan.arrive(parcel.place)
    while plan.piece(outbox._blobs(), 1000) is not None:
        chunk = await outbox.next_chunk(plan, 1000)
        lane = (outbox._lanes()[0][0].epoch, LANE)
        await outbox.settle(centre.take_chunk(chunk.chunk, lane))
        plan.arrive(chunk.place)


def at_centre(centre: ModelCentre) -> dict[str, bytes]:
    """Every record by its id; the same id always with the same bytes."""
    found: dict[str, bytes] = {}
    for entries in centre.ledger.entries.values():
        for _, _, line in entries.values():
            record = json.loads(line)["record"]
            assert found.setdefault(record, line) == line
    return found


def in_store(store: Store) -> set[str]:
    return {row[0] for row in store.reader.execute("SELECT record_id FROM record")}


async def test_restored_copy_begins_a_new_epoch_and_loses_nothing(tmp_path: Path) -> None:
    centre = ModelCentre(UNIT)
    original = open_store(tmp_path / "a")
    first = original.outbox("centre")
    for n in range(5):
        await original.record(capture(b"before %d" % n, blobs=(b"picture %d" % n,)))
    await drain(first, centre)
    as_it_is(tmp_path / "a", tmp_path / "b")
    for n in range(5):
        await original.record(capture(b"original %d" % n))
    await drain(first, centre)
    everything = in_store(original)
    original.close()

    copy = open_store(tmp_path / "b")
    try:
        outbox = copy.outbox("centre")
        for n in range(3):
            await copy.record(capture(b"copy %d" % n, blobs=(b"later %d" % n,)))
        old = (await outbox.hello(str(uuid.uuid4()))).lanes[0].epoch
        hello = await outbox.hello(str(uuid.uuid4()))
        verdicts = [await outbox.settle(each) for each in centre.greet(hello)]
        assert any(isinstance(each, RestoredCopy) for each in verdicts)
        assert (await outbox.hello(str(uuid.uuid4()))).lanes[0].epoch != old
        await drain(outbox, centre)
        everything |= in_store(copy)
        assert set(at_centre(centre)) == everything
        found = figures(copy.reader, "centre")
        assert (found["saved"], found["confirmed"], found["pending"]) == (8, 8, 0)
        assert [alarm["code"] for alarm in found["alarms"]] == ["restored-copy"]
        assert {each["where"] for each in readings(copy.reader, "centre", 99)} == {"confirmed"}
        assert len(readings(copy.reader, "centre", 99)) == 8
        assert pending(copy.reader, "centre", 99) == []
    finally:
        copy.close()


async def test_long_backlog_is_logged_anew_without_a_savepoint_and_shows_that_it_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else 6,000 records took longer than the watchdog waits, and a million all memory."""
    monkeypatch.setattr(epochs, "_AT_ONCE", 10)
    centre = ModelCentre(UNIT)
    original = open_store(tmp_path / "a")
    as_it_is(tmp_path / "a", tmp_path / "b")
    await original.record(capture(b"original"))
    await drain(original.outbox("centre"), centre)
    original.close()

    copy = open_store(tmp_path / "b")
    try:
        outbox = copy.outbox("centre")
        await copy.record_all([capture(b"copy %d" % n) for n in range(95)])
        said: list[str] = []
        went_on: list[float] = []
        copy.writer._connection.set_trace_callback(said.append)
        monkeypatch.setattr(copy.writer, "go_on", lambda: went_on.append(len(said)))
        verdicts = [
            await outbox.settle(each)
            for each in centre.greet(await outbox.hello(str(uuid.uuid4())))
        ]
        copy.writer._connection.set_trace_callback(None)
        assert RestoredCopy() in verdicts
        moving = [number for number, each in enumerate(said) if "UPDATE record SET" in each]
        assert len(moving) == 95
        assert not any("SAVEPOINT" in each for each in said[moving[0] : moving[-1]])
        begin = max(n for n, each in enumerate(said[: moving[0]]) if each.startswith("BEGIN"))
        assert not any("SAVEPOINT" in each for each in said[begin : moving[0]])
        assert len(went_on) >= 10
        await drain(outbox, centre)
        assert figures(copy.reader, "centre")["pending"] == 0
    finally:
        copy.close()


async def test_receipt_of_a_closed_epoch_is_ignored_silently(tmp_path: Path) -> None:
    centre = ModelCentre(UNIT)
    store = open_store(tmp_path / "a")
    try:
        outbox = store.outbox("centre")
        await store.record(capture(b"one"))
        await drain(outbox, centre)
        lane = (store.epoch, LANE)
        late = centre.receipt(lane)
        await store.writer.write(lambda c: epochs.fork(c, "centre", "test", None))
        assert await outbox.settle(late) == Ignored(Why.CLOSED_EPOCH)
        assert figures(store.reader, "centre")["alarms"] == []
    finally:
        store.close()


async def test_fork_keeps_the_old_chain_as_anchors(tmp_path: Path) -> None:
    store = open_store(tmp_path / "a")
    try:
        for n in range(4):
            await store.record(capture(b"%d" % n))
        before = dict(store.reader.execute("SELECT seq, hash FROM record").fetchall())
        old = store.epoch
        new = await store.writer.write(lambda c: epochs.fork(c, "centre", "test", None))
        for seq, own in before.items():
            assert settling.hash_at(store.reader, old, LANE, seq) == own
        rows = store.reader.execute("SELECT epoch, seq, hash FROM record ORDER BY seq").fetchall()
        assert [(row[0], row[1]) for row in rows] == [(new, seq) for seq in (1, 2, 3, 4)]
        assert {row[1]: row[2] for row in rows} == before, "genesis and lines are the same"
    finally:
        store.close()


async def test_what_another_life_wrote_under_our_seqs_settles_nothing_of_ours(
    tmp_path: Path,
) -> None:
    """C-8.5: an older copy and an older centre meet, and a batch of the newer life comes late."""
    centre = ModelCentre(UNIT)
    original = open_store(tmp_path / "a")
    as_it_is(tmp_path / "a", tmp_path / "b")
    first, plan = original.outbox("centre"), Plan()
    for n in range(3):
        await original.record(capture(b"original %d" % n))
    await first.hello(str(uuid.uuid4()))
    late = (await first.next_batch(plan, 1 << 20)).batch
    original.close()

    copy = open_store(tmp_path / "b")
    try:
        outbox = copy.outbox("centre")
        for receipt in centre.greet(await outbox.hello(str(uuid.uuid4()))):
            await outbox.settle(receipt)
        for n in range(4):
            await copy.record(capture(b"copy %d" % n))
        hashes = chain(GENESIS, late.lines)
        last = gather(UNIT, copy.epoch, LANE, 3, hashes[1], late.lines[2:])
        await outbox.settle(centre.take_batch(last))
        lines = _lines(copy)
        verdict = await outbox.settle(_refusal(centre.receipt((copy.epoch, LANE))))
        assert verdict == RestoredCopy()
        await drain(outbox, centre)
        assert set(_lines(copy)) == set(lines) <= set(at_centre(centre).values())
        found = figures(copy.reader, "centre")
        assert (found["saved"], found["confirmed"], found["pending"]) == (4, 4, 0)
    finally:
        copy.close()


def _refusal(receipt: Receipt) -> Receipt:
    """What a centre says of a batch that does not fit (C-9.4)."""
    stretch = Refusal(seq=1, last=4, code="conflict", reason="Another record.")
    return msgspec.structs.replace(receipt, serial=receipt.serial + 1, refused=(stretch,))


def _lines(store: Store) -> list[bytes]:
    return [row[0] for row in store.reader.execute("SELECT line FROM record ORDER BY seq")]


async def test_record_that_is_not_what_its_hash_says_gets_no_hash_of_its_own(
    tmp_path: Path,
) -> None:
    store = open_store(tmp_path / "a")
    try:
        for n in range(3):
            await store.record(capture(b"%d" % n))
        await store.writer.write(
            lambda c: c.execute("UPDATE record SET line = CAST(line || ' ' AS BLOB) WHERE seq = 2")
        )
        old = store.epoch
        await store.writer.write(lambda c: epochs.fork(c, "centre", "test", None))
        rows = store.reader.execute("SELECT epoch, seq FROM record ORDER BY rowid").fetchall()
        assert [seq for epoch, seq in rows if epoch != old] == [1, 2]
        assert [seq for epoch, seq in rows if epoch == old] == [2]
        alarms = figures(store.reader, "centre")["alarms"]
        assert [each["code"] for each in alarms] == ["record-unsound"]
    finally:
        store.close()


@pytest.mark.parametrize(("same_centre", "pending"), [(True, 1), (False, 2)])
async def test_fork_for_another_centre_sends_what_the_old_one_had_settled_as_well(
    tmp_path: Path, *, same_centre: bool, pending: int
) -> None:
    """C-8.5: no hello offers a closed epoch again, and nothing proves that this centre has it."""
    centre = ModelCentre(UNIT)
    store = open_store(tmp_path / "a")
    try:
        await store.record(capture(b"one"))
        await drain(store.outbox("centre"), centre)
        await store.record(capture(b"two"))
        goes_on_with = centre.epoch if same_centre else str(uuid.uuid4())
        await store.writer.write(lambda c: epochs.fork(c, "centre", "test", goes_on_with))
        found = figures(store.reader, "centre")
        assert (found["pending"], found["saved"], found["confirmed"]) == (pending, 2, 2 - pending)
    finally:
        store.close()


async def test_fork_after_half_a_greeting_sends_the_lanes_that_the_new_centre_has_not_told_of(
    tmp_path: Path,
) -> None:
    """C-8.5: one lane is answered by a restored centre already, the other by none but the old."""
    centre = ModelCentre(UNIT)
    centre.back_up()
    store = open_store(tmp_path / "a")
    try:
        outbox = store.outbox("centre")
        await store.record(capture(b"one"))
        await drain(outbox, centre)
        centre.restore()
        told = {each.lane: each for each in centre.greet(await outbox.hello(str(uuid.uuid4())))}
        assert isinstance(await outbox.settle(told["background"]), Settled)
        beyond = msgspec.structs.replace(told["urgent"], last=7, missing=((1, 7),))
        assert isinstance(await outbox.settle(beyond), RestoredCopy)
        found = figures(store.reader, "centre")
        assert (found["pending"], found["saved"], found["confirmed"]) == (1, 1, 0)
    finally:
        store.close()


async def test_settled_verdict_leaves_the_epoch_alone(tmp_path: Path) -> None:
    centre = ModelCentre(UNIT)
    store = open_store(tmp_path / "a")
    try:
        outbox = store.outbox("centre")
        await store.record(capture(b"one"))
        receipts = centre.greet(await outbox.hello(str(uuid.uuid4())))
        verdicts = [await outbox.settle(each) for each in receipts]
        assert all(isinstance(each, Settled) for each in verdicts)
        assert figures(store.reader, "centre")["alarms"] == []
    finally:
        store.close()
