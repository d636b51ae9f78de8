"""A camera as a stream of MJPEG frames, byte for byte as it sent them. The only link with PyAV.

A thread opens the camera and takes packets from it; nothing is decoded on the way. The thread
is a daemon: a kernel that never gives back a call may hold it, but never the agent's end.
"""

from __future__ import annotations

import asyncio
import re
import threading
from contextlib import suppress
from errno import EACCES, EBUSY, EINVAL, ENODEV, ENOENT, ENOTTY, ENXIO, EPERM
from typing import TYPE_CHECKING, Final, Protocol, Self

import av

from drivers.errors import DriverError, Misconfigured, ProtocolFault, Unavailable
from drivers.links.body import Body
from drivers.links.v4l2 import gives_mjpeg, stop_streaming

if TYPE_CHECKING:
    from collections.abc import Callable

OPEN_S: Final = 10.0
"""How long a camera may take to open and to send its first frame, in seconds."""

STALL_S: Final = 5.0
"""How long a camera may stay silent before it counts as gone, in seconds."""

_RELEASE_S: Final = 0.5
_SIZE = re.compile(r"[1-9]\d{1,4}x[1-9]\d{1,4}")
_STREAM = re.compile(r"tcp://(127\.0\.0\.1|\[::1\]|localhost):\d+")
_WITHOUT_READING_AHEAD = {"fflags": "nobuffer", "probesize": "32"}
_REASONS = {
    ENOENT: "it is not plugged in",
    ENODEV: "it is not plugged in, or this is not its picture",
    ENXIO: "it was unplugged",
    EACCES: "this program may not use it",
    EPERM: "this program may not use it",
    EBUSY: "another program is using it",
}


class Camera(Protocol):
    """What a camera driver asks of its link."""

    async def frame(self) -> bytes:
        """Wait for the next frame to arrive; raise `Unavailable` once there is none to come."""

    @property
    def remark(self) -> str:
        """A plain sentence on which camera this is, where that is not plain; else empty."""

    async def pressed(self) -> None:
        """Wait for the camera's button, for ever where it has none.

        Raises `Unavailable` where it has one that can't be read.
        """

    async def close(self) -> None:
        """Let the camera go."""


