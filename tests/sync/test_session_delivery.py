"""Sessions against the real ledger of a centre: what is sent, when, and what becomes of it."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

import msgspec
import pytest

from central import backup
from sync import packing
from sync import session as sessions
from sync.contract.chunk import decode_chunk
from sync.session import Session
from sync.uplink_state import UplinkState

from .ledger_link import LedgerLink, connected, ending, session
from .rig import UNIT, Centre, Place, conserved, until

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from sync.contract.receipt import Receipt

PICTURE = random.Random(5).randbytes(100_000)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "ANSWER_TIMEOUT", 0.3)
    monkeypatch.setattr(sessions, "GREETING_TIMEOUT", 0.6)


async def test_nothing_but_the_hello_is_said_until_every_lane_is_answered(
    here: Place, link: LedgerLink
) -> None:
    """C-6.1, C-6.4: two of three answers open no gate."""
    await here.unit.record(PICTURE)
    held: list[Receipt] = []

    def hold(receipt: Receipt) -> Sequence[Receipt]:
        if receipt.lane == "background" and not held:
            held.append(receipt)
            return []
        return [receipt]

    link.on_the_way_down = hold
    async with session(here.unit, link) as state:
        await until(lambda: len(link.receipts) == 2, "two answers")
        for _ in range(20):
            await here.unit.outbox.alarm("a-turn-of-the-store", "lets everybody run")
        assert link.channels() == ["up/hello"]
        assert state.state == "greeting"
        link.tell(held)
        await here.unit.settled()
    conserved(here.unit, here.centre, PICTURE)


async def test_answers_that_outrun_the_puback_of_the_hello_count(
    here: Place, link: LedgerLink
) -> None:
    """C-6.4: the broker may acknowledge the hello after the centre has answered it."""
    await here.unit.record()
    link.acknowledging.clear()
    async with session(here.unit, link) as state:
        await until(lambda: len(link.receipts) == 3, "all answers")
        await until(lambda: state.last_receipt is not None, "a receipt taken")
        for _ in range(10):
            await here.unit.outbox.alarm("a-turn-of-the-store", "lets everybody run")
        link.acknowledging.set()
        await here.unit.settled()


async def test_a_hello_that_nobody_answers_ends_the_session_with_these_words(
    here: Place, link: LedgerLink, impatient: None
) -> None:
    del impatient
    await here.unit.record(PICTURE)
    link.on_the_way_up = lambda *_: []
    assert await ending(here.unit, link) == "the broker answers, but no centre behind it does"
    assert link.channels() == ["up/hello"]


async def test_answers_to_another_hello_open_no_gate(
    here: Place, link: LedgerLink, impatient: None
) -> None:
    """C-8.10, C-6.4: a late answer from an earlier connection proves no living centre."""
    del impatient
    other = "00000000-0000-4000-8000-000000000000"
    link.on_the_way_down = lambda receipt: [msgspec.structs.replace(receipt, answers=other)]
    assert "no centre" in await ending(here.unit, link)


async def test_a_lost_receipt_costs_a_repetition_of_the_same_bytes(
    here: Place, link: LedgerLink, impatient: None
) -> None:
    """C-8.9, C-9.2: not answered in time: sent again as it was, and held once."""
    del impatient
    await here.unit.record_many(20)
    lose = [True, True]
    link.on_the_way_down = lambda receipt: (
        [receipt] if receipt.answers or not (lose and lose.pop()) else []
    )
    async with session(here.unit, link):
        await here.unit.settled()
    sent = [payload for channel, payload in link.sent if channel == "up/log/clinical"]
    assert len(sent) == 3
    assert {(each.header.first, each.header.last) for each in link.batches()} == {(1, 20)}
    conserved(here.unit, here.centre)


async def test_a_lost_chunk_is_sent_again_though_nothing_else_happens(
    here: Place, link: LedgerLink, impatient: None
) -> None:
    """No reading, no receipt comes to wake anybody: the time-out alone must."""
    del impatient
    await here.unit.record(PICTURE)
    lost: list[bytes] = []

    def lose_the_last(channel: str, payload: bytes) -> Sequence[tuple[str, bytes]]:
        if channel == "up/chunk" and not lost:
            chunk = decode_chunk(payload)
            if chunk.offset + len(chunk.content) == chunk.size:
                lost.append(payload)
                return []
        return [(channel, payload)]

    link.on_the_way_up = lose_the_last
    async with session(here.unit, link):
        await here.unit.settled()
    assert link.sent[-1] == ("up/chunk", lost[0])
    conserved(here.unit, here.centre, PICTURE)


async def test_a_blob_that_arrived_wrong_is_asked_for_and_sent_again(
    here: Place, link: LedgerLink
) -> None:
    """C-9.7, C-7.6: `have` is empty again; the unit sends it all, without waiting for a timer."""
    await here.unit.record(PICTURE)
    spoilt: list[bytes] = []

    def spoil(channel: str, payload: bytes) -> Sequence[tuple[str, bytes]]:
        if channel != "up/chunk" or spoilt:
            return [(channel, payload)]
        spoilt.append(payload)
        return [(channel, payload[:-1] + bytes([payload[-1] ^ 1]))]

    link.on_the_way_up = spoil
    async with session(here.unit, link):
        await here.unit.settled()
    assert sum(len(each.content) for each in link.chunks()) >= 2 * len(PICTURE)
    conserved(here.unit, here.centre, PICTURE)


async def test_one_receipt_answers_every_parcel_that_it_speaks_of(
    here: Place, link: LedgerLink
) -> None:
    """Two batches under way, the first receipt lost: the second one settles and frees both."""
    await here.unit.record_many(20)
    lost: list[Receipt] = []

    def lose_the_first(receipt: Receipt) -> Sequence[Receipt]:
        if receipt.answers or lost:
            return [receipt]
        lost.append(receipt)
        return []

    link.on_the_way_down = lose_the_first
    async with session(here.unit, link):
        await until(lambda: lost, "the loss")
        await here.unit.record()
        await here.unit.settled()
    spans = [(each.header.first, each.header.last) for each in link.batches()]
    assert len(spans) == len(set(spans)) == 2
    assert lost[0].through == spans[0][1]


async def test_links_lost_in_mid_drain_repeat_what_was_under_way_and_no_more(
    here: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """T27: many connections, each cut after a few receipts, cost little more than one."""
    monkeypatch.setattr(packing, "BATCH_BUDGET", 12_000)
    await here.unit.record_many(400)
    sent = cuts = largest = 0
    with here.centre.ledger() as ledger:
        while here.unit.pending():
            link = LedgerLink(here.unit, here.centre, ledger)
            async with session(here.unit, link):
                await until(lambda: len(link.batches()) > 6 or not here.unit.pending(), "some")  # noqa: B023
                link.cut()
            sizes = [len(each.lines) for each in link.batches()]
            sent, largest = sent + sum(sizes), max(largest, *sizes, 0)
            cuts += 1
    assert cuts > 4
    assert sent <= 400 + cuts * 3 * largest
    conserved(here.unit, here.centre)


async def test_everything_told_again_long_afterwards_changes_nothing_at_either_end(
    here: Place, link: LedgerLink
) -> None:
    """T28, C-8.12, C-9.2: no window of time, no order: the same records, once."""
    await here.unit.record(PICTURE)
    await here.unit.record_many(60)
    async with session(here.unit, link):
        await here.unit.settled()
        for channel, payload in random.Random(28).sample(link.sent, len(link.sent)) * 2:
            link.tell(link.commit(channel, payload))
        await here.unit.record()
        await until(lambda: len(here.centre.records()) == 62, "the next reading")
        await here.unit.settled()
    conserved(here.unit, here.centre, PICTURE)
    assert here.unit.alarms() == {}


async def test_a_centre_that_stops_answering_is_left_after_three_deliveries(
    here: Place, link: LedgerLink, impatient: None
) -> None:
    del impatient
    await here.unit.record()
    link.on_the_way_up = lambda channel, payload: (
        [(channel, payload)] if channel == "up/hello" else []
    )
    assert await ending(here.unit, link) == "the centre has stopped answering"
    # The other carrier may have taken it up at the very moment the first gave up.
    assert len(link.batches()) in {sessions.UNANSWERED_MAX, sessions.UNANSWERED_MAX + 1}
    assert here.unit.pending() == 1


async def test_a_new_central_epoch_makes_the_unit_send_everything_again(
    here: Place, link: LedgerLink, tmp_path: Path
) -> None:
    """C-8.6, C-8.8: records and blobs; what the old centre held proves nothing of the new one."""
    await here.unit.record(PICTURE)
    await here.unit.record_many(5)
    async with session(here.unit, link):
        await here.unit.settled()
    heir = Centre(tmp_path / "heir")
    heir.key = here.centre.key
    heir.enrol(UNIT, here.unit.key)
    with heir.ledger() as ledger:
        later = LedgerLink(here.unit, heir, ledger)
        async with session(here.unit, later) as state:
            await connected(state)
            await until(lambda: len(heir.records()) == 6, "all records")
            await here.unit.settled()
    conserved(here.unit, heir, PICTURE)
    assert here.unit.alarms()["centre-replay"] >= 1


async def test_a_centre_whose_hash_falls_back_within_an_epoch_gets_the_rest_again(
    here: Place, link: LedgerLink
) -> None:
    """C-8.6: `through` falling, told by a later receipt of the same central epoch."""
    await here.unit.record_many(10)
    async with session(here.unit, link):
        await here.unit.settled()
        newest = link.receipts[-1]
        value = here.unit.store.reader.execute(
            "SELECT hash FROM record WHERE lane = 'clinical' AND seq = 4"
        ).fetchone()[0]
        fallen = msgspec.structs.replace(
            newest, serial=newest.serial + 1, through=4, last=4, head_hash=bytes(value).hex()
        )
        count = len(link.batches())
        link.on_the_way_down = lambda receipt: [
            msgspec.structs.replace(receipt, serial=receipt.serial + 5)
        ]
        link.put(link.seal(fallen))
        await until(lambda: len(link.batches()) > count, "the replay")
        await here.unit.settled()
    again = link.batches()[count]
    assert (again.header.first, again.header.last) == (5, 10)
    conserved(here.unit, here.centre)


async def test_a_centre_restored_behind_a_standing_link_is_asked_and_then_believed(
    here: Place, link: LedgerLink
) -> None:
    """C-8.3, C-8.6: its receipts prove nothing until one answers a hello; that is said at once."""
    copy = here.centre.folder / "copy.db"
    await here.unit.record_many(3)
    async with session(here.unit, link) as state:
        await here.unit.settled()
        backup.back_up(here.centre.folder, copy)
        await here.unit.record_many(2)
        await here.unit.settled()
        link.close_ledger()
        copy.replace(here.centre.folder / "central.db")
        backup.declare_restored(here.centre.folder)
        with here.centre.ledger() as restored:
            link.open_ledger(restored)
            await here.unit.record()
            await until(lambda: len(here.centre.records()) == 6, "what the copy lacked")
            await here.unit.settled()
        assert state.ignored["unproven-central-epoch"] >= 1
    assert link.channels().count("up/hello") == 2
    conserved(here.unit, here.centre)


async def test_a_session_that_is_cancelled_as_an_answer_comes_ends_all_the_same(
    here: Place, link: LedgerLink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The carrier has its answer and its cancellation in one turn of the loop."""
    await here.unit.record()
    work = Session(link, here.unit.outbox, here.unit.key, here.unit.centre_key, UplinkState())
    answer = Session._answer

    def answer_and_cancel(self: Session, receipt: Receipt) -> None:
        waiting = bool(self._waiting)
        answer(self, receipt)
        if waiting:
            task.cancel()

    monkeypatch.setattr(Session, "_answer", answer_and_cancel)
    task = asyncio.create_task(work.run())
    done, _ = await asyncio.wait({task}, timeout=10)
    assert done
    assert task.cancelled()
