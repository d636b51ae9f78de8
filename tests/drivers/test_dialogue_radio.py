"""Dialogues through bleak's own API, with virtual devices on a virtual ether."""

from __future__ import annotations

from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING

import pytest

from drivers.dialogue import Dialogue, Limits
from drivers.lab.dialogue_peripheral import DialoguePeripheral, Station
from drivers.links.gatt import Bound
from drivers.microlife import codec as microlife
from drivers.microlife import simulator as cuff
from drivers.microlife.driver import PROFILE as MICROLIFE
from drivers.pc60 import codec as pc60
from drivers.pc60 import simulator as clip
from drivers.pc60.driver import PROFILE as PC60
from drivers.taidoc import simulator as taidoc
from drivers.taidoc.driver import PROFILE as TAIDOC
from drivers.taidoc.talk import SWITCH_OFF
from drivers.yonker import simulator as yonker
from drivers.yonker.driver import PROFILE as YONKER
from tests.contract.sinks import MemorySink
from tests.drivers.ble_room import Room, furnished_room, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from drivers.talk import Profile

pytestmark = pytest.mark.simulated_time
ADDRESS = "F1:00:00:00:00:07"
NOON = datetime(2026, 6, 15, 12)  # noqa: DTZ001 - devices know no time zone
MEMORY = [cuff.record((100 + number, 70, 60), NOON.replace(minute=number)) for number in range(30)]
LIMITS = Limits(answer=15.0, idle=0.3, visit=60.0, drain=30.0)


@pytest.fixture
async def room() -> AsyncIterator[Room]:
    async with furnished_room() as room:
        yield room


async def visited(
    room: Room, station: Station, profile: Profile, enough: Callable[[MemorySink], bool]
) -> tuple[DialoguePeripheral, MemorySink]:
    hci = room.ether.controller(ADDRESS)
    device = DialoguePeripheral(hci, hci, station, ADDRESS)
    await device.power_on()
    sink = MemorySink()
    driver = Dialogue("device", profile, lambda: NOON, LIMITS)
    async with room.reading({ADDRESS: Bound(driver, sink, f"ble:{ADDRESS}")}):
        await until(lambda: enough(sink))
        await until(lambda: ("waiting", "") in sink.reports[1:])
    await device.power_off()
    return device, sink


def cuff_answers(content: bytes) -> list[bytes]:
    if content == microlife.GIVE_ALL:
        return cuff.pieces(cuff.answer(MEMORY))
    return [] if content == microlife.DISCONNECT else [cuff.acknowledgement()]


async def test_memory_of_a_cuff_is_read_in_pieces_and_the_cuff_let_go(room: Room) -> None:
    station = Station(
        "Microlife", "FFF0", "FFF1", "FFF2", answers=cuff_answers, hang_up=microlife.DISCONNECT
    )
    device, sink = await visited(
        room, station, MICROLIFE, lambda sink: len(sink.recorded) >= len(MEMORY)
    )
    words = [microlife.set_time(NOON), microlife.GIVE_ALL, microlife.DISCONNECT]
    assert device.written[: len(words)] == words
    first = [reading.raw for reading in sink.recorded[: len(MEMORY)]]
    assert first == [record[:8] for record in MEMORY]
    assert sink.quarantined == []


async def test_device_is_asked_and_answers_on_one_characteristic(room: Room) -> None:
    answers = {0x25: taidoc.time(NOON), 0x26: taidoc.pressure(128, 84, 66)}
    station = Station(
        "TD3128",
        "00001523-1212-efde-1523-785feabcd123",
        TAIDOC.listen,
        TAIDOC.speak,
        answers=lambda content: [answers[content[1]]] if content[1] in answers else [],
        hang_up=SWITCH_OFF,
    )
    device, sink = await visited(room, station, TAIDOC, lambda sink: bool(sink.recorded))
    assert [content[1] for content in device.written[:3]] == [0x25, 0x26, 0x50]
    assert sink.recorded[0].raw == b"".join(answers.values())
    assert sink.recorded[0].device_time == NOON


async def test_cuff_that_tells_at_once_is_heard_and_kept_first(room: Room) -> None:
    frames = tuple(islice(yonker.frames(seed=1, start=NOON), 3))
    service = "cdeacd80-5235-4c07-8846-93a37ee6b86d"
    station = Station("YK", service, YONKER.listen, opening=frames)
    device, sink = await visited(room, station, YONKER, lambda sink: len(sink.recorded) >= 3)
    assert tuple(reading.raw for reading in sink.recorded[:3]) == frames
    assert tuple(frame.raw for frame in sink.kept[:3]) == frames
    assert device.written == []


async def test_stay_of_a_finger_in_a_clip_gives_one_reading(room: Room) -> None:
    frames = tuple(clip.stay(seed=1, seconds=8))
    service = "6e400001-b5a3-f393-e0a9-e50e24dcca9e"
    station = Station("PC-60", service, PC60.listen, opening=frames, pause=0.01)
    device, sink = await visited(room, station, PC60, lambda sink: bool(sink.recorded))
    last = [frame for frame in frames if frame.startswith(pc60.VALUES)][-3]
    assert sink.recorded[0].raw == last
    assert len(sink.recorded) <= device.visits
    assert sink.kept == []
