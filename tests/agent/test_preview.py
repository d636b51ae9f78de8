"""The live picture: frames untouched, slow viewers skipped, and never a snapshot delayed."""

from __future__ import annotations

import asyncio
import shutil
import stat
from contextlib import asynccontextmanager, closing
from typing import TYPE_CHECKING

import pytest

from agent import preview
from agent.board import Board, DeviceState
from agent.control import CantListen
from agent.stations import Stations
from agent.store.store import Store
from config.model import Device, Settings, Unit
from drivers.dermatoscope.driver import Dermatoscope
from drivers.dermatoscope.simulator import lesion, without_tables
from drivers.errors import Misconfigured, Unavailable
from drivers.lab.camera import CameraStream, encode
from drivers.links.camera import CameraLink
from tests.contract.sinks import MemorySink

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

FRAMES = [without_tables(encode(lesion(number, 64, 48))) for number in range(8)]
LARGE = 4 << 20


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not true():  # noqa: ASYNC110 - what is polled has no event
            await asyncio.sleep(0.01)


@asynccontextmanager
async def serving(
    folder: Path, next_frame: Callable[[str], Awaitable[bytes]]
) -> AsyncIterator[str]:
    place = folder / preview.SOCKET
    server = asyncio.create_task(preview.serve(folder, next_frame))
    await until(place.exists)
    await until(lambda: stat.S_IMODE(place.stat().st_mode) == 0o660)
    yield str(place)
    server.cancel()
    await asyncio.wait({server})
    assert not place.exists()


@asynccontextmanager
async def watching(sink: MemorySink) -> AsyncIterator[Dermatoscope]:
    driver = Dermatoscope()
    async with CameraStream(FRAMES, 100) as stream:
        run = asyncio.create_task(driver.run(await CameraLink.open(stream.url), sink))
        await until(lambda: ("connected", "") in sink.reports)
        yield driver
        run.cancel()
        await asyncio.wait({run})


class Viewer:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def ask(cls, place: str, request: bytes) -> Viewer:
        viewer = cls(*await asyncio.open_unix_connection(place, limit=1 << 16))
        viewer.writer.write(request)
        await viewer.writer.drain()
        return viewer

    async def head(self) -> bytes:
        async with asyncio.timeout(30):
            return await self.reader.readuntil(b"\r\n\r\n")

    async def part(self) -> bytes:
        head = await self.head()
        assert head.startswith(b"--qafila-frame\r\nContent-Type: image/jpeg\r\n")
        size = int(head.split(b"Content-Length: ")[1].split(b"\r\n")[0])
        async with asyncio.timeout(30):
            frame = await self.reader.readexactly(size)
            assert await self.reader.readexactly(2) == b"\r\n"
        return frame

    async def rest(self) -> bytes:
        async with asyncio.timeout(30):
            return await self.reader.read()

    async def leave(self) -> None:
        self.writer.close()
        await asyncio.gather(self.writer.wait_closed(), return_exceptions=True)


def only(driver: Dermatoscope) -> Callable[[str], Awaitable[bytes]]:
    async def next_frame(name: str) -> bytes:
        if name != "box2-camera":
            raise Misconfigured(name, "no device is called so: box2-camera")
        return await driver.next_frame()

    return next_frame


GET = b"GET /box2-camera HTTP/1.0\r\nHost: unit\r\n\r\n"


async def test_viewer_is_given_the_cameras_own_bytes_frame_after_frame(tmp_path: Path) -> None:
    sink = MemorySink()
    async with watching(sink) as driver, serving(tmp_path, only(driver)) as place:
        viewer = await Viewer.ask(place, GET)
        head = await viewer.head()
        assert head.startswith(b"HTTP/1.0 200 OK\r\n")
        assert b"multipart/x-mixed-replace; boundary=qafila-frame" in head
        seen = [await viewer.part() for _ in range(12)]
        await viewer.leave()
    assert set(seen) <= set(FRAMES)
    assert len(set(seen)) > 1
    assert sink.begun == []


async def test_stalled_viewers_delay_neither_snapshots_nor_other_viewers(tmp_path: Path) -> None:
    sink = MemorySink()
    async with watching(sink) as driver, serving(tmp_path, only(driver)) as place:
        stalled = [await Viewer.ask(place, GET) for _ in range(3)]
        quick = await Viewer.ask(place, GET)
        await quick.head()
        for _ in range(20):
            await quick.part()
            await driver.snapshot()
        for each in (*stalled, quick):
            await each.leave()
    assert len(sink.recorded) == 20


