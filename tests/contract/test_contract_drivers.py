"""Drivers: links lost and runs cancelled at every await, stores that are silent or full."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from drivers import DRIVERS
from drivers.card import build, card
from drivers.dialogue import Dialogue
from drivers.errors import ProtocolFault, Unavailable
from drivers.settled import ENOUGH
from tests.contract.cases import cases, held_to
from tests.contract.links import Harness, Visit
from tests.contract.sinks import DiskFull, MemorySink

if TYPE_CHECKING:
    from drivers.base import Driver
    from tests.contract.cases import Case

FRAMES = 4
MOST_TURNS = 300


def hurried(driver: str) -> Driver:
    """The driver as it is, but for the seconds in which a real radio settles."""
    built = build(driver, {})
    if isinstance(built, Dialogue):
        built.profile = replace(built.profile, settle=0.0)
    return built


def chosen(driver: str) -> list[Case]:
    """A few captures to play: those that say something first, then one that is rejected."""
    main = card(driver).sources[0]
    known = sorted(
        (case for case in cases(driver) if case.source == main),
        key=lambda case: case.expected["outcome"] != "reading",
    )
    return [*known[: FRAMES - 1], known[-1]]


def frames(driver: str) -> list[bytes]:
    found = [case.raw for case in chosen(driver)]
    # What is repeated every second is a reading only once it has settled.
    repeated = card(driver).sources[0] in card(driver).streams
    return found[:1] * ENOUGH + found if repeated else found


def harness(driver: str, sink: MemorySink | None = None) -> Harness:
    made = Harness(card(driver).transport, frames(driver), sink)
    made.link.name = chosen(driver)[0].device or made.link.name
    made.link.questions = frozenset(map(bytes.fromhex, card(driver).commands))
    return made


async def turns_of(driver: str) -> range:
    """The turns of an undisturbed visit: the first, the last, and all between."""
    visit = await harness(driver).visit(hurried(driver))
    assert 0 < visit.turns <= MOST_TURNS
    return range(1, visit.turns + 1)


def require_clean(visit: Visit) -> None:
    assert visit.link.closed, "the driver did not let the device go"
    assert not visit.left_running, "the driver left tasks running"
    for number, recorded in enumerate(visit.link.acknowledged, start=1):
        assert recorded >= number, "acknowledged before it was recorded"


def require_kept(driver: str, visit: Visit) -> None:
    """What was heard is on disk, where a link gives whole frames that no device sends again."""
    arrives_whole = driver not in held_to("byte-by-byte")
    if driver in held_to("kept-before-decoded") and arrives_whole:
        assert [frame.raw for frame in visit.sink.kept] == visit.link.delivered


@pytest.mark.parametrize("driver", DRIVERS)
async def test_readings_of_an_undisturbed_visit_are_recorded(driver: str) -> None:
    visit = await harness(driver).visit(hurried(driver))
    assert isinstance(visit.error, Unavailable | ProtocolFault | None)
    require_clean(visit)
    require_kept(driver, visit)
    assert visit.sink.recorded
    assert {reading.kind for reading in visit.sink.recorded} <= set(card(driver).kinds)
    assert visit.sink.reports == [] or all(state for state, _ in visit.sink.reports)


@pytest.mark.parametrize("driver", held_to("link-lost"))
async def test_link_lost_at_any_await_ends_the_run_and_loses_nothing(driver: str) -> None:
    for turn in await turns_of(driver):
        visit = await harness(driver).visit(hurried(driver), lose_at=turn)
        assert isinstance(visit.error, Unavailable | ProtocolFault | None), f"turn {turn}"
        require_clean(visit)
        require_kept(driver, visit)
        assert visit.sink.unsettled == set()


@pytest.mark.parametrize("driver", held_to("cancellation"))
async def test_cancellation_at_any_await_ends_the_run_and_leaves_nothing(driver: str) -> None:
    # A kept frame may stay unsettled: it is decoded at the next start.
    for turn in await turns_of(driver):
        visit = await harness(driver).visit(hurried(driver), cancel_at=turn)
        assert isinstance(visit.error, asyncio.CancelledError), f"turn {turn}"
        require_clean(visit)
        require_kept(driver, visit)


@pytest.mark.parametrize("driver", DRIVERS)
async def test_full_store_ends_the_run_and_lets_the_device_go(driver: str) -> None:
    acts = set((await harness(driver).visit(hurried(driver))).sink.begun)
    assert "record" in acts
    for act in acts:
        sink = MemorySink(full=frozenset({act}))
        visit = await harness(driver, sink).visit(hurried(driver))
        assert isinstance(visit.error, DiskFull), act
        require_clean(visit)


@pytest.mark.parametrize("driver", held_to("kept-before-decoded"))
async def test_nothing_is_made_of_a_frame_that_is_not_kept_yet(driver: str) -> None:
    sink = MemorySink(silent=frozenset({"keep"}))
    playing = harness(driver, sink)
    run = asyncio.create_task(hurried(driver).run(playing.link, sink))
    await until_begun(sink, "keep")
    await let_run()
    assert set(sink.begun) == {"keep"}
    sink.answering.set()
    await asyncio.wait({run})
    assert "record" in sink.begun


@pytest.mark.parametrize("driver", held_to("kept-before-decoded"))
async def test_readings_settle_the_frames_they_came_from(driver: str) -> None:
    visit = await harness(driver).visit(hurried(driver))
    assert sorted(visit.sink.settled) == list(range(len(visit.sink.kept)))


@pytest.mark.parametrize("driver", held_to("acknowledged-after-record"))
async def test_sink_that_never_returns_leaves_the_device_unacknowledged(driver: str) -> None:
    sink = MemorySink(silent=frozenset({"record"}))
    playing = harness(driver, sink)
    instance = hurried(driver)
    run = asyncio.create_task(instance.run(playing.link, sink))
    person = playing.link.attend(instance)
    await until_begun(sink, "record")
    await let_run()
    assert playing.link.acknowledged == []
    run.cancel()
    await asyncio.wait({run})
    assert playing.link.acknowledged == []
    assert playing.link.closed
    if person:
        person.cancel()
        await asyncio.wait({person})


@pytest.mark.parametrize("driver", held_to("acknowledged-after-record"))
async def test_device_is_acknowledged_once_for_each_reading(driver: str) -> None:
    visit = await harness(driver).visit(hurried(driver))
    assert visit.link.acknowledged == list(range(1, len(visit.sink.recorded) + 1))


async def until_begun(sink: MemorySink, act: str) -> None:
    async with asyncio.timeout(60):
        while act not in sink.begun:  # noqa: ASYNC110 - a sink has no event for it
            await asyncio.sleep(0.01)


async def let_run() -> None:
    """Give a driver that is in a hurry the time to do what it must not."""
    for _ in range(20):
        await asyncio.sleep(0.01)
