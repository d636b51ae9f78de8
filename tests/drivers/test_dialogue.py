"""A dialogue: what is asked, kept, recorded and said, in which order, and how it ends."""

from __future__ import annotations

import asyncio
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING

import pytest

from drivers.base import Decoded
from drivers.dialogue import MOST_FRAMES, MOST_REFUSED, Dialogue, Limits, unit_time
from drivers.errors import ProtocolFault, Unavailable
from drivers.microlife import codec as microlife
from drivers.microlife import simulator as cuff
from drivers.microlife.driver import PROFILE as MICROLIFE
from drivers.nonin3230 import codec as nonin
from drivers.nonin3230 import simulator as nonin_clip
from drivers.nonin3230.driver import PROFILE as NONIN
from drivers.pc60 import codec as pc60
from drivers.pc60 import simulator as pc60_clip
from drivers.pc60.driver import PROFILE as PC60
from drivers.taidoc import codec as taidoc
from drivers.taidoc import simulator as taidoc_device
from drivers.taidoc.driver import PROFILE as TAIDOC
from drivers.taidoc.talk import SWITCH_OFF
from drivers.talk import Profile, Step
from drivers.yonker import simulator as yonker
from drivers.yonker.driver import PROFILE as YONKER
from tests.contract.sinks import MemorySink

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

pytestmark = pytest.mark.simulated_time
NOON = datetime(2026, 6, 15, 12)  # noqa: DTZ001 - devices know no time zone
MEMORY = [cuff.record((128, 84, 66), NOON), cuff.record((131, 85, 71), NOON.replace(day=16))]
BRIEF = Limits(answer=0.5, idle=0.1, visit=60.0, drain=30.0)
"""For visits that end in silence."""
PATIENT = Limits(answer=30.0, idle=30.0, visit=60.0, drain=30.0)
"""For visits that end with a farewell."""
UNHURRIED = Limits(answer=3.0, idle=3.0, visit=60.0, drain=30.0)
"""For visits that end in silence after more than one question."""


class Device:
    """A device at the other end of a link, which answers what is written to it."""

    companies = ()

    def __init__(
        self,
        answers: Callable[[bytes], Iterable[bytes]] = lambda _: (),
        *,
        name: str | None = None,
        tells: Iterable[bytes] = (),
        sink: MemorySink | None = None,
    ) -> None:
        self.name = name
        self.answers = answers
        self.tells = list(tells)
        self.sink = sink or MemorySink()
        self.written: list[tuple[bytes, int]] = []
        self.listened: list[str] = []
        self.gone = asyncio.Event()
        self.closed = 0
        self.hear: Callable[[bytes], None] = lambda _: None

    def has(self, characteristic: str) -> bool:
        return bool(characteristic)

    async def read(self, characteristic: str) -> bytes:
        raise ProtocolFault(f"The device has no {characteristic}.")

    async def subscribe(self, characteristic: str, hear: Callable[[bytes], None]) -> None:
        self.listened.append(characteristic)
        self.hear = hear
        for frame in self.tells:
            hear(frame)

    async def write(self, characteristic: str, content: bytes) -> None:
        await asyncio.sleep(0)
        if self.gone.is_set():
            raise Unavailable("device", "it was switched off")
        assert characteristic
        self.written.append((content, len(self.sink.recorded)))
        for frame in self.answers(content):
            self.hear(frame)

    async def wait_closed(self) -> None:
        await self.gone.wait()

    async def close(self) -> None:
        self.closed += 1
        self.gone.set()

    @property
    def asked(self) -> list[bytes]:
        return [content for content, _ in self.written]


async def visit(
    device: Device,
    profile: Profile,
    *,
    clock: Callable[[], datetime | None] = lambda: None,
    limits: Limits = BRIEF,
) -> MemorySink:
    await Dialogue("device", profile, clock, limits).run(device, device.sink)
    assert device.closed == 1
    return device.sink


def memory(records: list[bytes]) -> Callable[[bytes], list[bytes]]:
    def answers(content: bytes) -> list[bytes]:
        if content == microlife.GIVE_ALL:
            return cuff.pieces(cuff.answer(records))
        return [] if content == microlife.DISCONNECT else [cuff.acknowledgement()]

    return answers