async def test_slow_viewer_misses_frames_and_memory_holds_one(tmp_path: Path) -> None:
    asked = 0

    async def next_frame(_: str) -> bytes:
        nonlocal asked
        await asyncio.sleep(0)
        asked += 1
        return asked.to_bytes(4, "big") * (LARGE // 4)

    async with serving(tmp_path, next_frame) as place:
        viewer = await Viewer.ask(place, GET)
        await until(lambda: asked >= 1)
        await asyncio.sleep(0.3)
        assert asked == 1
        await viewer.head()
        assert (await viewer.part())[:4] == (1).to_bytes(4, "big")
        await until(lambda: asked >= 2)
        await viewer.leave()


async def test_viewer_that_takes_nothing_is_let_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preview, "TAKING_S", 0.05)

    async def next_frame(_: str) -> bytes:
        await asyncio.sleep(0)
        return bytes(LARGE)

    async with serving(tmp_path, next_frame) as place:
        viewer = await Viewer.ask(place, GET)
        await asyncio.sleep(0.3)
        assert len(await viewer.rest()) < LARGE
        await viewer.leave()


@pytest.mark.parametrize(
    ("request_line", "status", "words"),
    [
        (b"GET /no-such HTTP/1.0\r\n\r\n", b"404", b"no device is called so"),
        (b"GET /../etc/passwd HTTP/1.0\r\n\r\n", b"400", b"GET /<device>"),
        (b"POST /box2-camera HTTP/1.0\r\n\r\n", b"400", b"GET /<device>"),
        (b"\x16\x03\x01 not http\r\n\r\n", b"400", b"GET /<device>"),
        (b"\r\n", b"400", b"GET /<device>"),
    ],
)
async def test_wrong_question_is_answered_in_a_sentence(
    tmp_path: Path, request_line: bytes, status: bytes, words: bytes
) -> None:
    async with serving(tmp_path, only(Dermatoscope())) as place:
        viewer = await Viewer.ask(place, request_line)
        said = await viewer.rest()
        await viewer.leave()
    assert said.startswith(b"HTTP/1.0 " + status)
    assert words in said


async def test_camera_that_is_away_is_said_and_one_that_goes_ends_the_picture(
    tmp_path: Path,
) -> None:
    left = [b"\xff\xd8 one"]

    async def next_frame(name: str) -> bytes:
        await asyncio.sleep(0)
        if not left:
            raise Unavailable(name, "it was unplugged")
        return left.pop()

    async with serving(tmp_path, next_frame) as place:
        viewer = await Viewer.ask(place, GET)
        await viewer.head()
        assert await viewer.part() == b"\xff\xd8 one"
        assert await viewer.rest() == b""
        late = await Viewer.ask(place, GET)
        assert (await late.rest()).startswith(b"HTTP/1.0 503")
        for each in (viewer, late):
            await each.leave()


async def test_endless_headers_and_silent_callers_are_let_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preview, "ASKING_S", 0.1)
    async with serving(tmp_path, only(Dermatoscope())) as place:
        silent = await Viewer.ask(place, b"GET /box2")
        endless = await Viewer.ask(place, GET[:-2] + b"x: y\r\n" * 4000)
        for each in (silent, endless):
            await asyncio.gather(each.rest(), return_exceptions=True)
            assert each.reader.at_eof() or each.reader.exception()
            await each.leave()


async def test_more_viewers_than_there_may_be_are_turned_away(tmp_path: Path) -> None:
    async with watching(MemorySink()) as driver, serving(tmp_path, only(driver)) as place:
        viewers = [await Viewer.ask(place, GET) for _ in range(preview.VIEWERS_MAX)]
        for each in viewers:
            assert (await each.head()).startswith(b"HTTP/1.0 200")
        one_more = await Viewer.ask(place, GET)
        assert (await one_more.head()).startswith(b"HTTP/1.0 503")
        for each in (*viewers, one_more):
            await each.leave()


async def test_folder_that_cannot_be_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CantListen, match=r"unit\.runtime"):
        await preview.serve(tmp_path / "file", only(Dermatoscope()))


async def test_stations_give_the_frames_of_the_camera_that_is_named(tmp_path: Path) -> None:
    camera = Device(name="box2-camera", driver="dermatoscope", at="/dev/video0")
    settings = Settings(unit=Unit(name="unit-1"), devices=(camera,))
    board = Board()
    board.devices["box2-camera"] = DeviceState("dermatoscope", None, "/dev/video0")
    with closing(Store.open(tmp_path, "0" * 96, "unit-1", "simulated")) as store:
        stations = Stations(store, board, settings)
        with pytest.raises(Misconfigured, match="box2-camera"):
            await stations.next_frame("no-such")
        with pytest.raises(Unavailable):
            await stations.next_frame("box2-camera")
        async with watching(MemorySink()) as driver:
            stations._drivers["box2-camera"] = driver
            assert await stations.next_frame("box2-camera") in FRAMES


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
async def test_curl_sees_the_picture_as_the_how_to_says(tmp_path: Path) -> None:
    async with watching(MemorySink()) as driver, serving(tmp_path, only(driver)) as place:
        curl = await asyncio.create_subprocess_exec(
            "curl", "--silent", "--no-buffer", "--unix-socket", place,
            "http://unit/box2-camera", stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert curl.stdout is not None
        async with asyncio.timeout(30):
            seen = await curl.stdout.readexactly(4 * len(FRAMES[0]))
        curl.kill()
        await curl.communicate()
    assert sum(seen.count(frame) for frame in FRAMES) >= 2
