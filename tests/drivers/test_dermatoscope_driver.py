from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import pytest

from drivers.card import build
from drivers.dermatoscope.driver import ATTEMPTS, SETTLING, Dermatoscope
from drivers.dermatoscope.simulator import corrupt, lesion, padded, truncated, without_tables
from drivers.errors import Misconfigured, ProtocolFault, Unavailable
from drivers.lab.camera import CameraStream, encode
from drivers.links.camera import CameraLink, check
from tests.contract.sinks import DiskFull, MemorySink

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

FRAMES = [encode(lesion(number, 64, 48)) for number in range(8)]
BROKEN = {
    "truncated": [truncated(each, 40) for each in FRAMES],
    "corrupt": [corrupt(each, 60) for each in FRAMES],
}


@asynccontextmanager
async def watching(
    sink: MemorySink, frames: list[bytes], rate: float = 100
) -> AsyncIterator[tuple[Dermatoscope, CameraStream, asyncio.Task[None]]]:
    driver = Dermatoscope()
    async with CameraStream(frames, rate) as stream:
        run = asyncio.create_task(driver.run(await CameraLink.open(stream.url), sink))
        await until(lambda: bool(sink.reports))
        yield driver, stream, run
        run.cancel()
        await asyncio.wait({run})


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not true():  # noqa: ASYNC110 - what is polled has no event
            await asyncio.sleep(0.01)


def connected(sink: MemorySink) -> bool:
    return ("connected", "") in sink.reports


def test_driver_is_built_from_the_registry() -> None:
    assert isinstance(build("dermatoscope", {}), Dermatoscope)


def test_settings_are_refused() -> None:
    with pytest.raises(Misconfigured, match="remove colour, zoom"):
        build("dermatoscope", {"zoom": 2, "colour": "natural"})


async def test_snapshot_is_a_frame_as_the_camera_sent_it_and_is_stored_when_it_returns() -> None:
    sink = MemorySink()
    async with watching(sink, FRAMES) as (driver, _, _):
        stored = await driver.snapshot()
        assert stored.new
        (picture,) = sink.recorded
    assert picture.raw in FRAMES
    assert [blob.content for blob in picture.blobs] == [picture.raw]


@pytest.mark.parametrize("change", [without_tables, lambda jpeg: padded(without_tables(jpeg), 512)])
async def test_mended_picture_decodes_and_its_raw_frame_is_kept(
    change: Callable[[bytes], bytes],
) -> None:
    frames = [change(each) for each in FRAMES]
    sink = MemorySink()
    async with watching(sink, frames) as (driver, _, _):
        await driver.snapshot()
    (picture,) = sink.recorded
    assert picture.raw in frames
    check(picture.blobs[0].content)
    assert "huffman-tables-inserted" in picture.quality


async def test_nothing_is_kept_unasked() -> None:
    sink = MemorySink()
    async with watching(sink, FRAMES):
        await until(lambda: connected(sink))
        await asyncio.sleep(0.3)
    assert not sink.begun


async def test_frames_before_the_exposure_has_settled_are_never_kept() -> None:
    dark = [without_tables(each) for each in FRAMES[:SETTLING]]
    sink = MemorySink()
    async with watching(sink, dark + FRAMES * 200) as (driver, _, _):
        assert sink.reports[0][0] == "waiting"
        await driver.snapshot()
        assert connected(sink)
    assert sink.recorded[0].raw in FRAMES


async def test_each_who_asks_gets_a_picture_of_their_own() -> None:
    sink = MemorySink()
    async with watching(sink, FRAMES) as (driver, _, _):
        stored = await asyncio.gather(*(driver.snapshot() for _ in range(3)))
    assert len({each.record_id for each in stored}) == 3
    assert len(sink.recorded) == 3


async def test_snapshot_without_a_camera_is_unavailable() -> None:
    with pytest.raises(Unavailable, match="plugged in"):
        await Dermatoscope().snapshot()


async def test_snapshot_does_not_return_before_the_store_has_it() -> None:
    sink = MemorySink(silent=frozenset({"record"}))
    async with watching(sink, FRAMES) as (driver, stream, run):
        asked = asyncio.create_task(driver.snapshot())
        await until(lambda: "record" in sink.begun)
        await asyncio.sleep(0.3)
        assert not asked.done()
        assert not run.done()
        await stream.unplug()
        await asyncio.sleep(0.1)
        assert not asked.done()
        run.cancel()
        with pytest.raises(Unavailable):
            await asked


