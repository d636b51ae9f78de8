"""Retention: only what the centre has confirmed leaves, in the right order, and nothing else.

Promise 4; T07, T10, T11, T15 and T18; contract C-7.7, C-8.6 and C-8.8.
"""

from __future__ import annotations

import asyncio
import os
import time
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

import pytest

from agent.store import age, purge, settling
from agent.store.figures import figures
from agent.store.listing import pending, readings
from drivers.base import RawFrame
from tests.model.unit import LANE

from .old_unit import DAYS, OldUnit
from .truck import CUFF, STAMP, capture, power_cut

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from agent.clock import Quality
    from agent.store.connection import Connection

T = TypeVar("T")


@pytest.fixture
def unit(tmp_path: Path) -> Iterator[OldUnit]:
    made = OldUnit(tmp_path / "state")
    yield made
    made.close()


async def seen(unit: OldUnit, *names: bytes, patient: bool = True) -> None:
    """A visit: a consultation is opened, readings are taken, it is closed."""
    if patient:
        await unit.consult()
    await unit.record(*names)
    if patient:
        await unit.dismiss()


async def test_confirmed_records_leave_after_the_days_that_are_set_and_not_before(
    unit: OldUnit,
) -> None:
    await seen(unit, b"one", b"two", b"three")
    await unit.settle()
    await unit.grow_old(DAYS - 1)
    assert unit.seqs() == [1, 2, 3]
    await unit.grow_old(2)
    assert unit.seqs() == []


async def test_what_leaves_leaves_its_hash_and_its_id_and_nothing_of_a_person(
    unit: OldUnit,
) -> None:
    await unit.consult(patient="patient-7")
    await unit.record(b"one", b"two", repeatable=True, blobs=(b"picture",))
    await unit.dismiss()
    hashes = dict(unit.store.reader.execute("SELECT seq, hash FROM record").fetchall())
    await unit.settle()
    await unit.grow_old()
    for table in ("record", "raw", "blob", "chunk", "record_blob", "blob_settled", "tray"):
        assert unit.count(table) == 0, table
    assert unit.count("consultation") == 0
    assert unit.count("identity") == 2
    for seq, own in hashes.items():
        assert settling.hash_at(unit.store.reader, unit.store.epoch, LANE, seq) == own
    again = await unit.store.record(capture(b"one", repeatable=True))
    assert not again.new, "a cuff that sends its memory again changes nothing, whatever has left"


async def test_ninety_days_offline_purge_nothing_that_is_unconfirmed(unit: OldUnit) -> None:
    """T15: with a power cut each day, and retention after 7 days."""
    await seen(unit, b"confirmed")
    await unit.settle()
    for day in range(90):
        await unit.record(b"offline %d" % day)
        unit.boot(timedelta(hours=16))
        unit.live(1 / 3)
        await unit.sweep()
    assert unit.seqs() == list(range(2, 92))
    assert figures(unit.store.reader, "centre")["pending"] == 90
    await unit.assign_all()
    await unit.settle()
    assert len(unit.centre.ledger.entries[unit.store.epoch, LANE]) == 91
    await unit.grow_old()
    assert unit.seqs() == []


@pytest.mark.parametrize("wrong", [timedelta(days=365), timedelta(days=-21_000)])
@pytest.mark.parametrize("clock", ["synchronised", "unsynchronised", "implausible"])
async def test_wrong_clock_ages_nothing_early(
    unit: OldUnit, wrong: timedelta, clock: Quality
) -> None:
    """T15."""
    await seen(unit, b"one")
    await unit.settle()
    await unit.sweep()
    unit.boot(wrong, clock)
    await unit.sweep()
    unit.live(0.5)
    unit.boot(-wrong, clock)
    await unit.grow_old(DAYS - 3)
    assert unit.seqs() == [1]


async def test_nights_count_while_the_clock_is_believed_and_not_while_it_is_not(
    unit: OldUnit,
) -> None:
    await seen(unit, b"one")
    await unit.settle()
    await unit.sweep()
    for _ in range(DAYS + 1):
        unit.boot(timedelta(hours=16), "unsynchronised")
        unit.live(1 / 3)
        await unit.sweep()
    assert unit.seqs() == [1]
    for _ in range(DAYS + 1):
        unit.boot(timedelta(hours=16))
        unit.live(1 / 3)
        await unit.sweep()
    assert unit.seqs() == []


async def test_winter_in_a_shed_counts_for_a_day(unit: OldUnit) -> None:
    await seen(unit, b"one")
    await unit.settle()
    await unit.sweep()
    unit.boot(timedelta(days=120))
    await unit.sweep()
    assert unit.store.reader.execute("SELECT seconds <= 90000 FROM age").fetchone() == (1,)
    assert unit.seqs() == [1]


