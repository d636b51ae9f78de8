"""Promises 1 to 4 together: after any faults everything acknowledged is at the centre, once.

The agent is the real one, in a process of its own. T01, T09, T19 to T22, T28, T29, T31, T43,
T47, T49.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import sqlite3
from dataclasses import replace

import pytest

from tests.brokers import MISSING, find_mosquitto
from tests.faults.book import STICK, Said, found, judge
from tests.faults.disk import why_not
from tests.faults.oracle import FAULTS, OF_THE_DISK, Fault, run
from tests.faults.scribe import Code
from tests.faults.world import World

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


async def fed(world: World, count: int) -> None:
    """Wait until so many readings are acknowledged."""
    async with asyncio.timeout(60):
        while world.book.acknowledged < count:  # noqa: ASYNC110 - a process fills it
            await asyncio.sleep(0.05)