class CameraLink:
    """One open camera, read by one task.

    Only a frame that is waited for is kept, so that memory is bounded by one frame.
    """

    def __init__(self, source: str, size: str | None = None) -> None:
        self._source = source
        self._format, self._options = _input(source, size)
        self._loop = asyncio.get_running_loop()
        self._opened: asyncio.Future[None] = self._loop.create_future()
        self._arrival: asyncio.Future[bytes] | None = None
        self._over: Exception | None = None
        self._released = asyncio.Event()
        self._wanted = threading.Event()
        self._leave = threading.Event()
        self._body = Body("", None, None)
        self._thread = threading.Thread(target=self._read, name=f"camera {source}", daemon=True)

    @classmethod
    async def open(cls, source: str, size: str | None = None) -> Self:
        """Open a V4L2 device (`/dev/video0`) or a stream on this computer (`tcp://127.0.0.1:1`).

        A stream is multipart MJPEG (RFC 2046, each part with its Content-Length). `size` is
        the size to ask of a device, in pixels (`1920x1080`), the camera's own choice if None.
        Raises `Unavailable` where no camera sends, `Misconfigured` where that can't work.
        """
        link = cls(source, size)
        link._thread.start()
        try:
            async with asyncio.timeout(OPEN_S):
                await link._opened
        except TimeoutError:
            await link.close()
            raise link._gone("it sends no pictures") from None
        except BaseException:
            await link.close()
            raise
        link._body = Body.of(source)
        return link

    @property
    def remark(self) -> str:
        """See `Camera.remark`."""
        return self._body.remark

    async def pressed(self) -> None:
        """See `Camera.pressed`."""
        await self._body.pressed()

    async def frame(self) -> bytes:
        """Wait for the next frame to arrive; raise `Unavailable` once there is none to come."""
        if self._over is not None:
            raise self._over
        self._arrival = self._loop.create_future()
        self._wanted.set()
        try:
            async with asyncio.timeout(STALL_S):
                return await self._arrival
        except TimeoutError:
            raise self._gone("it stopped sending pictures") from None
        finally:
            self._arrival = None

    async def close(self) -> None:
        """Let the camera go; it returns within seconds even where the kernel holds the thread."""
        self._leave.set()
        self._body.close()
        deadline = self._loop.time() + STALL_S + _RELEASE_S
        while not self._released.is_set() and self._loop.time() < deadline:
            stop_streaming(self._source)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._released.wait(), _RELEASE_S)

    def _read(self) -> None:
        """Run in the thread: open, hand on what is wanted, and say how it ended."""
        try:
            self._hand_on()
            over: Exception = self._gone("it was unplugged")
        except av.FFmpegError as error:
            over = self._fault(error)
        except Exception as error:  # noqa: BLE001 - raised where frames are awaited, not lost here
            over = error
        self._tell(lambda: self._end(over))

    def _hand_on(self) -> None:
        with av.open(
            self._source,
            format=self._format,
            options=self._options,
            timeout=(OPEN_S, STALL_S),
        ) as camera:
            self._tell(self._begin)
            for packet in camera.demux(video=0):
                if self._leave.is_set():
                    return
                # Empty: the kernel marked the buffer as broken. Corrupt: the stream was cut.
                if packet.size and not packet.is_corrupt and self._wanted.is_set():
                    self._wanted.clear()
                    raw = bytes(packet)
                    self._tell(lambda raw=raw: self._arrive(raw))  # type: ignore[misc]

    def _tell(self, what: Callable[[], None]) -> None:
        try:
            self._loop.call_soon_threadsafe(what)
        except RuntimeError:  # the loop is closed: nobody is left to tell
            self._leave.set()

    def _begin(self) -> None:
        if not self._opened.done():
            self._opened.set_result(None)

    def _arrive(self, raw: bytes) -> None:
        if self._arrival is not None and not self._arrival.done():
            self._arrival.set_result(raw)

    def _end(self, over: Exception) -> None:
        self._over = over
        self._released.set()
        for awaited in (self._opened, self._arrival):
            if awaited is not None and not awaited.done():
                awaited.set_exception(over)

    def _gone(self, reason: str) -> Unavailable:
        return Unavailable(f"camera {self._source}", reason)

    def _fault(self, error: av.FFmpegError) -> DriverError:
        # A camera that is just being pulled out says the same as a device that is none.
        if error.errno in {EINVAL, ENOTTY} and gives_mjpeg(self._source) is False:
            remedy = "it gives no MJPEG pictures; name the device that does"
            return Misconfigured(f"camera {self._source}", remedy)
        if isinstance(error, av.error.ExitError):
            return self._gone("it sends no pictures")
        if isinstance(error, av.error.InvalidDataError):
            return self._gone("it sends something that is not MJPEG")
        return self._gone(_REASONS.get(error.errno or 0, "it does not answer"))


def check(jpeg: bytes) -> None:
    """Decode a picture once; raise `ProtocolFault` where that shows any fault. Takes a while."""
    decoder = av.CodecContext.create("mjpeg", "r")
    # Without this libavcodec paints over what is missing and says nothing.
    decoder.options = {"err_detect": "explode"}
    try:
        pictures = [*decoder.decode(av.Packet(jpeg)), *decoder.decode(None)]
    except av.FFmpegError:
        pictures = []
    if len(pictures) != 1 or pictures[0].is_corrupt:
        raise ProtocolFault("The camera's picture cannot be decoded.")


def _input(source: str, size: str | None) -> tuple[str, dict[str, str]]:
    """The libavformat demuxer of a source, and its options."""
    if size is not None and not _SIZE.fullmatch(size):
        raise Misconfigured(f"camera {source}", "give the size as width x height: 1920x1080")
    if source.startswith("/dev/"):
        options = {**_WITHOUT_READING_AHEAD, "input_format": "mjpeg"}
        return "v4l2", options if size is None else {**options, "video_size": size}
    if _STREAM.fullmatch(source):
        return "mpjpeg", dict(_WITHOUT_READING_AHEAD)
    remedy = "name a device, /dev/video0, or a stream on this computer, tcp://127.0.0.1:8090"
    raise Misconfigured(f"camera {source}", remedy)
