"""The radio, through bleak's own API, against virtual devices on a virtual ether."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING

import pytest
from bleak import BleakClient, BleakScanner

from drivers.card import build
from drivers.errors import Unavailable
from drivers.lab.gatt_peripheral import CUFF, THERMOMETER, Ending, Identity, Model
from drivers.links.callers import Callers, Patience, Seen
from drivers.links.gatt import Bound
from drivers.thermometer import simulator as thermometer
from tests.contract.sinks import MemorySink
from tests.drivers.ble_room import (
    BRIEF,
    CUFF_ADDRESS,
    FRAMES,
    OTHER_ADDRESS,
    PATIENCE,
    START,
    Room,
    cuff,
    furnished_room,
    holds,
    others,
    until,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from drivers.base import RawFrame

pytestmark = pytest.mark.simulated_time
DEGREES = list(islice(thermometer.frames(seed=1, start=START), 5))
BEURER = bytes.fromhex("566A0047000000EA07080B121F00003F000000")


@pytest.fixture
async def room() -> AsyncIterator[Room]:
    async with furnished_room() as room:
        yield room


async def test_twenty_measurements_are_read_none_lost_none_doubled(room: Room) -> None:
    device, sink = await room.device(), MemorySink()

    def is_read(count: int) -> bool:
        return len(sink.recorded) >= count and not device.stored

    async with room.reading({CUFF_ADDRESS: cuff(sink)}):
        for count, frame in enumerate(FRAMES, start=1):
            await device.measure(frame)
            await until(partial(is_read, count))
    assert [reading.raw for reading in sink.recorded] == FRAMES
    assert [frame.raw for frame in sink.kept] == FRAMES == device.confirmed
    assert sink.settled == list(range(len(FRAMES)))
    assert device.visits == len(FRAMES)


async def test_whole_memory_of_a_cuff_is_read_in_one_visit(room: Room) -> None:
    device, sink = await room.device(), MemorySink()
    device.stored.extend(FRAMES)
    async with room.reading({CUFF_ADDRESS: cuff(sink)}):
        await device.advertise()
        await until(lambda: len(sink.recorded) == len(FRAMES))
        await until(lambda: sink.reports[-1:] == [("waiting", "")])
    assert [reading.raw for reading in sink.recorded] == FRAMES == device.confirmed
    assert device.visits == 1
    assert [state for state, _ in sink.reports] == ["waiting", "connected", "waiting"]


async def test_both_kinds_of_device_are_read_by_one_radio(room: Room) -> None:
    one, other = await room.device(), await room.device(THERMOMETER, OTHER_ADDRESS)
    pressures, degrees = MemorySink(), MemorySink()
    warm = Bound(build("thermometer", {}), degrees, f"ble:{OTHER_ADDRESS}")
    async with room.reading({CUFF_ADDRESS: cuff(pressures), OTHER_ADDRESS: warm}):
        one.stored.extend(FRAMES[1:5])
        other.stored.extend(DEGREES[1:])
        await one.measure(FRAMES[0])
        await other.measure(DEGREES[0])
        await until(lambda: len(pressures.recorded) == len(degrees.recorded) == 5)
    assert {reading.kind for reading in pressures.recorded} == {"blood-pressure"}
    assert {reading.kind for reading in degrees.recorded} == {"body-temperature"}


async def test_name_on_the_air_chooses_the_quirks(room: Room) -> None:
    device, sink = await room.device(replace(CUFF, name="Beurer BM85")), MemorySink()
    async with room.reading({CUFF_ADDRESS: cuff(sink)}):
        await device.measure(BEURER)
        await until(lambda: bool(sink.recorded))
    assert sink.recorded[0].user_slot == 0


async def test_link_lost_in_the_middle_loses_no_measurement(room: Room) -> None:
    device = await room.device()

    class Sink(MemorySink):
        async def keep(self, frame: RawFrame) -> int:
            number = await super().keep(frame)
            if number in (3, 9):
                room.ether.lose(room.controllers[CUFF_ADDRESS])
            return number

    sink = Sink()
    device.stored.extend(FRAMES)
    async with room.reading({CUFF_ADDRESS: cuff(sink)}):
        await device.advertise()
        await until(lambda: not device.stored and len(sink.recorded) == len(sink.kept))
    assert device.visits == 3
    # A confirmation that is lost with the link makes the cuff say that one measurement again.
    assert list(dict.fromkeys(frame.raw for frame in sink.kept)) == FRAMES
    assert len(sink.kept) <= len(FRAMES) + 2
    assert [reading.raw for reading in sink.recorded] == [frame.raw for frame in sink.kept]


async def test_device_that_has_hung_up_is_disconnected_by_us_all_the_same(room: Room) -> None:
    device, sink = await room.device(), MemorySink()
    async with room.reading({CUFF_ADDRESS: cuff(sink)}):
        for count in (1, 2, 3):
            await device.measure(FRAMES[count])
            await until(partial(holds, room.hung_up, count))
    assert device.visits == 3
    assert len(sink.recorded) == 3


async def test_device_that_never_hangs_up_leaves_nothing_behind(room: Room) -> None:
    device, sink = await room.device(replace(CUFF, ending=Ending.STAY)), MemorySink()
    before = others()
    async with room.reading({CUFF_ADDRESS: cuff(sink, BRIEF)}):
        for count in (1, 2, 3):
            await device.measure(FRAMES[count])
            await until(partial(holds, room.hung_up, count))
            await until(lambda: not room.unit.le_connections)
            assert not room.controllers[CUFF_ADDRESS].le_connections
    assert len(sink.recorded) == 3
    assert others() <= before


async def test_neighbours_cuff_is_seen_and_never_connected_to(room: Room) -> None:
    ours, sink = await room.device(), MemorySink()
    neighbours = await room.device(replace(CUFF, name="Next door"), OTHER_ADDRESS)
    neighbours.stored.extend(FRAMES)
    async with room.reading({CUFF_ADDRESS: cuff(sink)}) as radio:
        await neighbours.advertise()
        for count, frame in enumerate(FRAMES[:5], start=1):
            await ours.measure(frame)
            await until(partial(holds, sink.recorded, count))
        await until(lambda: bool(radio.seen))
        assert radio.seen == (Seen(OTHER_ADDRESS, "Next door", ("1810",)),)
    assert neighbours.visits == 0
    assert list(neighbours.stored) == FRAMES
    assert [reading.raw for reading in sink.recorded] == FRAMES[:5]


async def test_device_bound_while_the_radio_runs_is_read(room: Room) -> None:
    device, sink, bound = await room.device(), MemorySink(), dict[str, Bound]()
    async with room.reading(bound) as radio:
        await device.measure(FRAMES[0])
        await until(lambda: bool(radio.seen))
        bound[CUFF_ADDRESS] = cuff(sink)
        await until(lambda: bool(sink.recorded))
        assert radio.seen == ()


async def test_device_bound_while_the_radio_scans_is_said_once_to_be_waited_for(
    room: Room,
) -> None:
    sink, again, bound = MemorySink(), MemorySink(), dict[str, Bound]()
    async with room.reading(bound):
        await asyncio.sleep(1)
        for each in (sink, again):
            bound[CUFF_ADDRESS] = cuff(each)
            await asyncio.sleep(2 * PATIENCE.look)
            assert each.reports == [("waiting", "")]


async def test_what_the_first_visit_of_a_device_bound_just_now_said_is_left_to_stand(
    room: Room,
) -> None:
    async def refuse(_: object) -> None:
        raise Unavailable("cuff", "it went away")

    device, sink, bound = await room.device(), MemorySink(), dict[str, Bound]()
    room.on_connect = refuse
    async with room.reading(bound):
        await device.measure(FRAMES[0])
        await asyncio.sleep(1)
        bound[CUFF_ADDRESS] = cuff(sink)
        await until(lambda: sink.state == "unavailable")
        await asyncio.sleep(PATIENCE.look / 2)
    assert [state for state, _ in sink.reports[:2]] == ["waiting", "unavailable"]
    assert {state for state, _ in sink.reports[1:]} == {"unavailable"}


async def test_device_of_other_services_is_not_shown(room: Room) -> None:
    headphones = await room.device(Model("Headphones", "110A", "2A37"), OTHER_ADDRESS)
    ours = await room.device()
    async with room.reading({}) as radio:
        await headphones.advertise()
        await ours.advertise()
        await until(lambda: bool(radio.seen))
        assert [seen.address for seen in radio.seen] == [CUFF_ADDRESS]


async def test_device_with_nothing_to_say_is_left_to_rest(room: Room) -> None:
    talker, mute = await room.device(), await room.device(address=OTHER_ADDRESS)
    sink, nothing = MemorySink(), MemorySink()
    bound = {CUFF_ADDRESS: cuff(sink), OTHER_ADDRESS: cuff(nothing)}
    radio = room.radio(Patience(connect=10, rest=60, longest_rest=3600))
    run = asyncio.create_task(radio.run(bound))
    await mute.advertise()
    await until(lambda: len(room.hung_up) == 1)
    await mute.advertise()
    await talker.measure(FRAMES[0])
    await until(lambda: bool(sink.recorded))
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert mute.visits == 1


async def test_rest_grows_with_every_failure_and_ends_with_success() -> None:
    callers = Callers(Patience(rest=100, longest_rest=700), ())
    now = asyncio.get_running_loop().time()
    rests = []
    for failed in (True, True, True, True, False, True):
        callers.let_rest(CUFF_ADDRESS, failed=failed)
        rests.append(round(callers._rests[CUFF_ADDRESS].until - now, -2))
    assert rests == [200, 400, 700, 700, 100, 200]


async def test_identity_of_a_device_can_be_read_through_bleak(room: Room) -> None:
    identity = Identity("Qafila", "Cuff 1", "0042", "1.2")
    device = await room.device(replace(CUFF, identity=identity))
    await device.advertise()
    scanner, client = room.backends
    found = await BleakScanner.find_device_by_address(CUFF_ADDRESS, backend=scanner)
    assert found is not None
    async with BleakClient(found, backend=client) as peer:
        said = [bytes(await peer.read_gatt_char(each)) for each in ("2a29", "2a24", "2a25", "2a26")]
    assert said == [b"Qafila", b"Cuff 1", b"0042", b"1.2"]
