"""One visit of a device, over a link that does what a test tells it to."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING

import pytest

from drivers.blood_pressure import codec
from drivers.blood_pressure.simulator import Reading, encode
from drivers.card import build, card
from drivers.errors import Misconfigured, ProtocolFault, Unavailable
from drivers.gatt_session import GattDriver, Limits
from drivers.medfloat import Special
from tests.contract.sinks import DiskFull, MemorySink
from tests.drivers.ble_room import holds, others, until

if TYPE_CHECKING:
    from collections.abc import Callable

    from drivers.base import Measurement, Outcome, RawFrame, Stored

pytestmark = pytest.mark.simulated_time
FRAMES = [encode(Reading(Decimal(120 + n), Decimal(80), Decimal(95))) for n in range(5)]
HASTY = Limits(idle=0.05, visit=60, drain=0.1)
PATIENT = Limits(idle=60, visit=60, drain=60)


class Link:
    """A device in memory. It indicates `frames` on subscription, then hangs up if so told."""

    def __init__(
        self, frames: list[bytes], *, stays: bool = False, name: str | None = None
    ) -> None:
        self.name = name
        self.companies: tuple[int, ...] = ()
        self.frames = frames
        self.stays = stays
        self.closed = 0
        self.subscribed_at: float | None = None
        self.hear: Callable[[bytes], None] = lambda _: None
        self._gone = asyncio.Event()

    async def subscribe(self, characteristic: str, hear: Callable[[bytes], None]) -> None:
        assert characteristic == "2A35"
        self.subscribed_at = asyncio.get_running_loop().time()
        self.hear = hear
        for frame in self.frames:
            hear(frame)
        if not self.stays:
            self._gone.set()

    def has(self, characteristic: str) -> bool:
        return characteristic == "2A35"

    async def wait_closed(self) -> None:
        await self._gone.wait()

    async def close(self) -> None:
        self.closed += 1
        self._gone.set()


def cuff(limits: Limits = PATIENT) -> GattDriver:
    return GattDriver(card("blood-pressure"), codec.decode, limits)


async def test_every_frame_is_kept_recorded_and_settled_in_order() -> None:
    link, sink = Link(FRAMES), MemorySink()
    await cuff().run(link, sink)
    assert [frame.raw for frame in sink.kept] == FRAMES
    assert {frame.source for frame in sink.kept} == {"2A35"}
    assert [reading.raw for reading in sink.recorded] == FRAMES
    assert sink.settled == list(range(len(FRAMES)))
    assert link.closed == 1
    assert others() == set()


async def test_store_that_is_slow_is_waited_for_as_long_as_it_gets_anywhere() -> None:
    """All of it together takes several times the patience for one."""

    class Slow(MemorySink):
        async def keep(self, frame: RawFrame) -> int:
            await asyncio.sleep(0.5)
            return await super().keep(frame)

    patience = 2.0
    sink = Slow()
    await cuff(Limits(idle=0.05, visit=60, drain=patience)).run(Link(FRAMES), sink)
    assert [reading.raw for reading in sink.recorded] == FRAMES
    assert others() == set()


async def test_frame_is_durable_before_it_is_decoded() -> None:
    acts: list[tuple[str, bytes]] = []

    class Sink(MemorySink):
        async def keep(self, frame: RawFrame) -> int:
            number = await super().keep(frame)
            await asyncio.sleep(0.01)
            acts.append(("kept", frame.raw))
            return number

    def decode(raw: bytes, *, name: str | None = None) -> Outcome:
        acts.append(("decoded", raw))
        return codec.decode(raw, name=name)

    await GattDriver(card("blood-pressure"), decode).run(Link(FRAMES), Sink())
    for frame in FRAMES:
        assert acts.index(("kept", frame)) < acts.index(("decoded", frame))
    assert [raw for act, raw in acts if act == "decoded"] == FRAMES


async def test_slow_record_does_not_delay_the_keeping_of_the_next_frame() -> None:
    kept_when_recorded: list[int] = []

    class Sink(MemorySink):
        async def record(self, measurement: Measurement, frames: tuple[int, ...] = ()) -> Stored:
            await until(lambda: len(self.kept) == len(FRAMES))
            kept_when_recorded.append(len(self.kept))
            return await super().record(measurement, frames)

    await cuff().run(Link(FRAMES), Sink())
    assert kept_when_recorded == [len(FRAMES)] * len(FRAMES)


async def test_undecodable_frame_is_quarantined_and_stops_nothing() -> None:
    failed = encode(Reading(Special.NAN, Special.NAN, Special.NAN))
    sink = MemorySink()
    await cuff().run(Link([FRAMES[0], b"\x00\x01", failed, FRAMES[1]]), sink)
    said = [(record.raw, record.absent) for record in sink.recorded]
    assert said == [(FRAMES[0], None), (failed, "not-a-number"), (FRAMES[1], None)]
    assert sink.quarantined == [(b"\x00\x01", "The frame ends too early.")]
    assert sink.unsettled == set()


async def test_device_that_stays_is_let_go_after_silence() -> None:
    link, sink = Link(FRAMES, stays=True), MemorySink()
    await cuff(HASTY).run(link, sink)
    assert len(sink.recorded) == len(FRAMES)
    assert link.closed == 1
    assert others() == set()


async def test_silence_counts_from_the_last_reading() -> None:
    link, sink = Link(FRAMES[:1], stays=True), MemorySink()
    run = asyncio.create_task(cuff(Limits(idle=0.5, visit=60)).run(link, sink))
    await until(lambda: len(sink.recorded) == 1)
    for count, frame in enumerate(FRAMES[1:], start=2):
        await asyncio.sleep(0.2)
        link.hear(frame)
        await until(partial(holds, sink.recorded, count))
        assert not link.closed
    await run
    assert link.closed == 1


async def test_device_is_not_let_go_while_its_frame_is_being_saved() -> None:
    link, closed = Link(FRAMES[:2], stays=True), list[int]()

    class Sink(MemorySink):
        async def keep(self, frame: RawFrame) -> int:
            if self.kept:
                await asyncio.sleep(6 * HASTY.idle)
                closed.append(link.closed)
            return await super().keep(frame)

    sink = Sink()
    await cuff(Limits(idle=HASTY.idle, visit=60)).run(link, sink)
    assert closed == [0]
    assert len(sink.recorded) == 2


async def test_device_that_says_nothing_is_let_go_at_the_deadline() -> None:
    link, sink = Link([], stays=True), MemorySink()
    await cuff(Limits(idle=60, visit=0.05)).run(link, sink)
    assert link.closed == 1
    assert sink.kept == []
    assert others() == set()


@pytest.mark.parametrize("act", ["keep", "record"])
async def test_error_of_the_store_ends_the_visit_and_is_raised(act: str) -> None:
    link, sink = Link(FRAMES, stays=True), MemorySink(full=frozenset({act}))
    with pytest.raises(DiskFull):
        await cuff().run(link, sink)
    assert sink.recorded == []
    assert link.closed == 1
    assert others() == set()


async def test_frames_heard_are_kept_even_when_recording_fails() -> None:
    sink = MemorySink(full=frozenset({"record"}))
    with pytest.raises(DiskFull):
        await cuff().run(Link(FRAMES), sink)
    assert [frame.raw for frame in sink.kept] == FRAMES
    assert sink.unsettled == set(range(len(FRAMES)))


async def test_defect_in_a_codec_is_raised_and_loses_no_frame() -> None:
    def decode(raw: bytes, *, name: str | None = None) -> Outcome:
        raise ZeroDivisionError(raw, name)

    sink = MemorySink()
    with pytest.raises(ZeroDivisionError):
        await GattDriver(card("blood-pressure"), decode).run(Link(FRAMES), sink)
    assert [frame.raw for frame in sink.kept] == FRAMES


@pytest.mark.parametrize("act", ["keep", "record"])
async def test_store_that_never_answers_ends_the_visit_as_an_error(act: str) -> None:
    link, sink = Link(FRAMES), MemorySink(silent=frozenset({act}))
    with pytest.raises(TimeoutError, match="not saved"):
        await cuff(HASTY).run(link, sink)
    assert link.closed == 1
    assert others() == set()


@pytest.mark.parametrize("turns", range(12))
async def test_cancellation_keeps_what_was_heard_and_leaves_no_task(turns: int) -> None:
    link, sink = Link(FRAMES, stays=True), MemorySink()
    run = asyncio.create_task(cuff().run(link, sink))
    for _ in range(turns):
        await asyncio.sleep(0)
    heard = link.subscribed_at is not None
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert [frame.raw for frame in sink.kept] == (FRAMES if heard else [])
    assert link.closed == (1 if turns else 0)
    assert others() == set()


async def test_cancellation_with_a_silent_store_is_bounded_and_reported() -> None:
    link, sink = Link(FRAMES, stays=True), MemorySink(silent=frozenset({"keep"}))
    run = asyncio.create_task(cuff(Limits(drain=0.1)).run(link, sink))
    await until(lambda: "keep" in sink.begun)
    run.cancel()
    with pytest.raises(TimeoutError, match="5 received readings"):
        await run
    assert others() == set()


async def test_cancellation_while_the_last_frames_are_settled_is_raised_after_it() -> None:
    link = Link(FRAMES)

    class Sink(MemorySink):
        async def keep(self, frame: RawFrame) -> int:
            if link.closed:
                run.cancel()
            await until(lambda: bool(link.closed))
            return await super().keep(frame)

    sink = Sink()
    run = asyncio.create_task(cuff().run(link, sink))
    with pytest.raises(asyncio.CancelledError):
        await run
    assert [reading.raw for reading in sink.recorded] == FRAMES


async def test_device_gone_before_the_subscription_returned_has_still_been_heard() -> None:
    class Fast(Link):
        async def subscribe(self, characteristic: str, hear: Callable[[bytes], None]) -> None:
            await super().subscribe(characteristic, hear)
            raise Unavailable("cuff", "gone")

    sink = MemorySink()
    await cuff().run(Fast(FRAMES), sink)
    assert len(sink.recorded) == len(FRAMES)


@pytest.mark.parametrize("error", [Unavailable("cuff", "gone"), ProtocolFault("no such thing")])
async def test_device_that_cannot_be_subscribed_to_is_said_so(error: Exception) -> None:
    class Deaf(Link):
        async def subscribe(self, characteristic: str, hear: Callable[[bytes], None]) -> None:
            del characteristic, hear
            raise error

    link = Deaf([])
    with pytest.raises(type(error)):
        await cuff().run(link, MemorySink())
    assert link.closed == 1
    assert others() == set()


@pytest.mark.parametrize(("name", "pause"), [("Beurer BM85", 0.1), ("A&D_UA-651BLE", 0.0)])
async def test_pause_before_subscribing_is_the_quirk_of_a_name(name: str, pause: float) -> None:
    link = Link([], name=name)
    began = asyncio.get_running_loop().time()
    slept = 0.0
    sleep = asyncio.sleep

    async def counted(seconds: float) -> None:
        nonlocal slept
        slept += seconds
        await sleep(seconds)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(asyncio, "sleep", counted)
        await cuff().run(link, MemorySink())
    assert slept == pause
    assert link.subscribed_at == began + pause


async def test_name_of_the_link_chooses_the_quirks() -> None:
    frame = bytes.fromhex("566A0047000000EA07080B121F00003F000000")
    named, nameless = MemorySink(), MemorySink()
    await cuff().run(Link([frame], name="Beurer BM85"), named)
    await cuff().run(Link([frame]), nameless)
    assert len(named.recorded) == len(nameless.quarantined) == 1
    assert [kept.name for kept in (*named.kept, *nameless.kept)] == ["Beurer BM85", None]


@pytest.mark.parametrize("driver", ["blood-pressure", "thermometer"])
def test_driver_is_built_from_the_registry_and_has_no_settings(driver: str) -> None:
    built = build(driver, {})
    assert isinstance(built, GattDriver)
    assert built.source == card(driver).sources[0]
    with pytest.raises(Misconfigured, match="remove volume"):
        build(driver, {"volume": 11})