async def test_cuff_has_its_clock_set_is_asked_for_all_and_let_go_after_all_is_stored() -> None:
    device = Device(memory(MEMORY))
    then = datetime(2024, 6, 15, 14, 30, 45)  # noqa: DTZ001 - as captured
    sink = await visit(device, MICROLIFE, clock=lambda: then, limits=PATIENT)
    assert device.listened == ["FFF1"]
    assert device.written == [
        (bytes.fromhex("4DFF00080D18060F0E1E2DE7"), 0),
        (bytes.fromhex("4DFF000900000000000000FD52"), 0),
        (bytes.fromhex("4DFF00020452"), 2),
    ]
    assert [reading.raw for reading in sink.recorded] == [record[:8] for record in MEMORY]
    assert len(sink.kept) == 1 + len(cuff.pieces(cuff.answer(MEMORY)))
    assert sorted(sink.settled) == list(range(len(sink.kept)))


async def test_cuff_is_not_given_a_time_that_cannot_be() -> None:
    device = Device(memory(MEMORY))
    await visit(device, MICROLIFE, limits=PATIENT)
    assert device.asked == [microlife.GIVE_ALL, microlife.DISCONNECT]


async def test_cuff_is_not_let_go_while_the_store_is_silent() -> None:
    sink = MemorySink(silent=frozenset({"record"}))
    device = Device(memory(MEMORY), sink=sink)
    run = asyncio.create_task(Dialogue("microlife", MICROLIFE, limits=PATIENT).run(device, sink))
    async with asyncio.timeout(30):
        while "record" not in sink.begun:  # noqa: ASYNC110 - a sink has no event for it
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.1)
    assert microlife.DISCONNECT not in device.asked
    sink.answering.set()
    await run
    assert device.written[-1] == (microlife.DISCONNECT, len(MEMORY))


async def test_memory_told_again_is_the_same_readings() -> None:
    once = await visit(Device(memory(MEMORY)), MICROLIFE, limits=PATIENT)
    grown = [*MEMORY, cuff.record((120, 80, 60), NOON.replace(day=17))]
    again = await visit(Device(memory(grown)), MICROLIFE, limits=PATIENT)
    assert [each.raw for each in once.recorded] == [each.raw for each in again.recorded[:2]]
    assert all(each.repeatable for each in again.recorded)


async def test_record_that_cannot_be_leaves_the_others_and_the_cuff_unreleased() -> None:
    wrong = cuff.record((131, 85, 71), NOON)[:4] + bytes([13, 1, 1, 1, 0, 0])
    device = Device(memory([MEMORY[0], wrong, MEMORY[1]]))
    sink = await visit(device, MICROLIFE)
    assert [reading.raw for reading in sink.recorded] == [record[:8] for record in MEMORY]
    assert {reason for _, reason in sink.quarantined} == {
        "The device sent a date or time that cannot be."
    }
    assert microlife.DISCONNECT not in device.asked
    assert sink.unsettled == set()


async def test_answer_that_breaks_off_is_kept_and_not_a_reading() -> None:
    pieces = cuff.pieces(cuff.answer(MEMORY))[:-1]
    device = Device(lambda _: pieces)
    sink = await visit(device, MICROLIFE)
    assert sink.recorded == []
    assert [raw for raw, _ in sink.quarantined] == pieces
    assert device.asked == [microlife.GIVE_ALL]


async def test_cuff_with_an_empty_memory_is_left_alone() -> None:
    device = Device(memory([]))
    sink = await visit(device, MICROLIFE)
    assert sink.recorded == []
    assert sink.quarantined == []
    assert sink.unsettled == set()
    assert device.asked == [microlife.GIVE_ALL]


async def test_silent_device_is_left_in_time() -> None:
    device = Device()
    sink = await visit(device, MICROLIFE)
    assert sink.begun == []