async def test_unsettled_records_stay_and_hold_what_is_above_them(unit: OldUnit) -> None:
    await seen(unit, *(b"%d" % n for n in range(6)))
    await unit.settle()
    hole = "UPDATE watermark SET through = 2, ahead = '[[4,6]]' WHERE lane = 'clinical'"
    await unit.store.writer.write(lambda c: c.execute(hole))
    await unit.grow_old()
    assert unit.seqs() == [3, 4, 5, 6]


async def test_refused_unassigned_and_open_things_never_leave(unit: OldUnit) -> None:
    await seen(unit, b"tray", patient=False)
    await unit.consult()
    await unit.store.record(capture(b"poison", name="POISON"))
    await unit.record(b"well")
    await unit.dismiss()
    await unit.consult()
    await unit.record(b"still open")
    await unit.settle()
    await unit.grow_old(30)
    assert unit.seqs() == [1, 2, 4]
    assert unit.count("consultation") == 2, "of a refused record, and the one that is open"
    await unit.dismiss()
    await unit.assign_all()
    await unit.grow_old(30)
    assert unit.seqs() == [2]


async def test_record_stays_until_the_centre_holds_its_picture(unit: OldUnit) -> None:
    """C-8.8."""
    await unit.consult()
    await unit.record(b"with a picture", blobs=(os.urandom(200_000),))
    await unit.record(b"without")
    await unit.dismiss()
    await unit.settle(chunks=False)
    await unit.grow_old(30)
    assert unit.seqs() == [1]
    assert unit.count("chunk") == 4
    await unit.settle()
    await unit.sweep()
    assert unit.seqs() == []
    assert unit.count("chunk") == 0


async def test_picture_stays_while_any_record_names_it(unit: OldUnit) -> None:
    picture = os.urandom(150_000)
    await unit.consult()
    await unit.record(b"old", blobs=(picture,))
    await unit.dismiss()
    await unit.settle()
    await unit.grow_old(DAYS - 1)
    await unit.record(b"new", blobs=(picture,))
    await unit.grow_old(2)
    assert unit.seqs() == [2]
    assert unit.store.reader.execute("SELECT refs FROM blob").fetchall() == [(1,)]
    assert unit.count("chunk") == 3


async def test_picture_that_is_taken_again_while_it_is_being_deleted_is_whole(
    unit: OldUnit,
) -> None:
    picture = os.urandom(200_000)
    await unit.consult()
    await unit.record(b"old", blobs=(picture,))
    await unit.dismiss()
    await unit.settle()
    await unit.grow_old(DAYS - 1)
    once = iter((True, True))
    writer = unit.store.writer
    lane = purge.Lane("centre", unit.store.epoch, LANE)
    then = int((DAYS - 1) * age.DAY)
    await writer.write(lambda c: purge.records(c, lane, then, 0, lambda: True))
    await writer.write(lambda c: purge.content(c, lambda: next(once, False)))
    assert unit.count("chunk") == 2, "half of it is gone"
    await unit.record(b"new", blobs=(picture,))
    await unit.grow_old(2)
    rows = unit.store.reader.execute("SELECT content FROM chunk ORDER BY offset").fetchall()
    assert b"".join(bytes(row[0]) for row in rows) == picture


async def test_equal_raw_bytes_stay_while_any_record_has_them(unit: OldUnit) -> None:
    await seen(unit, b"same")
    await unit.settle()
    await unit.grow_old(DAYS - 1)
    await unit.record(b"same")
    await unit.grow_old(2)
    assert unit.seqs() == [2]
    assert unit.store.reader.execute("SELECT content FROM raw").fetchall() == [(b"same",)]


@pytest.mark.parametrize(("backed_up", "left"), [(None, []), (0, [1, 2, 3]), (2, [3]), (3, [])])
async def test_records_wait_for_the_centres_backup_where_it_names_one(
    unit: OldUnit, backed_up: int | None, left: list[int]
) -> None:
    """C-7.7: null says that nothing is known, and then time alone governs."""
    await seen(unit, b"one", b"two", b"three")
    await unit.settle()
    await unit.note_backup(backed_up)
    await unit.grow_old()
    assert unit.seqs() == left


async def test_another_central_epoch_begins_the_days_anew(unit: OldUnit) -> None:
    """C-8.8: confirmed is what the present centre has confirmed."""
    await seen(unit, b"one", b"two")
    await unit.settle()
    await unit.grow_old(DAYS - 2)
    unit.centre.back_up()
    unit.centre.restore()
    await unit.grow_old(DAYS)
    assert unit.seqs() == [], "the one that was confirmed first has not been heard of since"


