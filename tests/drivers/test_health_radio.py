"""One visit of each standard health profile, through bleak's own API, on a virtual ether."""

from __future__ import annotations

from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import islice
from typing import TYPE_CHECKING

import pytest

from drivers.base import Identity, Value
from drivers.card import card, decoder
from drivers.companions import decode_current_time, encode_battery, encode_current_time
from drivers.errors import ProtocolFault, Unavailable
from drivers.gatt_session import GattDriver, Limits
from drivers.glucose_meter import simulator as glucose
from drivers.glucose_meter.driver import GlucoseDriver
from drivers.heart_rate import simulator as heart
from drivers.lab.gatt_peripheral import Ending
from drivers.lab.health_peripheral import (
    Apparatus,
    ClockRights,
    DeviceClock,
    HealthPeripheral,
    Memory,
    Record,
    Way,
)
from drivers.links.gatt import Bound
from drivers.medfloat import Special, decode_date_time, encode_date_time
from drivers.pulse_oximeter import simulator as oximeter
from drivers.weight_scale import simulator as scale
from tests.contract.sinks import MemorySink
from tests.drivers.ble_room import CUFF_ADDRESS, FRAMES, START, furnished_room, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from drivers.gatt_link import GattLink
    from tests.drivers.ble_room import Room

NOW = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)
DIS = {"2A29": b"Maker\0", "2A24": b"Model 7", "2A25": b"SN-1", "2A26": b"1.2"}
QUICK = Limits(idle=0.3, visit=30, drain=10, introduction=10)


@pytest.fixture
async def room() -> AsyncIterator[Room]:
    async with furnished_room() as room:
        yield room


@asynccontextmanager
async def device(room: Room, apparatus: Apparatus) -> AsyncIterator[HealthPeripheral]:
    hci = room.ether.controller(CUFF_ADDRESS)
    peripheral = HealthPeripheral(hci, hci, apparatus, CUFF_ADDRESS)
    await peripheral.power_on()
    try:
        yield peripheral
    finally:
        await peripheral.power_off()


def driver(name: str, limits: Limits = QUICK, now: datetime = NOW) -> GattDriver:
    kind = GlucoseDriver if name == "glucose-meter" else GattDriver
    return kind(card(name), decoder(name), limits, lambda: now)


async def visit(
    room: Room, peripheral: HealthPeripheral, reader: GattDriver, sink: MemorySink
) -> None:
    """One visit, from the first call of the device to its farewell."""
    done = sink.reports.count(("waiting", ""))
    bound = {CUFF_ADDRESS: Bound(reader, sink, f"ble:{CUFF_ADDRESS}")}
    async with room.reading(bound):
        await peripheral.advertise()
        await until(lambda: sink.reports.count(("waiting", "")) >= done + 2)


async def test_spot_check_is_read_with_identity_battery_and_clock(room: Room) -> None:
    frame = next(oximeter.frames(seed=1, start=START))
    behind = encode_current_time(NOW.replace(tzinfo=None) - timedelta(minutes=10))
    apparatus = Apparatus(
        "Oxi",
        "1822",
        {"2A5E": Way.INDICATE, "2A5F": Way.NOTIFY},
        identity=DIS,
        battery=encode_battery(15),
        clock=DeviceClock("2A2B", behind),
        ending=Ending.STAY,
    )
    sink = MemorySink()
    async with device(room, apparatus) as peripheral:
        peripheral.says = [("2A5E", frame)]
        await visit(room, peripheral, driver("pulse-oximeter"), sink)
    (reading,) = sink.recorded
    assert (reading.kind, reading.raw) == ("oximetry", frame)
    assert reading.clock_offset_ms == -600_000
    assert sink.identities == [Identity("Maker", "Model 7", "SN-1", "1.2")]
    assert sink.notes["battery-low"]
    assert sink.notes["unreadable-identity"] == ""
    said = peripheral.diary
    assert said[:2] == ["listen 2A5E", "listen 2A5F"]
    assert said[2].startswith("write 2A2B ")
    written = bytes.fromhex(said[2].removeprefix("write 2A2B "))
    assert decode_current_time(written) == NOW.replace(tzinfo=None)


async def test_finger_in_an_oximeter_becomes_one_reading_that_had_settled(room: Room) -> None:
    steady = list(islice(oximeter.stream(seed=1), 12))
    out = oximeter.encode_continuous(oximeter.Instant(Special.NAN, Special.NAN, status=0x2000))
    leap = oximeter.encode_continuous(oximeter.Instant(Decimal(60), Decimal(180)))
    apparatus = Apparatus("Oxi", "1822", {"2A5F": Way.NOTIFY})
    sink = MemorySink()
    async with device(room, apparatus) as peripheral:
        peripheral.says = [("2A5F", each) for each in (*steady, leap, out)]
        await visit(room, peripheral, driver("pulse-oximeter"), sink)
    assert [reading.raw for reading in sink.recorded] == [steady[-1]]
    assert [frame.raw for frame in sink.kept] == [steady[-1]]
    assert sink.settled == [0]
    assert len(sink.shown) == len(steady) + 3  # each frame, and that it is over
    assert sink.shown[-1] == ()


