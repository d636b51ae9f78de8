"""Bench inputs and the HealthyPi v4: one framer by a table, and sessions on real ports."""

from __future__ import annotations

import asyncio
from importlib import import_module
from random import Random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.base import Decoded, readings_of
from drivers.bench.driver import tape
from drivers.bench.framer import Frame, Framer
from drivers.bench.layout import AD8232, CYTON, HEALTHYPI4, OLIMEX, Layout, Lines
from drivers.bench.recording import LONGEST_S
from drivers.bench.simulator import encode
from drivers.card import build, card
from drivers.errors import ProtocolFault, Unavailable
from drivers.framing import Skipped
from drivers.healthypi4 import codec as v4_codec
from drivers.healthypi4 import driver as v4_driver
from drivers.healthypi4.simulator import encode as v4
from drivers.lab.pty import PtyHost
from drivers.links.serial import SerialLink
from drivers.tape import Ending, Finish, Keep, SetAside
from tests.contract.sinks import MemorySink

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

BOARDS: dict[str, Layout | Lines] = {"ad8232": AD8232, "olimex": OLIMEX, "cyton": CYTON}
NAMES = [*BOARDS, "healthypi4"]


def stream(name: str, seconds: float) -> list[tuple[float, bytes]]:
    return list(import_module(f"drivers.{name}.simulator").simulate(seconds))


@given(st.lists(st.integers(0, 1023), min_size=6, max_size=6), st.integers(0, 255))
def test_olimex_frames_come_back(samples: list[int], counter: int) -> None:
    raw = encode(OLIMEX, samples, counter)
    assert Framer(OLIMEX).feed(raw) == [Frame(raw, tuple(samples), counter)]


@given(st.lists(st.integers(-(2**23), 2**23 - 1), min_size=8, max_size=8), st.integers(0, 255))
def test_cyton_frames_come_back(samples: list[int], counter: int) -> None:
    raw = encode(CYTON, samples, counter)
    assert Framer(CYTON).feed(raw) == [Frame(raw, tuple(samples), counter)]


@given(st.lists(st.integers(0, 1023), max_size=1))
def test_ad8232_lines_come_back(samples: list[int]) -> None:
    raw = encode(AD8232, samples)
    assert Framer(AD8232).feed(raw) == [Frame(raw, tuple(samples))]


@pytest.mark.parametrize("layout", [*BOARDS.values(), HEALTHYPI4], ids=lambda each: each.name)
def test_every_byte_of_noise_leaves_once_and_little_is_held(layout: Layout | Lines) -> None:
    framer, chance = Framer(layout), Random(3)
    sent = chance.randbytes(50_000) + encode(AD8232, [7]) * 3
    left = b""
    for at in range(0, len(sent), 777):
        left += b"".join(event.raw for event in framer.feed(sent[at : at + 777]))
        assert len(framer._buffer) < 64
    assert left + b"".join(event.raw for event in framer.close()) == sent


@pytest.mark.parametrize("name", BOARDS)
def test_recordings_are_marked_and_hold_no_value(name: str) -> None:
    strip = tape(BOARDS[name], 0.0)
    for second, raw in stream(name, LONGEST_S + 2.0):
        strip.feed(raw, second)
    strip.end(Ending.CUT, LONGEST_S + 2.0)
    forms = [
        import_module("drivers.bench.recording").stored_form(act.recording)
        for act in strip.acts
        if isinstance(act, Finish)
    ]
    assert [each.quality for each in forms] == [
        ("bench-input", "not-for-patients", "continues"),
        ("bench-input", "not-for-patients", "cut-short"),
    ]
    assert all(each.kind == "bench-signal" and not each.values for each in forms)
    assert all(not each.blobs and each.duration for each in forms)
    kept = b"".join(act.raw for act in strip.acts if isinstance(act, Keep))
    assert kept == b"".join(each.raw for each in forms)


def test_card_of_every_bench_input_says_what_it_is_not_for() -> None:
    for name in BOARDS:
        assert "not for patients" in card(name).notes
        assert card(name).title.startswith("Bench input")
        assert set(card(name).kinds) == {"bench-signal"}


def test_bench_signal_makes_no_clinical_resource() -> None:
    from config.codes import PANELS  # noqa: PLC0415

    assert "bench-signal" not in PANELS


def test_line_that_was_joined_in_the_middle_is_no_sample() -> None:
    strip = tape(AD8232, 0.0)
    strip.feed(b"23\r\n512\r\n", 0.0)
    strip.end(Ending.CUT, 0.1)
    (done,) = (act.recording for act in strip.acts if isinstance(act, Finish))
    assert [frame.samples for frame in done.frames] == [(512,)]
    assert not [act for act in strip.acts if isinstance(act, SetAside)]


def test_keystrokes_of_a_scanner_are_set_aside_and_named() -> None:
    strip = tape(AD8232, 0.0)
    strip.feed(b"\n512\r\n6111234567890\r\n", 0.0)
    assert strip.unreadable
    strip.end(Ending.CUT, 0.1)
    asides = [act for act in strip.acts if isinstance(act, SetAside)]
    assert "barcode scanner" in asides[-1].reason


