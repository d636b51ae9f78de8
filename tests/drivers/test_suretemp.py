"""The SureTemp Plus: its frames, its two records, and sessions on a real pseudo-terminal."""

from __future__ import annotations

import asyncio
import os
import struct
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.base import Decoded
from drivers.card import build, card
from drivers.errors import ProtocolFault, Unavailable
from drivers.lab.pty import PtyHost
from drivers.links.serial import SerialLink
from drivers.suretemp import driver as driver_module
from drivers.suretemp.codec import ASK, decode
from drivers.suretemp.framing import Frame, Framer, Type, encode
from drivers.suretemp.record import COMMAND, Algorithm, Probe, Record, State, read, write
from drivers.suretemp.simulator import Module
from tests.contract.sinks import MemorySink

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from drivers.base import Driver

FEVER = Decimal("311.65")
WELL = Decimal("309.75")


def test_question_is_the_one_of_the_manual_and_of_the_card() -> None:
    assert ASK.hex() == "030210941c0100003a"
    assert [ASK.hex()] == list(card("suretemp").commands)
    assert card("suretemp").match.probe == ASK.hex()


@given(st.binary(min_size=2, max_size=2), st.sampled_from(Type), st.binary(max_size=256))
def test_frames_come_back_from_their_bytes(command: bytes, kind: Type, content: bytes) -> None:
    raw = encode(command, kind, content)
    assert sum(raw) % 256 == 0
    assert Framer().feed(raw) == [Frame(command, kind, content, raw)]


@given(
    st.floats(250, 330, width=32),
    st.sampled_from(State),
    st.sampled_from(Algorithm),
    st.sampled_from(Probe),
    st.integers(0, 2**32 - 1),
)
def test_records_come_back_from_their_bytes(
    kelvin: float, state: State, algorithm: Algorithm, probe: Probe, samples: int
) -> None:
    given_ = Record(Decimal(repr(kelvin)), samples, algorithm, state, 0, probe)
    said = read(write(given_))
    assert struct.pack("<f", float(said.final)) == struct.pack("<f", kelvin)
    assert (said.state, said.algorithm, said.probe) == (state, algorithm, probe)
    assert said.samples == samples


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("error", [0, 1])
def test_only_final_states_without_error_are_readings(state: State, error: int) -> None:
    record = Record(FEVER, 1, Algorithm.ORAL, state, error, Probe.ORAL_OR_AXILLARY)
    outcome = decode(encode(COMMAND, Type.DONE, write(record)))
    final = state in {State.FINAL, State.FINAL_POSITION}
    assert isinstance(outcome, Decoded) == (final and not error)


def test_kelvin_becomes_celsius_exactly() -> None:
    for kelvin, celsius in (("310.15", "37.00"), ("309.1", "35.95"), ("307.370789", "34.2208")):
        record = Record(Decimal(kelvin), 1, 0, State.FINAL, 0, 0)
        assert str(read(write(record)).celsius) == celsius


def test_temperature_no_body_has_is_refused() -> None:
    for kelvin in ("0", "273", "400"):
        record = Record(Decimal(kelvin), 1, 0, State.FINAL, 0, 0)
        with pytest.raises(ProtocolFault, match="can measure"):
            decode(encode(COMMAND, Type.DONE, write(record)))


@pytest.fixture
async def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[PtyHost]:
    monkeypatch.setattr(driver_module, "ASK_EVERY_S", 0.02)
    made = PtyHost(tmp_path / "thermometer")
    made.plug()
    yield made
    made.unplug()


async def until(condition: Callable[[], object]) -> None:
    for _ in range(3000):
        if condition():
            return
        await asyncio.sleep(0.01)
    pytest.fail("what was waited for never came")


async def answer(host: PtyHost, say: Callable[[bytes], bytes], asked: list[bytes]) -> None:
    """The module's end of the cable, for as long as it is plugged in."""
    while host._ends is not None:
        try:
            heard = os.read(host._ends[0], 4096)
        except BlockingIOError:
            await asyncio.sleep(0.002)
            continue
        asked.append(heard)
        await host.say(say(heard))


