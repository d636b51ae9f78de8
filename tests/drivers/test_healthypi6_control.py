"""The HealthyPi 6's second port: the framing of SMP, the one command of it, and a clock's drift."""

from __future__ import annotations

import asyncio
import os
from random import Random
from typing import TYPE_CHECKING

import pytest

from drivers.card import build
from drivers.errors import Misconfigured, ProtocolFault, Unavailable
from drivers.healthypi6 import driver as driver_module
from drivers.healthypi6.drift import Drift
from drivers.healthypi6.measurement import device_at, stored_form
from drivers.healthypi6.simulator import simulate
from drivers.healthypi6.smp import (
    GROUP,
    LONGEST_LINE,
    LONGEST_PACKET,
    STREAM_START,
    Op,
    Packet,
    Reader,
    answers,
    encode,
    require_done,
    stream_start,
)
from drivers.healthypi6.tape import Finish, Tape
from drivers.lab.pty import PtyHost
from drivers.links.serial import SerialLink
from tests.contract.sinks import MemorySink

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

DONE = Packet(Op.WRITTEN, GROUP, STREAM_START)


def test_start_command_is_the_bytes_that_the_pages_prescribe() -> None:
    # Header: op 2, flags 0, length 10, group 0040, sequence 0, command 20. Map of two pairs:
    # text "ch" 3, text "ann" 0. Length 20 (18 and the CRC); CRC-16/XMODEM of the 18 bytes.
    packet = bytes.fromhex("0200000a00400020" + "a2" + "62636803" + "63616e6e00")
    assert _crc(b"123456789") == 0x31C3
    framed = len(packet + b"  ").to_bytes(2, "big") + packet + _crc(packet).to_bytes(2, "big")
    line = encode(stream_start())
    assert line[:2] == b"\x06\x09"
    assert line[-1:] == b"\n"
    assert _unbase64(line[2:-1]) == framed


def _crc(raw: bytes) -> int:
    """CRC-16 by its definition: polynomial 1021, start 0, bit by bit."""
    register = 0
    for byte in raw:
        register ^= byte << 8
        for _ in range(8):
            register = (register << 1) ^ (0x1021 if register & 0x8000 else 0)
    return register & 0xFFFF


def _unbase64(text: bytes) -> bytes:
    alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    number = 0
    for letter in text.rstrip(b"="):
        number = number << 6 | alphabet.index(letter)
    spare = text.count(b"=") * 2
    size = (len(text.rstrip(b"=")) * 6 - spare) // 8
    return (number >> spare).to_bytes(size, "big")


@pytest.mark.parametrize("size", [0, 1, 60, 80, 81, 200, LONGEST_PACKET - 16])
def test_packets_of_any_length_come_through_in_short_lines_and_any_cuts(size: int) -> None:
    chance = Random(size)
    packet = Packet(Op.WRITTEN, GROUP, 7, 3, chance.randbytes(size))
    raw = encode(packet)
    lines = raw.splitlines(keepends=True)
    assert all(len(line) <= LONGEST_LINE for line in lines)
    assert all(line[:2] == b"\x04\x14" for line in lines[1:])
    reader = Reader()
    found = [each for at in range(len(raw)) for each in reader.feed(raw[at : at + 1])]
    assert found == [packet]


def test_lines_of_a_console_between_packets_are_passed_over() -> None:
    raw = b"[00:01] <inf> hpi: hello\r\n" + encode(DONE) + b"\x04\x14AAAA\n" + encode(DONE)
    assert Reader().feed(raw) == [DONE, DONE]


def test_every_bit_flip_of_a_packet_gives_no_other_packet() -> None:
    raw = encode(Packet(Op.WRITTEN, GROUP, STREAM_START, body=b"\xa1\x62rc\x0b"))
    (sent,) = Reader().feed(raw)
    for at in range(len(raw)):
        for bit in range(8):
            flipped = bytearray(raw)
            flipped[at] ^= 1 << bit
            assert Reader().feed(bytes(flipped)) in ([], [sent])


def test_noise_is_no_packet_and_is_not_held_for_ever() -> None:
    reader = Reader()
    chance = Random(5)
    for _ in range(300):
        assert reader.feed(chance.randbytes(1000)) == []
    for _ in range(3000):
        reader.feed(b"\x06\x09" + b"A" * 120 + b"\n\x04\x14" + b"A" * 120)
    assert len(reader._line) < 10_000
    assert len(reader._framed or b"") < 10_000


@pytest.mark.parametrize("body", ["a0", "bfff", "a162726300"])
def test_empty_answer_is_success(body: str) -> None:
    require_done(Packet(Op.WRITTEN, GROUP, STREAM_START, body=bytes.fromhex(body)))


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("a16272630b", "locked"),
        ("bf6272630bff", "locked"),
        ("a162726303", "refuses"),
        ("a163657272a26567726f757018406272631901 02".replace(" ", ""), "refuses"),
        ("", "refuses"),
    ],
)
def test_error_answer_is_told_to_a_person(body: str, words: str) -> None:
    with pytest.raises(ProtocolFault, match=words):
        require_done(Packet(Op.WRITTEN, GROUP, STREAM_START, body=bytes.fromhex(body)))


def test_answers_of_other_commands_are_none_of_ours() -> None:
    assert answers(DONE)
    assert not answers(Packet(Op.WRITTEN, 0, STREAM_START))
    assert not answers(stream_start())