@pytest.mark.parametrize("layout", BOARDS.values(), ids=lambda each: each.name)
def test_garbage_for_ever_is_a_fault_in_a_plain_sentence(layout: Layout | Lines) -> None:
    strip = tape(layout, 0.0)
    for _ in range(60):
        strip.feed(b"\xfe" * 1000, 0.0)
    with pytest.raises(ProtocolFault, match="is not what was bound"):
        strip.feed(b"\xfe" * 10_000, 0.0)


def test_constants_of_the_v4_are_never_read() -> None:
    """Whatever stands where a blood pressure would, nothing that is said changes."""
    plain = bytearray(v4(heart_rate=72, saturation=97))
    expected = readings_of(v4_codec.decode(bytes(plain)))[0].values
    for at in (5 + 17, 5 + 18):
        for value in range(256):
            other = bytearray(plain)
            other[at] = value
            assert readings_of(v4_codec.decode(bytes(other)))[0].values == expected
    codes = {each.code for each in expected}
    assert codes.isdisjoint({"150021", "150022", "150023", "150020"})
    assert {each.code for each in card("healthypi4").measures}.isdisjoint({"150021", "150022"})


def test_v4_on_nobody_makes_no_recording() -> None:
    strip = v4_driver.tape(0.0)
    for number in range(2000):
        strip.feed(v4(temperature=3350, status=0x1F), number / 125)
    strip.end(Ending.CUT, 20.0)
    assert not strip.acts


def test_v4_recovers_what_a_crash_left() -> None:
    strip = v4_driver.tape(0.0)
    for second, raw in stream("healthypi4", 5.0):
        strip.feed(raw, second)
    kept = [act.raw for act in strip.acts if isinstance(act, Keep)]
    outcome = v4_codec.recover(kept)
    assert isinstance(outcome, Decoded)
    assert outcome.readings[0].raw == b"".join(kept)
    assert "cut-short" in outcome.readings[0].quality


def test_v4_frame_behind_a_false_start_is_found() -> None:
    events = v4_codec.Framer().feed(HEALTHYPI4.sync + v4(heart_rate=60))
    assert [type(each) for each in events] == [Skipped, Frame]


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[PtyHost]:
    made = PtyHost(tmp_path / "board")
    made.plug()
    yield made
    made.unplug()


async def until(condition: Callable[[], object]) -> None:
    for _ in range(3000):
        if condition():
            return
        await asyncio.sleep(0.01)
    pytest.fail("what was waited for never came")


@pytest.mark.parametrize("name", NAMES)
async def test_session_on_a_real_port_keeps_and_stores_what_was_said(
    host: PtyHost, name: str
) -> None:
    sink = MemorySink()
    link = SerialLink.open(str(host.path), card(name).baud)
    running = asyncio.create_task(build(name, {}).run(link, sink))
    said = b"".join(raw for _, raw in stream(name, 2.0))
    first = b"0\r\n" if name == "ad8232" else b""  # the line one joins in
    await host.say(first + said)
    await until(lambda: host.heard)
    host.unplug()
    with pytest.raises(Unavailable):
        await asyncio.wait_for(running, 30)
    (reading,) = sink.recorded
    assert reading.raw == said
    assert sorted(sink.settled) == list(range(len(sink.kept)))
    assert b"".join(frame.raw for frame in sink.kept) == said


@pytest.mark.parametrize("name", NAMES)
async def test_real_port_joined_in_the_middle_of_a_frame_sets_nothing_aside(
    host: PtyHost, name: str
) -> None:
    sink = MemorySink()
    link = SerialLink.open(str(host.path), card(name).baud)
    running = asyncio.create_task(build(name, {}).run(link, sink))
    frames = [raw for _, raw in stream(name, 1.0)]
    await host.say(frames[0][1:] + b"".join(frames[1:]))
    await until(lambda: host.heard)
    host.unplug()
    with pytest.raises(Unavailable):
        await asyncio.wait_for(running, 30)
    assert sink.quarantined == []
    assert [each.raw for each in sink.recorded] == [b"".join(frames[1:])]


async def test_cyton_is_told_to_stream(host: PtyHost) -> None:
    import os  # noqa: PLC0415

    link = SerialLink.open(str(host.path), card("cyton").baud)
    running = asyncio.create_task(build("cyton", {}).run(link, MemorySink()))
    heard = bytearray()

    def has_heard() -> bool:
        assert host._ends is not None
        try:
            heard.extend(os.read(host._ends[0], 10))
        except BlockingIOError:
            return False
        return bool(heard)

    await until(has_heard)
    assert bytes(heard) == b"b" == bytes.fromhex(card("cyton").commands[0])
    host.unplug()
    with pytest.raises(Unavailable):
        await asyncio.wait_for(running, 30)


async def test_garbage_at_another_rate_is_said_while_it_lasts(host: PtyHost) -> None:
    sink = MemorySink()
    link = SerialLink.open(str(host.path), card("olimex").baud)
    running = asyncio.create_task(build("olimex", {}).run(link, sink))
    await host.say(Random(1).randbytes(500))
    await until(lambda: any("another rate" in detail for _, detail in sink.reports))
    await host.say(b"".join(raw for _, raw in stream("olimex", 0.2)))
    await until(lambda: ("recording", "") in sink.reports)
    host.unplug()
    with pytest.raises(Unavailable):
        await asyncio.wait_for(running, 30)
    assert sink.quarantined
