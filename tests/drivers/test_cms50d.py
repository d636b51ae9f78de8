"""Contec clips: one on the air, one on its serial cable; a stay of a finger is one reading."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from drivers.cms50d_bt import codec as bt
from drivers.cms50d_bt import simulator as bt_clip
from drivers.cms50d_bt.driver import PROFILE, SPEAK_UP
from drivers.cms50d_plus import codec, driver, simulator
from drivers.cms50d_plus.driver import STRANGE, build
from drivers.dialogue import Dialogue, Limits
from drivers.errors import ProtocolFault, Unavailable
from drivers.lab.pty import PtyHost
from drivers.links.serial import SerialLink
from tests.contract.sinks import MemorySink
from tests.drivers.test_dialogue import Device

if TYPE_CHECKING:
    from pathlib import Path


class Stream:
    """A serial line that says `chunks`, is then silent for `silences` turns, and is unplugged."""

    name = "port"

    def __init__(self, chunks: list[bytes], silences: int = 0) -> None:
        self.chunks = chunks
        self.silences = silences
        self.asked: list[bytes] = []
        self.closed = False

    async def read(self) -> bytes:
        if self.chunks:
            return self.chunks.pop(0)
        if self.silences:
            self.silences -= 1
            await asyncio.sleep(3600)
        raise Unavailable(self.name, "it was unplugged")

    async def write(self, content: bytes) -> None:
        self.asked.append(content)

    def close(self) -> None:
        self.closed = True


async def heard(stream: Stream, sink: MemorySink) -> None:
    with pytest.raises(Unavailable):
        await build({}).run(stream, sink)
    assert stream.closed


async def test_each_stay_of_a_finger_is_one_reading_however_it_is_cut() -> None:
    first, second = (list(simulator.stay(seed=seed, packets=120)) for seed in (1, 2))
    whole = b"".join([*first, *second])
    sink = MemorySink()
    await heard(Stream([whole[at : at + 7] for at in range(0, len(whole), 7)]), sink)
    assert [each.raw for each in sink.recorded] == [first[-2], second[-2]]
    assert sink.quarantined == []
    assert ("connected", "") in sink.reports


async def test_finger_that_is_in_when_the_cable_goes_is_a_reading() -> None:
    packets = list(simulator.stay(seed=1, packets=9))[:-1]
    sink = MemorySink()
    await heard(Stream(list(packets)), sink)
    assert [each.raw for each in sink.recorded] == [packets[-1]]


async def test_silent_clip_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "ASK_EVERY_S", 0.01)
    stream = Stream([], silences=3)
    await heard(stream, MemorySink())
    assert stream.asked == [driver.SPEAK_UP] * 4


async def test_wave_without_values_is_no_reading() -> None:
    sink = MemorySink()
    await heard(Stream([codec.values(97, 65, codec.WAVE_ONLY)] * 50), sink)
    assert sink.recorded == []
    assert sink.quarantined == []


async def test_other_device_on_the_port_is_said_and_what_it_says_is_kept() -> None:
    sink = MemorySink()
    with pytest.raises(ProtocolFault, match="not a CMS50D"):
        await build({}).run(Stream([b"A" * 1024] * 5), sink)
    assert sum(len(raw) for raw, _ in sink.quarantined) > STRANGE


async def test_clip_on_a_pseudo_terminal(tmp_path: Path) -> None:
    sink = MemorySink()
    host = PtyHost(tmp_path / "port")
    host.plug()
    packets = list(simulator.stay(seed=1, packets=30))
    async with asyncio.timeout(60):
        run = asyncio.create_task(build({}).run(SerialLink.open(str(host.path), 115200), sink))
        await host.say(b"".join(packets))
        while not sink.recorded:  # noqa: ASYNC110 - a sink has no event for it
            await asyncio.sleep(0.01)
        run.cancel()
        await asyncio.wait({run})
    host.unplug()
    assert [each.raw for each in sink.recorded] == [packets[-2]]


async def test_clip_on_the_air_is_told_to_speak_and_gives_one_reading_a_stay() -> None:
    packets = list(bt_clip.stay(seed=1, seconds=8))
    device = Device(lambda word: packets if word == SPEAK_UP else ())
    await Dialogue("cms50d-bt", PROFILE, limits=Limits(answer=0.5, idle=0.1)).run(
        device, device.sink
    )
    assert device.asked == [SPEAK_UP]
    assert [each.raw for each in device.sink.recorded] == [packets[-2]]
    assert bt.decode(packets[-2])
