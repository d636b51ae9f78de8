"""The contract notices what it is there for: each driver here breaks one rule."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

import pytest

from drivers.base import Decoded, Measurement, RawFrame
from drivers.errors import ProtocolFault, Unavailable
from tests.contract import fuzz
from tests.contract.cases import Case, cases
from tests.contract.links import FakeCamera, FakeSerial, Harness
from tests.contract.sinks import MemorySink
from tests.contract.test_contract_drivers import require_clean

if TYPE_CHECKING:
    from drivers.base import DecodeFunction, Sink

FRAMES = [b"first frame", b"second frame"]


class Sound:
    """Reads until the link is lost, keeps and records each piece, tells the device, lets it go."""

    async def run(self, link: object, sink: Sink) -> None:
        serial = cast("FakeSerial", link)
        try:
            while True:
                await self.read(serial, sink)
        finally:
            serial.close()

    async def read(self, serial: FakeSerial, sink: Sink) -> None:
        raw = await serial.read()
        kept = await sink.keep(RawFrame("sound", raw))
        await sink.record(Measurement("kind", raw), (kept,))
        await serial.write(b"got it")


class TellsTooSoon(Sound):
    async def read(self, serial: FakeSerial, sink: Sink) -> None:
        raw = await serial.read()
        await serial.write(b"got it")
        await sink.record(Measurement("kind", raw))


class LeavesATask(Sound):
    async def read(self, serial: FakeSerial, sink: Sink) -> None:
        self.forgotten = asyncio.create_task(asyncio.sleep(3600))
        await super().read(serial, sink)


class HoldsTheDevice(Sound):
    async def run(self, link: object, sink: Sink) -> None:
        while True:
            await self.read(cast("FakeSerial", link), sink)


async def test_sound_driver_passes_at_every_turn() -> None:
    whole = await Harness("serial", FRAMES).visit(Sound())
    assert b"".join(reading.raw for reading in whole.sink.recorded) == b"".join(FRAMES)
    assert whole.link.acknowledged == list(range(1, len(whole.sink.recorded) + 1))
    require_clean(whole)
    for turn in range(1, whole.turns + 1):
        lost = await Harness("serial", FRAMES).visit(Sound(), lose_at=turn)
        assert isinstance(lost.error, Unavailable)
        require_clean(lost)
        cancelled = await Harness("serial", FRAMES).visit(Sound(), cancel_at=turn)
        assert isinstance(cancelled.error, asyncio.CancelledError)
        require_clean(cancelled)


@pytest.mark.parametrize(
    ("driver", "words"),
    [
        (TellsTooSoon, "acknowledged before"),
        (LeavesATask, "left tasks running"),
        (HoldsTheDevice, "let the device go"),
    ],
)
async def test_broken_driver_is_noticed(driver: type[Sound], words: str) -> None:
    visit = await Harness("serial", FRAMES).visit(driver())
    with pytest.raises(AssertionError, match=words):
        require_clean(visit)
    for task in asyncio.all_tasks() - {cast("asyncio.Task[None]", asyncio.current_task())}:
        task.cancel()


async def test_every_turn_loses_the_link_at_another_await() -> None:
    whole = await Harness("serial", FRAMES).visit(Sound())
    heard = [
        len((await Harness("serial", FRAMES).visit(Sound(), lose_at=turn)).link.delivered)
        for turn in range(1, whole.turns + 1)
    ]
    assert heard == sorted(heard)
    assert heard[0] == 0
    assert heard[-1] == len(whole.link.delivered)


async def test_silent_sink_answers_only_when_it_is_told_to() -> None:
    sink = MemorySink(silent=frozenset({"keep"}))
    keeping = asyncio.create_task(sink.keep(RawFrame("source", b"raw")))
    await asyncio.sleep(0.05)
    assert not keeping.done()
    assert sink.kept == []
    sink.answering.set()
    assert await keeping == 0
    assert sink.unsettled == {0}
    await sink.record(Measurement("kind", b"raw"), (0,))
    assert sink.unsettled == set()


async def test_person_at_the_camera_counts_only_pictures_that_were_given() -> None:
    class Liar:
        async def snapshot(self) -> None:
            await asyncio.sleep(0)

    camera = FakeCamera(FRAMES, MemorySink())
    person = camera.attend(cast("Sound", Liar()))
    while not camera.acknowledged:  # noqa: ASYNC110 - a list has no event
        await asyncio.sleep(0)
    person.cancel()
    assert camera.acknowledged[0] == 0


@pytest.mark.parametrize(
    "decode",
    [
        lambda raw, name: {}[raw],  # noqa: ARG005 - a decoder's shape
        lambda raw, name: None,  # noqa: ARG005
        lambda raw, name: Decoded(()),  # noqa: ARG005
        lambda raw, name: Decoded((Measurement("strange-kind", raw),)),  # noqa: ARG005
        lambda raw, name: (_ for _ in ()).throw(ProtocolFault("no sentence")),  # noqa: ARG005
    ],
    ids=["bug", "nothing", "no reading", "strange kind", "no sentence"],
)
def test_broken_codec_is_noticed(monkeypatch: pytest.MonkeyPatch, decode: DecodeFunction) -> None:
    def broken(driver: str, source: str) -> object:
        assert driver
        assert source
        return lambda raw, *, name=None: decode(raw, name=name)

    monkeypatch.setattr(fuzz, "decoder", broken)
    case: Case = cases("dermatoscope")[-1]
    with pytest.raises((AssertionError, KeyError)):
        fuzz.judge(case, case.raw)
