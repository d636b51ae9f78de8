"""Promises 1 to 4 together: after any faults everything acknowledged is at the centre, once.

The agent is the real one, in a process of its own. T01, T09, T19 to T22, T28, T29, T31, T43,
T47, T49.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import json
import sqlite3
import uuid
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.brokers import MISSING, find_mosquitto
from tests.faults.book import STICK, Said, found, judge, unexcused
from tests.faults.disk import why_not
from tests.faults.oracle import FAULTS, OF_THE_DISK, Fault, run
from tests.faults.scribe import Code
from tests.faults.world import World

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    pytest.mark.skipif(find_mosquitto() is None, reason=MISSING),
    pytest.mark.timeout(400),
]


def test_every_fault_there_is_can_be_done() -> None:
    assert set(FAULTS) == set(Fault)


async def test_everything_acknowledged_is_at_the_centre_once() -> None:
    """T01, T19, T47, T49."""
    campaign = await run(seed=4)
    assert campaign.verdict.clean, campaign
    assert campaign.verdict.acknowledged > 100
    kinds = {each for each in Fault if not why_not() or each not in OF_THE_DISK}
    assert campaign.faults == dict.fromkeys(kinds, 1)


@pytest.mark.skipif(why_not() != "", reason=why_not())
async def test_oracle_catches_a_store_that_is_not_durable() -> None:
    async with World(3, Code.SYNCHRONOUS_NORMAL) as world:
        await fed(world, 20)
        await world.relay.cut()
        await fed(world, 40)
        await FAULTS[Fault.POWER_CUT](world)
        verdict = await world.calm(patience=3.0)
    assert verdict.lost > 0


async def test_oracle_catches_a_unit_that_salvages_nothing() -> None:
    async with World(5, Code.SALVAGES_NOTHING) as world:
        while not (world.state / "damaged").exists():
            await world.relay.cut()
            await fed(world, world.book.acknowledged + 20)
            await FAULTS[Fault.BIT_FLIPPED_ON_DISK](world)
        verdict = await world.calm(patience=3.0)
    assert verdict.lost > 0


@pytest.mark.parametrize(
    ("missing", "told", "flips", "lost"),
    [
        *((0, 0, 0, 0), (0, 0, 1, 0), (1, 1, 1, 0), (0, 3, 1, 0)),
        *((1, 0, 0, 1), (1, 0, 1, 1), (2, 1, 1, 1), (1, 1, 0, 1)),
        *((0, 8, 1, 0), (0, 9, 1, 1), (9, 9, 1, 1), (9, 9, 2, 0), (12, 9, 1, 4)),
    ],
)
def test_a_flipped_bit_excuses_what_was_told_and_lay_on_its_page(
    missing: int, told: int, flips: int, lost: int
) -> None:
    assert unexcused(missing, told, flips) == lost


async def test_oracle_notices_what_is_lost_changed_doubled_or_strange() -> None:
    async with World(0) as world:
        await fed(world, 20)
        async with asyncio.timeout(60):
            while not world.book.photographed:  # noqa: ASYNC110 - a process fills it
                await asyncio.sleep(0.05)
        assert (await world.calm()).clean, world.said()
        book, folder = world.book, world.centre.folder
        name = next(iter(book.records))
        assert not judge(book, folder, unsettled=1).clean
        told = copy.deepcopy(book)
        told.ask("oracle-never", book.entered[name])
        assert judge(told, folder).clean
        told.hear("oracle-never", {"ok": True, "record": "none"})
        assert judge(told, folder).lost == 1
        changed = copy.deepcopy(book)
        changed.entered[name] = replace(book.entered[name], values=("99.9",))
        assert (judge(changed, folder).lost, judge(changed, folder).duplicates) == (1, 1)
        strange = copy.deepcopy(book)
        strange.said[name] = Said.REFUSED
        assert judge(strange, folder).duplicates == 1
        unasked = copy.deepcopy(book)
        unasked.photographed.pop()
        assert judge(unasked, folder).duplicates == 1 - book.unanswered
        unseen = copy.deepcopy(book)
        unseen.photographed.add("none")
        assert judge(unseen, folder).lost == 1
        elsewhere = copy.deepcopy(book)
        elsewhere.on_stick.clear()
        imported = sum(each.by == STICK for each in found(folder))
        assert judge(elsewhere, folder).duplicates == imported
        with contextlib.closing(sqlite3.connect(folder / "central.db")) as centre, centre:
            centre.execute(
                "INSERT INTO records SELECT unit, 'another id', kind, line, line_hash, received_at "
                "FROM records WHERE kind = ? LIMIT 1",
                (book.entered[name].kind,),
            )
        assert judge(book, folder).duplicates == 1
        say_twice(folder, book.records[name])
        flipped = replace(book, flips=1)
        assert (judge(book, folder).duplicates, judge(flipped, folder).duplicates) == (2, 2)
        tell_lost(folder)
        assert [
            (each.told, each.lost) for each in (judge(book, folder), judge(flipped, folder))
        ] == [(1, 1), (1, 0)]


def say_twice(folder: Path, record: str) -> None:
    """Put a record into its lane of a centre's log once more."""
    with contextlib.closing(sqlite3.connect(folder / "central.db")) as centre, centre:
        columns = [row[1] for row in centre.execute("PRAGMA table_info(entries)")]
        others = ", ".join(f"{each} + 1000000" if each == "seq" else each for each in columns)
        centre.execute(
            f"INSERT INTO entries SELECT {others} FROM entries WHERE record_id = ?", [record]
        )


def tell_lost(folder: Path) -> None:
    """Let a unit have told a centre that one record of its clinical lane will never come."""
    with contextlib.closing(sqlite3.connect(folder / "central.db")) as centre, centre:
        (unit, epoch) = centre.execute(
            "SELECT unit, epoch FROM lanes WHERE lane = 'clinical'"
        ).fetchone()
        closed = {"epoch": epoch, "lane": "clinical", "through": 2_000_000}
        line = {
            "record": str(uuid.uuid4()),
            "kind": "epoch-closed",
            "context": {"method": "agent"},
            "epoch-closed": closed | {"lost": [[1_500_000, 1_500_000]]},
        }
        centre.execute(
            "INSERT INTO records SELECT unit, ?, 'epoch-closed', ?, line_hash, received_at "
            "FROM records WHERE unit = ? LIMIT 1",
            (line["record"], json.dumps(line).encode(), unit),
        )


async def fed(world: World, count: int) -> None:
    """Wait until so many readings are acknowledged."""
    async with asyncio.timeout(60):
        while world.book.acknowledged < count:  # noqa: ASYNC110 - a process fills it
            await asyncio.sleep(0.05)