async def test_new_central_epoch_confirms_lane_by_lane(unit: OldUnit) -> None:
    """A receipt of the new centre for another lane says nothing of this one."""
    await seen(unit, b"one", b"two")
    await unit.settle()
    await unit.grow_old(DAYS - 1)
    unit.centre.restore()
    hello = await unit.outbox.hello("0" * 8 + "-0000-4000-8000-" + "0" * 12)
    for receipt in unit.centre.greet(hello):
        if receipt.lane != LANE:
            await unit.outbox.settle(receipt)
    await unit.grow_old(30)
    assert unit.seqs() == [1, 2]
    await unit.settle()
    assert len(unit.centre.ledger.entries[unit.store.epoch, LANE]) == 2
    await unit.grow_old(DAYS - 1)
    assert unit.seqs() == [1, 2], "the days are counted anew"
    await unit.grow_old(3)
    assert unit.seqs() == []


async def test_what_fell_out_of_the_centre_and_came_back_is_young_again(unit: OldUnit) -> None:
    await seen(unit, *(b"%d" % n for n in range(4)))
    await unit.settle()
    await unit.grow_old(DAYS - 2)
    fall = "UPDATE watermark SET through = 1 WHERE lane = 'clinical'"
    await unit.store.writer.write(lambda c: c.execute(fall))
    await unit.grow_old(1)
    await unit.settle()
    await unit.grow_old(2)
    assert unit.seqs() == [2, 3, 4]
    await unit.grow_old(DAYS)
    assert unit.seqs() == []


async def test_decoded_frames_leave_with_their_record_and_others_stay(unit: OldUnit) -> None:
    kept = [await unit.store.keep(RawFrame("x", b"%d" % n), CUFF, "1", STAMP) for n in range(4)]
    await unit.consult()
    await unit.record(b"0", frames=(kept[0],))
    await unit.dismiss()
    await unit.settle()
    await unit.record(b"1", frames=(kept[1],))
    await unit.store.conclude(kept[2], "no-reading", "nothing")
    await unit.store.conclude(kept[3], "quarantined", "strange")
    undecoded = await unit.store.keep(RawFrame("x", b"4"), CUFF, "1", STAMP)
    await unit.grow_old(30)
    rows = unit.store.reader.execute("SELECT frame FROM frame ORDER BY frame").fetchall()
    assert [row[0] for row in rows] == [kept[1], kept[3], undecoded]


async def test_figures_tell_what_is_here_and_what_has_left(unit: OldUnit) -> None:
    await seen(unit, b"one", b"two")
    await unit.settle()
    await unit.grow_old()
    await unit.record(b"three")
    found = figures(unit.store.reader, "centre")
    told = {key: found[key] for key in ("saved", "confirmed", "pending", "aged_out")}
    assert told == {"saved": 3, "confirmed": 2, "pending": 1, "aged_out": 2}
    assert [each["seq"] for each in readings(unit.store.reader, "centre", 9)] == [3]
    assert [each["seq"] for each in pending(unit.store.reader, "centre", 9)] == [3]


async def test_full_disk_lets_go_at_once_of_what_is_in_a_backup_and_of_nothing_else(
    unit: OldUnit,
) -> None:
    """T10: settled records make room at once, and only as many as it takes."""
    await unit.consult()
    for n in range(300):
        await unit.record(b"%d" % n)
    await unit.dismiss()
    await unit.settle()
    unit.scarce = 1_000_000
    assert (await unit.retention().make_room()).records == 0, "no backup is known"
    await unit.note_backup(280)
    pages = (unit.folder / "qafila.db").stat().st_size
    done = await unit.retention().make_room()
    assert (done.records, unit.seqs()) == (280, list(range(281, 301)))
    assert (unit.folder / "qafila.db").stat().st_size < pages
    await unit.note_backup(290)
    unit.scarce = 0
    assert (await unit.retention().make_room()).records == 0


async def test_crash_between_any_two_slices_is_safe_and_the_next_start_goes_on(
    unit: OldUnit, tmp_path: Path
) -> None:
    """T07: whatever slice was the last, the next start finds the rest and ends the work."""
    await unit.consult()
    for n in range(12):
        await unit.record(b"%d" % n, blobs=(os.urandom(90_000),) if n % 4 == 0 else ())
    await unit.dismiss()
    await unit.settle()
    await unit.record(b"waiting", blobs=(b"w" * 100_000,))
    await unit.grow_old(DAYS - 1)
    unit.live(1)
    cuts, ended = 0, False
    while not ended:
        cuts += 1
        ended = await _sweep_until(unit, cuts)
        unit.store = power_cut(unit.store, tmp_path / f"life-{cuts}")
        unit.outbox = unit.store.outbox("centre")
        unit.folder = unit.store.folder
        assert unit.store.reader.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert unit.store.reader.execute("PRAGMA foreign_key_check").fetchall() == []
        assert unit.seqs()[-1] == 13
    assert cuts > 5
    await unit.sweep()
    assert unit.seqs() == [13]
    assert (unit.count("blob"), unit.count("chunk"), unit.count("raw")) == (1, 2, 1)