@pytest.fixture
async def control(tmp_path: Path) -> AsyncIterator[PtyHost]:
    made = PtyHost(tmp_path / "control")
    made.plug()
    yield made
    made.unplug()


async def answering(host: PtyHost, heard: list[bytes], answer: bytes) -> None:
    """The device's end of the second port: hear a line, say the answer."""
    while host._ends is not None:
        await asyncio.sleep(0.005)
        try:
            heard.append(os.read(host._ends[0], 4096) if host._ends else b"")
        except BlockingIOError:
            continue
        await host.say(answer)


async def until(condition: Callable[[], object]) -> None:
    for _ in range(3000):
        if condition():
            return
        await asyncio.sleep(0.01)
    pytest.fail("what was waited for never came")


async def test_driver_starts_the_stream_and_reads_it(control: PtyHost, tmp_path: Path) -> None:
    stream, sink = PtyHost(tmp_path / "stream"), MemorySink()
    heard: list[bytes] = []
    stream.plug()
    device = asyncio.create_task(answering(control, heard, b"console\r\n" + encode(DONE)))
    driver = build("healthypi6", {"control": str(control.path)})
    link = SerialLink.open(str(stream.path), 115200)
    running = asyncio.create_task(driver.run(link, sink))
    await until(lambda: sink.notes.get("stream-not-started") == "")
    assert b"".join(heard) == encode(stream_start())
    for _, raw in simulate(0.5):
        await stream.say(raw)
    await until(lambda: ("recording", "") in sink.reports)
    stream.unplug()
    with pytest.raises(Unavailable):
        await running
    assert len(sink.recorded) == 1
    device.cancel()
    await asyncio.wait({device})


@pytest.mark.parametrize(
    ("body", "words"), [(b"\xa1\x62rc\x0b", "locked"), (b"\xa1\x62rc\x08", "refuses")]
)
async def test_refused_start_is_said_and_the_stream_is_read_all_the_same(
    control: PtyHost, tmp_path: Path, body: bytes, words: str
) -> None:
    stream, sink = PtyHost(tmp_path / "stream"), MemorySink()
    stream.plug()
    refusal = encode(Packet(Op.WRITTEN, GROUP, STREAM_START, body=body))
    device = asyncio.create_task(answering(control, [], refusal))
    link = SerialLink.open(str(stream.path), 115200)
    driver = build("healthypi6", {"control": str(control.path)})
    running = asyncio.create_task(driver.run(link, sink))
    await until(lambda: words in sink.notes.get("stream-not-started", ""))
    for _, raw in simulate(0.5):
        await stream.say(raw)
    await until(lambda: ("recording", "") in sink.reports)
    stream.unplug()
    with pytest.raises(Unavailable):
        await running
    assert len(sink.recorded) == 1
    device.cancel()
    await asyncio.wait({device})


async def test_second_port_that_is_away_or_dumb_is_said(
    control: PtyHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Unavailable, match="nothing is plugged in"):
        await driver_module.start(str(tmp_path / "absent"))
    monkeypatch.setattr(driver_module, "ANSWER_S", 0.2)
    with pytest.raises(Unavailable, match="no answer"):
        await driver_module.start(str(control.path))


async def test_second_port_that_speaks_for_ever_is_left(control: PtyHost) -> None:
    speaking = asyncio.create_task(control.say(b"~" * 100_000))
    with pytest.raises(ProtocolFault, match="something else"):
        await driver_module.start(str(control.path))
    control.unplug()
    await asyncio.wait({speaking})


@pytest.mark.parametrize(
    "settings", [{"control": 1}, {"control": "ttyACM1"}, {"controls": "/dev/a"}]
)
def test_wrong_settings_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(Misconfigured):
        build("healthypi6", settings)


def drifted(ppm: float, seconds: float, *, jitter: float = 0.04, start: float = 1000.0) -> Drift:
    """Blocks of 32 ms of a clock that runs `ppm` fast, each coming up to `jitter` late."""
    chance, drift = Random(1), Drift()
    for number in range(int(seconds / 0.032)):
        true = number * 0.032
        told = round(true * (1 + ppm / 1e6) * 1000)
        drift.note(4000 + told, start + true + chance.random() * jitter)
    return drift


@pytest.mark.parametrize("ppm", [-2000, -100, 0, 100, 2000])
def test_drift_of_a_clock_is_estimated_through_the_jitter_of_usb(ppm: int) -> None:
    found = drifted(ppm, 300).ppm
    assert found is not None
    assert abs(found - ppm) <= 10


def test_drift_is_not_told_before_a_minute_or_after_a_restart() -> None:
    assert drifted(100, 50).ppm is None
    drift = drifted(100, 300)
    drift.note(4000, 5000.0)
    assert drift.ppm is None


def test_recording_says_the_drift_once_it_is_known() -> None:
    tape = Tape(0.0)
    for second, raw in simulate(125.0):
        tape.feed(raw, second / 1.002)
    made = [act.recording for act in tape.acts if isinstance(act, Finish)]
    assert made[0].drift_ppm is None
    assert abs((made[-1].drift_ppm or 0) - 2000) <= 50
    form = stored_form(made[-1], acquired=None, device=device_at("test"))
    assert form.status == (f"clock-drift-ppm:+{made[-1].drift_ppm}",)
    assert "clock-drifts" in form.quality
