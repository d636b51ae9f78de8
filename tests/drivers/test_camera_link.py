from __future__ import annotations

import asyncio
import os
import pty
import signal
import subprocess
import sys
import threading
from contextlib import asynccontextmanager
from errno import EINVAL, EIO, ENODEV, ENOTTY
from typing import TYPE_CHECKING, NoReturn

import pytest

from drivers.dermatoscope.simulator import corrupt, lesion, padded, truncated, without_tables
from drivers.errors import Misconfigured, ProtocolFault, Unavailable
from drivers.lab.camera import CameraStream, encode
from drivers.links import camera as camera_link
from drivers.links import v4l2
from drivers.links.camera import CameraLink, check

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

YUYV, MJPG = b"YUYV", b"MJPG"
FRAMES = [encode(lesion(number, 64, 48)) for number in range(8)]
JPEG = FRAMES[0]
SERVER = """
import asyncio
from drivers.dermatoscope.simulator import lesion
from drivers.lab.camera import CameraStream, encode

async def main():
    async with CameraStream([encode(lesion(n, 64, 48)) for n in range(8)], rate=50) as camera:
        print(camera.url, flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""

FORGETFUL = """
import asyncio, sys
from drivers.links import camera

camera.STALL_S = 3600.0

async def main():
    await camera.CameraLink.open(sys.argv[1])
    print("open", flush=True)
    await asyncio.to_thread(sys.stdin.readline)

asyncio.run(main())
"""


@asynccontextmanager
async def streaming(frames: list[bytes], rate: float = 100) -> AsyncIterator[CameraStream]:
    async with CameraStream(frames, rate) as stream:
        yield stream


@asynccontextmanager
async def looking(source: str) -> AsyncIterator[CameraLink]:
    link = await CameraLink.open(source)
    try:
        yield link
    finally:
        await link.close()


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not true():  # noqa: ASYNC110 - what is polled has no event
            await asyncio.sleep(0.01)


async def watch(link: CameraLink, see: Callable[[bytes], object] = len) -> NoReturn:
    while True:
        see(await link.frame())


def camera_threads() -> list[str]:
    return [each.name for each in threading.enumerate() if each.name.startswith("camera ")]


@pytest.mark.parametrize(
    "change",
    [
        lambda jpeg: jpeg,
        without_tables,
        lambda jpeg: padded(jpeg, 4096),
        lambda jpeg: jpeg + jpeg[-300:],
        lambda jpeg: truncated(jpeg, 40),
        lambda jpeg: corrupt(jpeg, 40),
        lambda jpeg: bytes(range(256)) + jpeg,
        lambda _: b"\x00" * 700,
        lambda _: b"\xff\xd8\xff\xd9" * 100 + b"\r\n--frame\r\n",
    ],
    ids=[
        "whole",
        "no tables",
        "padded",
        "two in one",
        "truncated",
        "corrupt",
        "late start",
        "zeros",
        "looks like a boundary",
    ],
)
async def test_frames_pass_byte_for_byte(change: Callable[[bytes], bytes]) -> None:
    sent = [change(each) for each in FRAMES]
    async with streaming(sent) as stream, looking(stream.url) as link:
        seen = [await link.frame() for _ in range(2 * len(sent))]
    assert set(seen) <= set(sent)


async def test_next_frame_is_one_that_arrives_after_the_call() -> None:
    async with streaming(FRAMES) as stream, looking(stream.url) as link:
        await link.frame()
        stream.flowing.clear()
        await asyncio.sleep(0.3)
        waiting = asyncio.create_task(link.frame())
        await asyncio.sleep(0.3)
        assert not waiting.done()
        stream.flowing.set()
        assert await waiting in FRAMES


async def test_frames_nobody_waits_for_are_not_gathered(monkeypatch: pytest.MonkeyPatch) -> None:
    async with streaming(FRAMES, rate=400) as stream, looking(stream.url) as link:
        await link.frame()
        told: list[object] = []
        monkeypatch.setattr(link, "_tell", told.append)
        await asyncio.sleep(0.5)
        assert told == []
        link._wanted.set()
        await until(lambda: told != [])
        await asyncio.sleep(0.3)
        assert len(told) == 1
        monkeypatch.undo()
        assert await link.frame() in FRAMES


async def test_missing_camera_is_unavailable() -> None:
    with pytest.raises(Unavailable, match="not plugged in") as caught:
        await CameraLink.open("/dev/video-that-is-not")
    assert caught.value.what == "camera /dev/video-that-is-not"
    await until(lambda: not camera_threads())


async def test_stream_that_nobody_serves_is_unavailable() -> None:
    async with streaming(FRAMES) as stream:
        url = stream.url
    with pytest.raises(Unavailable, match="does not answer"):
        await CameraLink.open(url)


async def test_device_that_is_no_camera_is_misconfigured() -> None:
    with pytest.raises(Misconfigured, match="MJPEG"):
        await CameraLink.open("/dev/null")


@pytest.mark.parametrize("gone", [ENODEV, EIO])
async def test_camera_that_is_pulled_out_as_it_is_opened_is_waited_for(
    gone: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel says EINVAL of it, as of a device that is no camera; met in the machine."""
    monkeypatch.setattr(v4l2, "ioctl", Listing([YUYV], gone))
    with pytest.raises(Unavailable, match="does not answer"):
        await CameraLink.open("/dev/null")