async def test_device_that_answers_for_ever_is_ended_by_the_clock() -> None:
    device = Device()
    loop = asyncio.get_running_loop()

    def babble(piece: bytes) -> None:
        if not device.gone.is_set():
            device.hear(piece)
            loop.call_later(0.02, babble, bytes(1))

    loop.call_soon(babble, b"\x4d\x3a\x1f\x00")
    limits = Limits(answer=5.0, idle=5.0, visit=0.5, drain=5.0)
    async with asyncio.timeout(30):
        sink = await visit(device, MICROLIFE, limits=limits)
    assert sink.recorded == []
    assert {reason for _, reason in sink.quarantined} == {"A packet is cut short."}
    assert sink.unsettled == set()


async def test_frames_whose_sense_never_comes_are_kept_as_such() -> None:
    class Dull:
        def begin(self, now: datetime | None) -> tuple[bytes, ...]:
            del now
            return ()

        def hear(self, raw: bytes) -> Step:
            del raw
            return Step()

        def end(self) -> Step:
            return Step()

    sink = await visit(Device(tells=[b"one", b"two"]), Profile("FFF1", lambda _: Dull()))
    assert [raw for raw, _ in sink.quarantined] == [b"one", b"two"]


async def test_cancellation_while_the_store_works_loses_nothing_that_was_heard() -> None:
    sink = MemorySink(silent=frozenset({"record"}))
    frames = list(islice(yonker.frames(seed=1, start=NOON), 3))
    device = Device(tells=frames, sink=sink)
    run = asyncio.create_task(Dialogue("yonker", YONKER, limits=BRIEF).run(device, sink))
    async with asyncio.timeout(30):
        while "record" not in sink.begun:  # noqa: ASYNC110 - a sink has no event for it
            await asyncio.sleep(0.01)
    for _ in range(3):
        run.cancel()
        await asyncio.sleep(0.01)
    assert not run.done()
    sink.answering.set()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert [reading.raw for reading in sink.recorded] == frames
    assert device.closed == 1


async def test_device_that_is_gone_before_it_is_asked_is_still_heard() -> None:
    frames = list(islice(yonker.frames(seed=1, start=NOON), 1))

    class Fast(Device):
        async def subscribe(self, characteristic: str, hear: Callable[[bytes], None]) -> None:
            await super().subscribe(characteristic, hear)
            self.gone.set()
            raise Unavailable("device", "it hung up")

    sink = await visit(Fast(tells=frames), YONKER)
    assert [reading.raw for reading in sink.recorded] == frames
    with pytest.raises(Unavailable, match="hung up"):
        await visit(Fast(), YONKER)


async def test_device_that_answers_without_an_end_is_ended_by_count() -> None:
    device = Device(tells=[pc60_clip.wave()] * (MOST_FRAMES + 1))
    with pytest.raises(ProtocolFault, match="without an end"):
        await visit(device, PC60)


async def test_device_that_speaks_otherwise_is_ended() -> None:
    device = Device(tells=[b"hello"] * MOST_REFUSED)
    with pytest.raises(ProtocolFault, match="otherwise"):
        await visit(device, YONKER)
    assert len(device.sink.quarantined) == MOST_REFUSED


async def test_request_that_is_not_taken_ends_the_visit() -> None:
    class Deaf(Device):
        async def write(self, characteristic: str, content: bytes) -> None:
            assert characteristic
            assert content
            await asyncio.Event().wait()

    with pytest.raises(Unavailable, match="no request"):
        await visit(Deaf(), MICROLIFE)


async def test_device_lost_at_the_farewell_loses_nothing() -> None:
    device = Device()

    def answers(content: bytes) -> Iterable[bytes]:
        if content == microlife.DISCONNECT:
            raise Unavailable("device", "it hung up")
        return memory(MEMORY)(content)

    device.answers = answers
    sink = await visit(device, MICROLIFE, limits=PATIENT)
    assert len(sink.recorded) == len(MEMORY)


async def test_pieces_left_by_a_crash_are_put_together() -> None:
    pieces = [cuff.acknowledgement(), *cuff.pieces(cuff.answer(MEMORY))]
    found = microlife.recover(pieces, [NOON] * len(pieces))
    assert isinstance(found, Decoded)
    assert [reading.raw for reading in found.readings] == [record[:8] for record in MEMORY]


