"""What is asked of a device beside its readings never costs one, however it answers."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal
from itertools import islice
from typing import TYPE_CHECKING

import pytest

from drivers.base import Identity
from drivers.card import card, decoder
from drivers.errors import ProtocolFault, Unavailable
from drivers.gatt_session import GattDriver, Limits
from drivers.glucose_meter.driver import GlucoseDriver
from drivers.glucose_meter.simulator import ContextOf, Record, encode_context
from drivers.glucose_meter.simulator import encode as encode_record
from drivers.glucose_meter.simulator import frames as records
from drivers.pulse_oximeter.simulator import Instant, SpotCheck, encode, encode_continuous, stream
from tests.contract.sinks import MemorySink
from tests.drivers.ble_room import START, others, until

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.simulated_time
SPOT = encode(SpotCheck(Decimal(97), Decimal(70)))
TIMED = encode(SpotCheck(Decimal(97), Decimal(70), time=START))
STEADY = list(islice(stream(seed=1), 8))
LONG = Limits(idle=0.05, visit=3600, drain=10, introduction=0.2)
QUICK = Limits(idle=0.05, visit=20, drain=10, introduction=0.2)
NOW = datetime(2026, 11, 21, 9, tzinfo=UTC)


class Asked:
    """A device in memory that offers `holds` (octets, or the error it answers with)."""

    name = "Oxi"
    companies = ()

    def __init__(self, holds: dict[str, bytes | Exception | None], *speaks: str) -> None:
        self.holds = holds
        self.speaks = speaks
        self.hears: dict[str, Callable[[bytes], None]] = {}
        self.refuses: dict[str, Exception] = {}
        self.written: list[tuple[str, bytes]] = []
        self.answers: list[bytes] = []
        self.closed = 0
        self.gone = asyncio.Event()
        self.on_listen: Callable[[str], None] = lambda _: None

    def has(self, characteristic: str) -> bool:
        return characteristic in self.holds or characteristic in self.speaks

    async def subscribe(self, characteristic: str, hear: Callable[[bytes], None]) -> None:
        if characteristic in self.refuses:
            raise self.refuses[characteristic]
        self.hears[characteristic] = hear
        self.on_listen(characteristic)

    async def read(self, characteristic: str) -> bytes:
        held = self.holds[characteristic]
        if held is None:
            await asyncio.Event().wait()
        if isinstance(held, Exception):
            raise held
        assert held is not None
        return held

    async def write(self, characteristic: str, content: bytes) -> None:
        self.written.append((characteristic, content))
        if self.answers:
            self.hears[characteristic](self.answers.pop(0))

    async def wait_closed(self) -> None:
        await self.gone.wait()

    async def close(self) -> None:
        self.closed += 1
        self.gone.set()


def oximeter(limits: Limits = QUICK) -> GattDriver:
    return GattDriver(card("pulse-oximeter"), decoder("pulse-oximeter"), limits, lambda: NOW)


def meter() -> GattDriver:
    return GlucoseDriver(card("glucose-meter"), decoder("glucose-meter"), QUICK, lambda: NOW)


def says(link: Asked, source: str, *frames: bytes) -> None:
    """Let the device say its frames as soon as somebody listens to the source."""

    def on_listen(characteristic: str) -> None:
        if characteristic == source:
            for frame in frames:
                link.hears[source](frame)

    link.on_listen = on_listen


async def test_reading_is_kept_while_a_device_leaves_us_without_an_answer() -> None:
    link = Asked({"2A24": None}, "2A5E")
    says(link, "2A5E", SPOT)
    sink = MemorySink()
    slow = Limits(idle=0.05, visit=20, drain=10, introduction=15)
    run = asyncio.create_task(oximeter(slow).run(link, sink))
    await until(lambda: len(sink.kept) == 1)
    assert sink.recorded == []
    link.holds["2A24"] = b"M"
    link.gone.set()
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert [reading.raw for reading in sink.recorded] == [SPOT]


async def test_device_that_never_answers_is_read_all_the_same() -> None:
    link = Asked({"2A24": None, "2A19": None, "2A2B": None}, "2A5E")
    says(link, "2A5E", SPOT)
    sink = MemorySink()
    await oximeter(LONG).run(link, sink)
    assert [reading.raw for reading in sink.recorded] == [SPOT]
    assert others() == set()


@pytest.mark.parametrize("error", [Unavailable("oximeter", "gone"), ProtocolFault("Refused.")])
async def test_device_that_refuses_every_question_is_read_all_the_same(error: Exception) -> None:
    link = Asked(dict.fromkeys(("2A29", "2A24", "2A25", "2A26", "2A19", "2A2B"), error), "2A5E")
    says(link, "2A5E", TIMED)
    sink = MemorySink()
    await oximeter().run(link, sink)
    (reading,) = sink.recorded
    assert reading.clock_offset_ms is None
    assert sink.identities == [Identity()]
    assert sink.notes == {"unreadable-identity": ""}


async def test_what_a_device_said_of_itself_is_remembered_for_its_next_visit() -> None:
    driver, sink = oximeter(), MemorySink()
    for holds in ({"2A24": b"M"}, {"2A24": Unavailable("oximeter", "gone")}):
        link = Asked(dict(holds), "2A5E")
        says(link, "2A5E", SPOT)
        await driver.run(link, sink)
    assert sink.identities == [Identity(model="M")] * 2
    assert sink.kept[-1].name == "Oxi; M"


@pytest.mark.parametrize("level", [b"\x14", b"\x15", b"\x65", b""])
async def test_only_a_low_battery_is_said(level: bytes) -> None:
    link = Asked({"2A19": level}, "2A5E")
    says(link, "2A5E", SPOT)
    sink = MemorySink()
    await oximeter().run(link, sink)
    assert bool(sink.notes.get("battery-low")) == (level == b"\x14")
    assert len(sink.recorded) == 1


@pytest.mark.parametrize("garbled", [b"", bytes(10), b"\xea\x07\x0d\x15\x08\x1e\x00\x00\x00\x00"])
async def test_clock_that_shows_no_time_gives_no_offset_and_is_set(garbled: bytes) -> None:
    link = Asked({"2A2B": garbled}, "2A5E")
    says(link, "2A5E", TIMED)
    sink = MemorySink()
    await oximeter().run(link, sink)
    assert sink.recorded[0].clock_offset_ms is None
    assert [characteristic for characteristic, _ in link.written] == ["2A2B"]


async def test_clock_that_is_right_is_left_alone() -> None:
    link = Asked({"2A2B": bytes.fromhex("ea070b15090000060000")}, "2A5E")
    says(link, "2A5E", TIMED)
    sink = MemorySink()
    await oximeter().run(link, sink)
    assert sink.recorded[0].clock_offset_ms == 0
    assert link.written == []


@pytest.mark.parametrize("error", [Unavailable("oximeter", "busy"), ProtocolFault("Refused.")])
async def test_stream_that_cannot_be_listened_to_costs_no_spot_check(error: Exception) -> None:
    link = Asked({}, "2A5E", "2A5F")
    link.refuses["2A5F"] = error
    says(link, "2A5E", SPOT)
    sink = MemorySink()
    await oximeter().run(link, sink)
    assert [reading.raw for reading in sink.recorded] == [SPOT]


async def test_device_with_nothing_but_a_stream_that_refuses_is_said_so() -> None:
    link = Asked({}, "2A5F")
    link.refuses["2A5F"] = ProtocolFault("Refused.")
    with pytest.raises(ProtocolFault):
        await oximeter().run(link, MemorySink())


async def test_finger_that_was_measured_is_not_stored_a_second_time_from_the_stream() -> None:
    link = Asked({}, "2A5E", "2A5F")
    sink = MemorySink()
    run = asyncio.create_task(oximeter().run(link, sink))
    await until(lambda: "2A5F" in link.hears)
    for frame in STEADY:
        link.hears["2A5F"](frame)
    link.hears["2A5E"](SPOT)
    await run
    assert [reading.raw for reading in sink.recorded] == [SPOT]


async def test_memory_of_an_oximeter_does_not_replace_the_finger_in_it() -> None:
    stored = encode(SpotCheck(Decimal(90), Decimal(60), time=START, status=0x0200))
    link = Asked({}, "2A5E", "2A5F")
    sink = MemorySink()
    run = asyncio.create_task(oximeter().run(link, sink))
    await until(lambda: "2A5F" in link.hears)
    for frame in STEADY:
        link.hears["2A5F"](frame)
    link.hears["2A5E"](stored)
    await run
    assert [reading.raw for reading in sink.recorded] == [stored, STEADY[-1]]


async def test_stream_that_never_settles_gives_no_reading() -> None:
    link = Asked({}, "2A5F")
    leaps = [encode_continuous(Instant(Decimal(90 + n % 2 * 8), Decimal(70))) for n in range(12)]
    says(link, "2A5F", *leaps)
    sink = MemorySink()
    await oximeter().run(link, sink)
    assert (sink.recorded, sink.kept) == ([], [])
    assert len(sink.shown) == len(leaps) + 1


async def test_stream_in_another_tongue_is_quarantined_once_a_visit() -> None:
    link = Asked({}, "2A5F")
    says(link, "2A5F", *[b"\x00\x01"] * 50, *STEADY)
    sink = MemorySink()
    await oximeter().run(link, sink)
    assert sink.quarantined == [(b"\x00\x01", "The frame ends too early.")]
    assert len(sink.recorded) == 1


async def test_stream_is_left_when_the_finger_is_out_for_long() -> None:
    link = Asked({}, "2A5F")
    out = encode_continuous(Instant(Decimal(0), Decimal(0), status=0x2000))
    sink = MemorySink()
    run = asyncio.create_task(oximeter(LONG).run(link, sink))
    await until(lambda: "2A5F" in link.hears)
    for frame in STEADY:
        link.hears["2A5F"](frame)
    while not link.closed:
        link.hears["2A5F"](out)
        await asyncio.sleep(0.005)
    await run
    assert [reading.raw for reading in sink.recorded] == [STEADY[-1]]


async def test_meter_that_knows_no_filter_is_asked_for_all() -> None:
    link = Asked({"2A52": b""}, "2A18")
    link.answers = [b"\x06\x00\x01\x03", b"\x06\x00\x01\x01"]
    driver = meter()
    driver.sequence = 5
    await driver.run(link, MemorySink())
    assert [content.hex() for _, content in link.written] == ["0103010500", "0101"]


async def test_meter_without_records_is_left_in_peace() -> None:
    link = Asked({"2A52": b""}, "2A18")
    link.answers = [b"\x06\x00\x01\x06"]
    sink = MemorySink()
    await meter().run(link, sink)
    assert (sink.recorded, link.closed) == ([], 1)


@pytest.mark.parametrize("answer", [b"\x06\x00\x01\x08", b"\x07\x00\x01\x01", b"\x06"])
async def test_meter_that_fails_to_tell_is_said_so_and_what_it_told_is_stored(
    answer: bytes,
) -> None:
    link = Asked({"2A52": b""}, "2A18")
    frame = next(records(seed=1, start=START))
    says(link, "2A18", frame)
    link.answers = [answer]
    sink = MemorySink()
    with pytest.raises(ProtocolFault):
        await meter().run(link, sink)
    assert [reading.raw for reading in sink.recorded] == [frame]
    assert others() == set()


async def test_meter_that_hangs_up_while_it_is_asked_is_no_bug() -> None:
    link = Asked({"2A52": b""}, "2A18")

    async def write(characteristic: str, content: bytes) -> None:
        assert characteristic
        assert content
        link.gone.set()
        raise Unavailable("meter", "gone")

    link.write = write  # type: ignore[method-assign] # it goes as it is written to
    with suppress(Unavailable):
        await meter().run(link, MemorySink())
    assert link.closed == 1
    assert others() == set()


async def test_finger_that_comes_and_goes_never_settles() -> None:
    link = Asked({}, "2A5F")
    out = encode_continuous(Instant(Decimal(0), Decimal(0), status=0x2000))
    says(link, "2A5F", *STEADY[:4], out, *STEADY[:4])
    sink = MemorySink()
    await oximeter().run(link, sink)
    assert sink.recorded == []


async def test_meter_may_take_its_time_between_two_records() -> None:
    link = Asked({"2A52": b""}, "2A18")
    first, second = islice(records(seed=1, start=START), 2)
    sink = MemorySink()
    run = asyncio.create_task(meter().run(link, sink))
    await until(lambda: bool(link.written))
    link.hears["2A18"](first)
    await until(lambda: len(sink.recorded) == 1)
    await asyncio.sleep(QUICK.idle * 6)
    assert not link.closed
    link.hears["2A18"](second)
    link.hears["2A52"](b"\x06\x00\x01\x01")
    await run
    assert [reading.raw for reading in sink.recorded] == [first, second]


async def test_context_of_another_record_is_not_taken_for_this_one() -> None:
    link = Asked({}, "2A18", "2A34")
    record = encode_record(Record(7, START, Decimal("0.00112"), context_follows=True))
    sink = MemorySink()
    run = asyncio.create_task(meter().run(link, sink))
    await until(lambda: "2A34" in link.hears)
    link.hears["2A18"](record)
    link.hears["2A34"](encode_context(ContextOf(8, meal="fasting")))
    await run
    (reading,) = sink.recorded
    assert (reading.raw, reading.status) == (record, ())
    assert sink.unsettled == set()