async def test_error_of_the_store_reaches_who_asked_and_ends_the_run() -> None:
    sink = MemorySink(full=frozenset({"record"}))
    async with watching(sink, FRAMES) as (driver, _, run):
        with pytest.raises(DiskFull):
            await driver.snapshot()
        with pytest.raises(DiskFull):
            await run
        with pytest.raises(Unavailable):
            await driver.snapshot()


async def test_unplugging_while_someone_waits_tells_them_and_ends_the_run() -> None:
    sink = MemorySink()
    async with watching(sink, FRAMES) as (driver, stream, run):
        await until(lambda: connected(sink))
        stream.flowing.clear()
        await asyncio.sleep(0.2)
        asked = asyncio.create_task(driver.snapshot())
        await asyncio.sleep(0.1)
        await stream.unplug()
        with pytest.raises(Unavailable):
            await asked
        with pytest.raises(Unavailable):
            await run
    assert sink.reports[-1][0] == "unavailable"
    assert not sink.begun


async def test_camera_plugged_in_again_is_read_again_by_the_same_driver() -> None:
    sink = MemorySink()
    async with watching(sink, FRAMES) as (driver, stream, run):
        await driver.snapshot()
        await stream.unplug()
        with pytest.raises(Unavailable):
            await run
        await stream.plug()
        again = asyncio.create_task(driver.run(await CameraLink.open(stream.url), sink))
        await until(lambda: sink.state in {"waiting", "connected"})
        await driver.snapshot()
        again.cancel()
        await asyncio.wait({again})
    assert len(sink.recorded) == 2


@pytest.mark.parametrize("fault", BROKEN)
async def test_broken_frame_is_quarantined_and_the_next_one_taken(fault: str) -> None:
    sink = MemorySink()
    frames = [each for pair in zip(FRAMES, BROKEN[fault], strict=True) for each in pair]
    async with watching(sink, frames, rate=30) as (driver, _, _):
        for _ in range(50):
            with suppress(ProtocolFault):  # a busy machine may show it broken frames only
                await driver.snapshot()
            if sink.quarantined and sink.recorded:
                break
    assert sink.recorded
    assert {picture.raw for picture in sink.recorded} <= set(FRAMES)
    raws = [raw for raw, _ in sink.quarantined]
    assert raws
    assert set(raws) <= set(BROKEN[fault])


@pytest.mark.parametrize("fault", BROKEN)
async def test_camera_with_broken_frames_only_is_told_of_and_stays_connected(fault: str) -> None:
    sink = MemorySink()
    async with watching(sink, BROKEN[fault]) as (driver, _, run):
        with pytest.raises(ProtocolFault) as caught:
            await driver.snapshot()
        assert len(sink.quarantined) == ATTEMPTS
        assert {reason for _, reason in sink.quarantined} == {caught.value.reason}
        with pytest.raises(ProtocolFault):
            await driver.snapshot()
        assert not run.done()
    assert not sink.recorded


async def test_one_who_no_longer_waits_gets_no_picture_kept() -> None:
    sink = MemorySink()
    async with watching(sink, FRAMES) as (driver, stream, _):
        await until(lambda: connected(sink))
        stream.flowing.clear()
        await asyncio.sleep(0.2)
        asked = asyncio.create_task(driver.snapshot())
        await asyncio.sleep(0.1)
        asked.cancel()
        stream.flowing.set()
        await driver.snapshot()
    assert len(sink.recorded) == 1


async def test_cancelled_run_turns_away_who_waits_and_lets_the_camera_go() -> None:
    sink = MemorySink()
    async with watching(sink, FRAMES) as (driver, stream, run):
        await until(lambda: connected(sink))
        stream.flowing.clear()
        await asyncio.sleep(0.2)
        asked = asyncio.create_task(driver.snapshot())
        await asyncio.sleep(0.1)
        stream.flowing.set()
        run.cancel()
        await asyncio.wait({run})
        assert run.cancelled()
        with pytest.raises(Unavailable):
            await asked
        await until(lambda: stream.viewers == 0)