async def test_heart_rate_is_shown_each_second_and_stored_once(room: Room) -> None:
    beats = list(islice(heart.frames(seed=1, start=START), 9))
    sink = MemorySink()
    async with device(room, Apparatus("Strap", "180D", {"2A37": Way.NOTIFY})) as peripheral:
        peripheral.says = [("2A37", each) for each in beats]
        await visit(room, peripheral, driver("heart-rate"), sink)
    assert [reading.raw for reading in sink.recorded] == [beats[-1]]
    assert {value.unit for value in sink.recorded[0].values} == {"/min", "s"}


def meter(memory: Memory = Memory.ANSWERS) -> Apparatus:
    speaks = {"2A18": Way.NOTIFY, "2A34": Way.NOTIFY}
    return Apparatus("Meter", "1808", speaks, memory=memory, ending=Ending.STAY)


def memory_of(count: int) -> list[Record]:
    plain = list(islice(glucose.frames(seed=1, start=START), count))
    return [Record(number, (("2A18", frame),)) for number, frame in enumerate(plain)]


async def test_meter_is_asked_for_all_and_then_from_the_last_one_saved(room: Room) -> None:
    sink, reader = MemorySink(), driver("glucose-meter")
    async with device(room, meter()) as peripheral:
        records = memory_of(6)
        peripheral.memory = records[:4]
        await visit(room, peripheral, reader, sink)
        assert len(sink.recorded) == 4
        peripheral.memory = records
        await visit(room, peripheral, reader, sink)
    order = ["listen 2A18", "listen 2A34", "listen 2A52"]
    expected = [*order, "write 2A52 0101", *order, "write 2A52 0103010300"]
    assert peripheral.diary == expected
    frames = [record.frames[0][1] for record in records]
    assert [reading.raw for reading in sink.recorded] == [*frames[:4], *frames[3:]]
    assert all(reading.repeatable for reading in sink.recorded)


async def test_meter_that_lost_its_memory_is_asked_for_all_again(room: Room) -> None:
    sink, reader = MemorySink(), driver("glucose-meter")
    reader.sequence = 900
    async with device(room, meter()) as peripheral:
        peripheral.memory = memory_of(2)
        await visit(room, peripheral, reader, sink)
    assert peripheral.diary[-2:] == ["write 2A52 0103018403", "write 2A52 0101"]
    assert len(sink.recorded) == 2
    assert reader.sequence == 1


async def test_context_of_a_record_stands_in_its_reading(room: Room) -> None:
    spoken = glucose.Record(7, START, Decimal("0.00112"), context_follows=True)
    beside = glucose.ContextOf(7, meal="before-meal", tester="tested-by-professional")
    lone = glucose.Record(8, START, Decimal("0.00090"), context_follows=True)
    told = (("2A18", glucose.encode(spoken)), ("2A34", glucose.encode_context(beside)))
    sink = MemorySink()
    async with device(room, meter()) as peripheral:
        peripheral.memory = [Record(7, told), Record(8, (("2A18", glucose.encode(lone)),))]
        await visit(room, peripheral, driver("glucose-meter"), sink)
    first, second = sink.recorded
    assert first.raw == told[0][1]
    assert first.status == ("before-meal", "tested-by-professional")
    assert second.status == ()
    assert sink.settled == [0, 1, 2]


async def test_meter_that_answers_for_ever_is_ended_and_what_it_said_is_kept(room: Room) -> None:
    sink = MemorySink()
    reader = driver("glucose-meter", Limits(idle=0.3, visit=1.5, drain=30, introduction=1))
    async with device(room, meter(Memory.NEVER_ENDS)) as peripheral:
        peripheral.memory = memory_of(3)
        await visit(room, peripheral, reader, sink)
    assert sink.recorded
    assert sink.unsettled == set()


async def test_weighing_is_read_and_a_clock_that_may_not_be_set_is_no_error(room: Room) -> None:
    frame = next(scale.frames(seed=1, start=START))
    clock = DeviceClock("2A2B", encode_current_time(START), ClockRights.READ)
    speaks = {"2A9D": Way.INDICATE}
    apparatus = Apparatus("Scale", "181D", speaks, clock=clock, ending=Ending.STAY)
    sink = MemorySink()
    async with device(room, apparatus) as peripheral:
        peripheral.says = [("2A9D", frame)]
        await visit(room, peripheral, driver("weight-scale"), sink)
    assert [reading.raw for reading in sink.recorded] == [frame]
    assert [line.split()[0] for line in peripheral.diary] == ["listen", "write"]
    assert [state for state, _ in sink.reports] == ["waiting", "connected", "waiting"]