async def test_cuff_that_only_tells_is_heard() -> None:
    frames = list(islice(yonker.frames(seed=1, start=NOON), 3))
    device = Device(tells=frames)
    sink = await visit(device, YONKER)
    assert [reading.raw for reading in sink.recorded] == frames
    assert not any(reading.clock_trusted for reading in sink.recorded)
    assert device.written == []


@pytest.mark.parametrize(
    ("name", "command", "answer"),
    [
        ("TAIDOC TD3128", taidoc.ASK_LATEST, taidoc_device.pressure(128, 84, 66)),
        ("FORA IR42", taidoc.ASK_LATEST, taidoc_device.answer(0x26, bytes([110, 1, 0, 0]))),
    ],
)
async def test_latest_reading_is_recorded_with_its_time_and_the_device_switched_off_after(
    name: str, command: int, answer: bytes
) -> None:
    told = {taidoc.ASK_TIME: taidoc_device.time(NOON), command: answer}
    device = Device(lambda content: [told[content[1]]] if content[1] in told else [], name=name)
    sink = await visit(device, TAIDOC, limits=PATIENT)
    assert [content[1] for content in device.asked] == [taidoc.ASK_TIME, command, taidoc.POWER_OFF]
    assert device.written[-1] == (SWITCH_OFF, 1)
    (reading,) = sink.recorded
    assert (reading.device_time, reading.repeatable) == (NOON, True)
    assert reading.raw == taidoc_device.time(NOON) + answer
    assert sorted(sink.settled) == [0, 1]


@pytest.mark.parametrize(
    ("name", "request_hex", "answer"),
    [
        ("TAIDOC TD8255", "514900000000A33D", taidoc_device.oximetry(97, 72)),
        ("FORA P30 PLUS", "514300000101A339", taidoc_device.pressure(128, 84, 66, 0x43)),
    ],
)
async def test_model_that_is_asked_directly_is_asked_so(
    name: str, request_hex: str, answer: bytes
) -> None:
    asked = bytes.fromhex(request_hex)
    device = Device(lambda content: [answer] if content == asked else [], name=name)
    sink = await visit(device, TAIDOC, limits=PATIENT)
    assert device.asked == [asked, SWITCH_OFF]
    assert [reading.raw for reading in sink.recorded] == [answer]


async def test_answer_of_an_unknown_model_is_kept_and_the_model_not_switched_off() -> None:
    told = {0x25: taidoc_device.time(NOON), 0x26: taidoc_device.pressure(128, 84, 66)}
    device = Device(lambda content: [told[content[1]]], name="TAIDOC TD9999")
    sink = await visit(device, TAIDOC, limits=UNHURRIED)
    assert sink.recorded == []
    assert [raw for raw, _ in sink.quarantined] == list(told.values())
    assert SWITCH_OFF not in device.asked


async def test_time_without_a_value_is_kept_and_not_a_reading() -> None:
    time = taidoc_device.time(NOON)
    sink = await visit(Device(lambda content: [time] * (content[1] == 0x25)), TAIDOC)
    assert sink.quarantined == [(time, "The device told when it measured, and not what.")]


async def test_stay_of_a_finger_gives_one_reading_when_it_ends() -> None:
    first, second = (list(pc60_clip.stay(seed=seed, seconds=8)) for seed in (1, 2))
    device = Device(tells=[*first, *second])
    sink = await visit(device, PC60)
    expected = [[f for f in stay if f.startswith(pc60.VALUES)][-3] for stay in (first, second)]
    assert [reading.raw for reading in sink.recorded] == expected
    assert sink.kept == []
    assert sink.quarantined == []
    assert device.written == []


async def test_finger_that_stays_gives_its_reading_with_the_visit() -> None:
    frames = list(pc60_clip.stay(seed=1, seconds=8))[:-2]
    sink = await visit(Device(tells=frames), PC60)
    assert len(sink.recorded) == 1
    assert any(sink.shown)
    assert sink.shown[-1] == ()