class Listing:
    """A device that lists formats, and then says an error."""

    def __init__(self, formats: Sequence[bytes], end: int) -> None:
        self._formats, self._end = list(formats), end

    def __call__(self, _device: int, _request: int, asked: bytes) -> bytes:
        if not self._formats:
            raise OSError(self._end, "")
        return asked[:44] + self._formats.pop(0) + asked[48:]


@pytest.mark.parametrize(
    ("formats", "end", "answer"),
    [
        ([YUYV, MJPG], EINVAL, True),
        ([YUYV], EINVAL, False),
        ([], ENOTTY, False),
        ([YUYV], ENODEV, None),
    ],
)
def test_formats_of_a_device_say_whether_it_gives_mjpeg(
    formats: list[bytes], end: int, answer: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(v4l2, "ioctl", Listing(formats, end))
    assert v4l2.gives_mjpeg("/dev/null") is answer
    assert v4l2.gives_mjpeg("/dev/video-that-is-not") is None


@pytest.mark.parametrize(
    "source",
    ["", "video0", "/etc/passwd", "file:/etc/passwd", "http://127.0.0.1/", "tcp://10.0.0.1:80"],
)
async def test_source_that_is_no_camera_of_this_computer_is_misconfigured(source: str) -> None:
    with pytest.raises(Misconfigured, match="/dev/video0"):
        await CameraLink.open(source)


@pytest.mark.parametrize("size", ["", "large", "1920", "0x0", "1920x1080,pixel_format=yuyv"])
async def test_size_that_is_none_is_misconfigured(size: str) -> None:
    with pytest.raises(Misconfigured, match="1920x1080"):
        await CameraLink.open("/dev/video0", size)


async def test_unplugging_ends_the_link_and_it_stays_ended() -> None:
    async with streaming(FRAMES) as stream, looking(stream.url) as link:
        await link.frame()
        await stream.unplug()
        with pytest.raises(Unavailable):
            await watch(link)
        with pytest.raises(Unavailable):
            await link.frame()
    await until(lambda: not camera_threads())


async def test_frame_cut_by_unplugging_never_passes_for_a_frame() -> None:
    async def serve(_: asyncio.StreamReader, viewer: asyncio.StreamWriter) -> None:
        head = b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n"
        for _number in range(20):
            viewer.write(head % len(JPEG) + JPEG + b"\r\n")
            await viewer.drain()
            await asyncio.sleep(0.02)
        viewer.write(head % len(JPEG) + JPEG[:200])
        await viewer.drain()
        viewer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server, looking(f"tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}") as link:
        seen: list[bytes] = []
        with pytest.raises(Unavailable):
            await watch(link, seen.append)
    assert set(seen) <= {JPEG}


async def test_camera_that_falls_silent_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(camera_link, "STALL_S", 1.0)
    async with streaming(FRAMES) as stream, looking(stream.url) as link:
        await link.frame()
        stream.flowing.clear()
        with pytest.raises(Unavailable, match="pictures"):
            await watch(link)
    await until(lambda: not camera_threads())


async def test_camera_is_missed_even_where_the_library_goes_on_waiting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(camera_link, "STALL_S", 2.0)
    async with streaming(FRAMES) as stream, looking(stream.url) as link:
        monkeypatch.setattr(camera_link, "STALL_S", 0.2)
        stream.flowing.clear()
        with pytest.raises(Unavailable, match="stopped sending"):
            await watch(link)
        assert camera_threads()
    await until(lambda: not camera_threads())


async def test_stream_that_never_begins_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(camera_link, "OPEN_S", 0.5)
    async with streaming(FRAMES) as stream:
        stream.flowing.clear()
        with pytest.raises(Unavailable, match="pictures"):
            await CameraLink.open(stream.url)
    await until(lambda: not camera_threads())


async def test_something_else_than_mjpeg_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(camera_link, "OPEN_S", 1.0)

    async def serve(_: asyncio.StreamReader, viewer: asyncio.StreamWriter) -> None:
        viewer.write(b"SSH-2.0-OpenSSH_9.2\r\n" * 100)
        await viewer.drain()
        viewer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        with pytest.raises(Unavailable):
            await CameraLink.open(f"tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}")


async def test_closing_leaves_no_thread_and_no_viewer() -> None:
    async with streaming(FRAMES) as stream:
        for _ in range(3):
            async with looking(stream.url) as link:
                await link.frame()
                await link.close()
            await until(lambda: not camera_threads())
        await until(lambda: stream.viewers == 0)


async def test_closing_while_the_camera_is_silent_does_not_hang(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(camera_link, "STALL_S", 1.0)
    async with streaming(FRAMES) as stream:
        link = await CameraLink.open(stream.url)
        stream.flowing.clear()
        async with asyncio.timeout(30):
            await link.close()
    await until(lambda: not camera_threads())


async def test_cancelled_wait_ends_and_the_link_goes_on() -> None:
    async with streaming(FRAMES) as stream, looking(stream.url) as link:
        stream.flowing.clear()
        waiting = asyncio.create_task(link.frame())
        await asyncio.sleep(0.1)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        stream.flowing.set()
        assert await link.frame() in FRAMES


async def test_cancelled_opening_leaves_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(camera_link, "STALL_S", 1.0)
    monkeypatch.setattr(camera_link, "OPEN_S", 1.0)
    async with streaming(FRAMES) as stream:
        stream.flowing.clear()
        opening = asyncio.create_task(CameraLink.open(stream.url))
        await asyncio.sleep(0.1)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
        await until(lambda: not camera_threads())


def test_loop_that_ends_without_closing_leaves_no_thread() -> None:
    async def forget() -> None:
        async with streaming(FRAMES) as stream:
            await CameraLink.open(stream.url)

    asyncio.run(forget())
    asyncio.run(until(lambda: not camera_threads()))


async def test_program_ends_even_where_the_camera_never_gives_the_thread_back() -> None:
    async with streaming(FRAMES) as stream:
        program = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            FORGETFUL,
            stream.url,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert program.stdout is not None
        assert await program.stdout.readline() == b"open\n"
        stream.flowing.clear()
        await asyncio.sleep(0.3)
        async with asyncio.timeout(30):
            await program.communicate(b"end\n")
        assert program.returncode == 0


async def test_camera_in_another_process_is_killed_and_comes_back() -> None:
    with serving() as (process, url):
        async with looking(url) as link:
            assert await link.frame() in FRAMES
            process.send_signal(signal.SIGKILL)
            with pytest.raises(Unavailable):
                await watch(link)
    with serving() as (_, url):
        async with looking(url) as link:
            assert await link.frame() in FRAMES


def test_silent_device_is_told_to_stop_on_the_descriptor_that_reads_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = []
    monkeypatch.setattr(v4l2, "ioctl", lambda *said: asked.append(said))
    ours, theirs = pty.openpty()
    try:
        v4l2.stop_streaming(os.ttyname(theirs))
        assert asked == [(theirs, 0x40045613, b"\x01\x00\x00\x00")]
    finally:
        os.close(ours)
        os.close(theirs)


def test_stopping_something_that_is_no_camera_harms_nothing() -> None:
    with open("/dev/null", "rb") as device:  # noqa: PTH123 - held open, not read
        v4l2.stop_streaming("/dev/null")
        assert device.read() == b""
    v4l2.stop_streaming("/dev/video-that-is-not")


@pytest.mark.parametrize("change", [lambda jpeg: jpeg, without_tables])
def test_sound_picture_passes_the_check(change: Callable[[bytes], bytes]) -> None:
    check(change(JPEG))


@pytest.mark.parametrize(
    "jpeg",
    [b"", bytes(500), corrupt(JPEG, 60), truncated(JPEG, 60), JPEG[:300], JPEG[:2] + JPEG[-2:]],
    ids=["nothing", "zeros", "corrupt", "truncated", "headers only", "no scan"],
)
def test_picture_that_does_not_decode_is_a_fault_of_the_camera(jpeg: bytes) -> None:
    with pytest.raises(ProtocolFault, match="cannot be decoded"):
        check(jpeg)


class serving:  # noqa: N801 - reads as a verb at its uses
    """A camera in a process of its own; gives the process and its address."""

    def __enter__(self) -> tuple[subprocess.Popen[str], str]:
        self.process = subprocess.Popen(
            [sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        return self.process, self.process.stdout.readline().strip()

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()