@pytest.mark.parametrize("rights", ClockRights)
async def test_clock_of_an_and_cuff_is_set_before_we_listen(
    room: Room, rights: ClockRights
) -> None:
    slow = encode_date_time(NOW.replace(tzinfo=None) - timedelta(hours=1))
    apparatus = Apparatus(
        "A&D_UA-651BLE_1234",
        "1810",
        {"2A35": Way.INDICATE},
        clock=DeviceClock("2A08", slow, rights),
    )
    sink = MemorySink()
    async with device(room, apparatus) as peripheral:
        peripheral.says = [("2A35", FRAMES[0])]
        await visit(room, peripheral, driver("blood-pressure"), sink)
    written, listened = peripheral.diary
    assert decode_date_time(bytes.fromhex(written.removeprefix("write 2A08 "))) == NOW.replace(
        tzinfo=None
    )
    assert listened == "listen 2A35"
    assert sink.recorded[0].clock_offset_ms == -3_600_000


async def test_pressure_in_the_cuff_is_shown_and_never_stored(room: Room) -> None:
    rising = [bytes([0, pressure, 0]) + b"\xff\x07\xff\x07" for pressure in (60, 120, 180)]
    sink = MemorySink()
    speaks = {"2A35": Way.INDICATE, "2A36": Way.NOTIFY}
    async with device(room, Apparatus("Cuff", "1810", speaks)) as peripheral:
        peripheral.says = [*(("2A36", each) for each in rising), ("2A35", FRAMES[0])]
        await visit(room, peripheral, driver("blood-pressure"), sink)
    pressures = [(Value("150300", Decimal(each), "mm[Hg]"),) for each in (60, 120, 180)]
    assert sink.shown == [*pressures, ()]
    assert [frame.raw for frame in sink.kept] == [FRAMES[0]]
    assert [reading.raw for reading in sink.recorded] == [FRAMES[0]]


async def test_model_of_the_device_information_chooses_the_quirks(room: Room) -> None:
    frame = bytes.fromhex("566A0047000000EA07080B121F00003F000000")
    speaks = {"2A35": Way.INDICATE}
    apparatus = Apparatus("BLP", "1810", speaks, identity={"2A24": b"BM85"}, ending=Ending.STAY)
    sink = MemorySink()
    async with device(room, apparatus) as peripheral:
        peripheral.says = [("2A35", frame)]
        await visit(room, peripheral, driver("blood-pressure"), sink)
    assert [reading.user_slot for reading in sink.recorded] == [0]


async def test_identity_in_no_readable_text_is_said_and_costs_nothing(room: Room) -> None:
    identity = {"2A29": b"\xff\xfe\xfd", "2A24": b"\x01\x02", "2A25": b"SN-1"}
    apparatus = Apparatus(
        "Cuff", "1810", {"2A35": Way.INDICATE}, identity=identity, ending=Ending.STAY
    )
    sink = MemorySink()
    async with device(room, apparatus) as peripheral:
        peripheral.says = [("2A35", FRAMES[0])]
        await visit(room, peripheral, driver("blood-pressure"), sink)
    assert len(sink.recorded) == 1
    assert sink.identities == [Identity(serial="SN-1")]
    assert "manufacturer and model" in sink.notes["unreadable-identity"]


async def test_unit_without_a_plausible_clock_sets_none(room: Room) -> None:
    lost = datetime(1970, 1, 1, 0, 3, tzinfo=UTC)
    clock = DeviceClock("2A2B", encode_current_time(START))
    apparatus = Apparatus("Cuff", "1810", {"2A35": Way.INDICATE}, clock=clock, ending=Ending.STAY)
    sink = MemorySink()
    async with device(room, apparatus) as peripheral:
        peripheral.says = [("2A35", FRAMES[0])]
        await visit(room, peripheral, driver("blood-pressure", now=lost), sink)
    assert peripheral.diary == ["listen 2A35"]
    assert sink.recorded[0].clock_offset_ms is not None


class Curious:
    """A driver that asks a device for what it does not have and may not do."""

    def __init__(self) -> None:
        self.faults: list[str] = []
        self.companies: tuple[int, ...] = ()

    async def run(self, link: GattLink, sink: MemorySink) -> None:
        assert sink.recorded == []
        self.companies = link.companies
        assert (link.has("2A2B"), link.has("2A99")) == (True, False)
        assert await link.read("2A2B") == encode_current_time(START)
        for asking in (
            link.write("2A2B", encode_current_time(START)),
            link.write("2A99", b"1"),
            link.read("2A99"),
        ):
            with pytest.raises(ProtocolFault) as caught:
                await asking
            self.faults.append(caught.value.reason)
        await link.close()
        with pytest.raises(Unavailable):
            await link.read("2A2B")
        assert not link.has("2A2B")


async def test_link_tells_refusal_from_absence_and_both_from_a_device_that_is_gone(
    room: Room,
) -> None:
    clock = DeviceClock("2A2B", encode_current_time(START), ClockRights.READ)
    apparatus = Apparatus("Cuff", "1810", {"2A35": Way.INDICATE}, clock=clock, companies=(0x020E,))
    sink, curious = MemorySink(), Curious()
    async with device(room, apparatus) as peripheral:
        await visit(room, peripheral, curious, sink)  # type: ignore[arg-type] # no other link
    assert curious.companies == (0x020E,)
    assert len(curious.faults) == 3
    assert "permit" in curious.faults[0]
    assert all("offer" in fault for fault in curious.faults[1:])