async def _sweep_until(unit: OldUnit, slices: int) -> bool:
    """Sweep; the power goes after so many slices. Whether the sweep ended before."""
    retention, left = unit.retention(), slices
    plain = retention._slice

    async def counted(job: Callable[..., T]) -> T:
        nonlocal left
        if left == 0:
            raise ConnectionAbortedError
        left -= 1
        return await plain(job)

    retention._slice = counted  # type: ignore[method-assign] # to cut before a slice
    try:
        await retention.sweep()
    except ConnectionAbortedError:
        return False
    return True


async def test_saves_go_first_and_a_slice_ends_when_somebody_waits(unit: OldUnit) -> None:
    """T18 by counts: whoever comes in the midst of a slice waits for the row under way, no more."""
    await unit.consult()
    for n in range(200):
        await unit.record(b"%d" % n)
    await unit.dismiss()
    await unit.settle()
    await unit.grow_old(DAYS - 1)
    unit.live(1)
    interrupter = Interrupter(unit)
    await unit.sweep()
    await asyncio.gather(*interrupter.saving)
    saves = len(interrupter.saving)
    assert saves > 5
    assert unit.seqs() == list(range(201, 201 + saves))
    assert interrupter.order == ["deleted", "asked", "saving"] * saves + ["deleted"] * (200 - saves)


class Interrupter:
    """Asks for a save in the midst of a slice, at each of the first rows that it deletes.

    `order` is as the writer sees it: rows deleted, saves asked for, saves begun.
    """

    def __init__(self, unit: OldUnit, times: int = 20) -> None:
        self.order: list[str] = []
        self.saving: list[asyncio.Task[None]] = []
        self._unit, self._left = unit, times
        self._loop = asyncio.get_running_loop()
        unit.store.writer.submit(lambda c: c.set_trace_callback(self._note)).result(10)

    def _note(self, statement: str) -> None:
        if statement.startswith("INSERT INTO record ("):
            self.order.append("saving")
        if not statement.startswith("DELETE FROM record WHERE"):
            return
        self.order.append("deleted")
        if self._left:
            self._left -= 1
            self.order.append("asked")
            self._loop.call_soon_threadsafe(self._ask)
            deadline = time.monotonic() + 10
            while not self._unit.store.writer.awaited and time.monotonic() < deadline:
                time.sleep(0.001)

    def _ask(self) -> None:
        name = b"new %d" % len(self.saving)
        self.saving.append(asyncio.ensure_future(self._unit.record(name)))


async def test_slice_looks_at_no_more_rows_than_its_bound(unit: OldUnit) -> None:
    """T18."""
    await seen(unit, *(b"tray %d" % n for n in range(purge.ROWS * 2)), patient=False)
    await unit.settle()
    await unit.grow_old(DAYS)
    lane = purge.Lane("centre", unit.store.epoch, LANE)

    def first(connection: Connection) -> purge.Progress:
        return purge.records(connection, lane, DAYS * age.DAY, 0, lambda: True)

    assert await unit.store.writer.write(first) == purge.Progress(purge.ROWS, 0, ended=False)


async def test_replay_below_what_is_kept_begins_at_the_oldest_and_brings_what_is_left_below(
    unit: OldUnit,
) -> None:
    """C-8.6: what has left is not offered; what never leaves is."""
    await seen(unit, *(b"%d" % n for n in range(3)))
    await seen(unit, b"tray", patient=False)
    await seen(unit, *(b"%d" % n for n in range(4, 8)))
    await unit.settle()
    await unit.grow_old()
    await seen(unit, b"young", b"younger")
    await unit.settle()
    assert unit.seqs() == [4, 9, 10]
    unit.centre.restore()  # of the day it was born
    hello = await unit.outbox.hello("0" * 8 + "-0000-4000-8000-" + "0" * 12)
    offer = next(each for each in hello.lanes if each.lane == LANE)
    assert (offer.oldest, offer.first, offer.last) == (9, 11, 10)
    await unit.settle()
    assert sorted(unit.centre.ledger.entries[unit.store.epoch, LANE]) == [4, 9, 10]
    found = figures(unit.store.reader, "centre")
    assert (found["pending"], found["confirmed"], found["aged_out"]) == (0, 3, 7)