async def test_finger_that_is_out_too_soon_gives_none() -> None:
    sink = await visit(Device(tells=list(pc60_clip.stay(seed=1, seconds=4))), PC60)
    assert sink.recorded == []


@pytest.mark.parametrize("between", [pc60.NO_FINGER, pc60.SEARCHING])
async def test_values_before_and_after_a_break_are_not_counted_together(between: int) -> None:
    values = [pc60.values(97, 70, 45)] * 4
    frames = [*values, pc60.values(97, 70, 45, between)] * 3
    sink = await visit(Device(tells=frames), PC60)
    assert sink.recorded == []
    assert len((await visit(Device(tells=values * 2), PC60)).recorded) == 1


async def test_pieces_of_a_clip_in_any_cut_give_the_same_reading() -> None:
    stream = b"".join(pc60_clip.stay(seed=1, seconds=8))
    pieces = [stream[start : start + 7] for start in range(0, len(stream), 7)]
    whole, cut = [await visit(Device(tells=each), PC60) for each in ([stream], pieces)]
    assert len(whole.recorded) == 1
    assert [each.raw for each in cut.recorded] == [each.raw for each in whole.recorded]


async def test_broken_packet_of_a_clip_is_kept_and_the_stay_goes_on() -> None:
    frames = list(pc60_clip.stay(seed=1, seconds=8))
    broken = frames[4][:-1] + bytes([frames[4][-1] ^ 1])
    sink = await visit(Device(tells=[*frames[:4], broken, *frames[5:]]), PC60)
    assert len(sink.recorded) == 1
    assert [raw for raw, _ in sink.quarantined] == [broken]


async def test_value_that_the_clip_calls_settled_counts_at_once() -> None:
    settled = nonin.encode(nonin.Status.ATTACHED | nonin.Status.SMART_POINT, 98, 72, counter=4)
    unsure = nonin.encode(nonin.Status.ATTACHED, 91, 140, counter=5)
    device = Device(tells=[settled, unsure, nonin.encode(nonin.Status(0))])
    sink = await visit(device, NONIN)
    assert [reading.raw for reading in sink.recorded] == [settled]


async def test_stay_in_a_nonin_gives_its_last_settled_value() -> None:
    frames = list(nonin_clip.stay(seed=1, seconds=6))
    sink = await visit(Device(tells=frames), NONIN)
    assert [reading.raw for reading in sink.recorded] == [frames[-2]]


async def test_same_value_of_two_stays_is_two_readings() -> None:
    frames = [*nonin_clip.stay(seed=1, seconds=6)] * 2
    sink = await visit(Device(tells=frames), NONIN)
    assert len(sink.recorded) == 2
    assert not any(reading.repeatable for reading in sink.recorded)


def test_time_of_the_unit_is_given_only_where_it_can_be(monkeypatch: pytest.MonkeyPatch) -> None:
    class Wall(datetime):
        year_now = 2026

        @classmethod
        def now(cls, tz: object = None) -> datetime:  # type: ignore[override] # a plain datetime
            assert tz is None
            return datetime(cls.year_now, 6, 15, 12)  # noqa: DTZ001

    monkeypatch.setattr("drivers.dialogue.datetime", Wall)
    assert unit_time() == NOON
    Wall.year_now = 1970
    assert unit_time() is None


async def test_record_that_cannot_be_is_told_of_once_however_often_the_cuff_tells_it() -> None:
    wrong = cuff.record((128, 84, 66), NOON)[:4] + b"\x0d" + bytes(5)  # a month 13
    answers = cuff.pieces(cuff.answer([MEMORY[0], wrong]))
    driver, sink = Dialogue("device", MICROLIFE, lambda: None, BRIEF), MemorySink()
    for number in (1, 2, 3):
        device = Device(lambda word: answers if word == microlife.GIVE_ALL else (), sink=sink)
        await driver.run(device, sink)
        assert len(sink.recorded) == number
        assert len(sink.quarantined) == len(answers)
    assert sink.unsettled == set()