@asynccontextmanager
async def session(
    host: PtyHost, sink: MemorySink, say: Callable[[bytes], bytes], driver: Driver | None = None
) -> AsyncIterator[list[bytes]]:
    asked: list[bytes] = []
    module = asyncio.create_task(answer(host, say, asked))
    link = SerialLink.open(str(host.path), card("suretemp").baud)
    its = driver or build("suretemp", {})
    running = asyncio.create_task(its.run(link, sink))
    try:
        yield asked
    finally:
        host.unplug()
        with pytest.raises((Unavailable, ProtocolFault)):
            await asyncio.wait_for(running, 30)
        await asyncio.wait({module})


async def next_answers(asked: list[bytes], count: int = 3) -> None:
    before = len(asked)
    await until(lambda: len(asked) >= before + count)


async def test_each_final_temperature_is_stored_once_however_long_the_probe_stays_out(
    host: PtyHost,
) -> None:
    module, sink = Module(), MemorySink()
    async with session(host, sink, module.answer) as asked:
        for final in (FEVER, WELL):
            for state in (State.IDLE, State.READY, State.PREDICT, State.PREDICT_DISPLAY):
                module.play(state)
                await next_answers(asked)
            module.play(State.FINAL, final)
            await next_answers(asked, 10)
            module.play(State.FINAL_POSITION, final)
            await next_answers(asked)
            module.play(State.IDLE)
            await next_answers(asked)
    said = [(str(each.values[0].value), each.values[0].unit) for each in sink.recorded]
    assert said == [("38.50", "Cel"), ("36.60", "Cel")]
    assert [each.quality for each in sink.recorded] == [(), ()]
    assert set(b"".join(asked).hex()) <= set(ASK.hex())
    assert not sink.quarantined


async def test_temperature_that_waited_for_us_is_stored_once_over_two_links(
    host: PtyHost,
) -> None:
    module, sink, driver = Module(), MemorySink(), build("suretemp", {})
    module.play(State.FINAL, FEVER)
    for _ in range(2):
        host.plug()
        async with session(host, sink, module.answer, driver) as asked:
            await next_answers(asked, 6)
    assert [each.quality for each in sink.recorded] == [("found-final",)]


async def test_errors_and_not_ready_are_never_stored(host: PtyHost) -> None:
    module, sink = Module(), MemorySink()
    async with session(host, sink, module.answer) as asked:
        for state in set(State) - {State.FINAL, State.FINAL_POSITION}:
            module.play(state, FEVER)
            await next_answers(asked)
        module.play(State.FINAL, FEVER, error=7)
        await next_answers(asked)
    assert sink.recorded == []


async def test_answer_with_a_wrong_checksum_is_set_aside_and_asked_for_again(
    host: PtyHost,
) -> None:
    module, sink = Module(), MemorySink()
    module.play(State.FINAL, FEVER)
    spoiled = iter([True])

    def say(heard: bytes) -> bytes:
        raw = bytearray(module.answer(heard))
        if raw and next(spoiled, False):
            raw[9] ^= 0x40
        return bytes(raw)

    async with session(host, sink, say):
        await until(lambda: sink.recorded)
    assert [str(each.values[0].value) for each in sink.recorded] == ["38.50"]
    assert "wrong checksum" in sink.quarantined[0][1]


async def test_cable_without_a_thermometer_says_that_nothing_answers(host: PtyHost) -> None:
    sink = MemorySink()
    async with session(host, sink, lambda _: b""):
        await until(lambda: any("does not answer" in detail for _, detail in sink.reports))
    assert sink.recorded == []


async def test_echo_of_our_question_is_no_answer(host: PtyHost) -> None:
    sink = MemorySink()
    async with session(host, sink, lambda heard: heard):
        await until(lambda: any("does not answer" in detail for _, detail in sink.reports))


async def test_stranger_that_speaks_for_ever_is_a_fault(host: PtyHost) -> None:
    sink = MemorySink()
    link = SerialLink.open(str(host.path), 9600)
    running = asyncio.create_task(build("suretemp", {}).run(link, sink))
    speaking = asyncio.create_task(host.say(b"\x55" * 100_000))
    with pytest.raises(ProtocolFault, match="not a SureTemp Plus"):
        await asyncio.wait_for(running, 30)
    host.unplug()
    await asyncio.wait({speaking})
