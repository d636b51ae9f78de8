"""A camera on a real stream: multipart MJPEG over TCP on loopback, for simulation and tests.

One part is one frame, as one V4L2 buffer is: whatever its bytes are, they arrive as one.
"""

from __future__ import annotations

import asyncio
from contextlib import closing, suppress
from fractions import Fraction
from itertools import cycle
from typing import TYPE_CHECKING, Self

import av

if TYPE_CHECKING:
    from collections.abc import Sequence

    from drivers.dermatoscope.simulator import Planes

_HOST = "127.0.0.1"


def encode(planes: Planes) -> bytes:
    """The planes as a baseline JPEG with the Huffman tables of ITU-T T.81 K.3.3."""
    coder = av.CodecContext.create("mjpeg", "w")
    coder.width, coder.height, coder.pix_fmt = planes.width, planes.height, "yuvj422p"
    coder.time_base = Fraction(1, 25)
    coder.options = {"huffman": "default", "flags": "+bitexact"}
    picture = av.VideoFrame(planes.width, planes.height, "yuvj422p")
    picture.pts, picture.time_base = 0, coder.time_base
    for plane, samples in zip(picture.planes, (planes.luma, planes.blue, planes.red), strict=True):
        plane.update(_in_lines(samples, plane.width, plane.line_size))
    return b"".join(bytes(packet) for packet in [*coder.encode(picture), *coder.encode(None)])


class CameraStream:
    """Sends its frames in turn, for ever, to each who connects; each begins with the first.

    `rate` is in frames a second. `flowing` is an event: cleared, the camera stalls.
    """

    def __init__(self, frames: Sequence[bytes], rate: float = 15.0) -> None:
        self.flowing = asyncio.Event()
        self.flowing.set()
        self._frames = frames
        self._pause = 1 / rate
        self._port = 0
        self._server: asyncio.Server | None = None
        self._viewers: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    @property
    def url(self) -> str:
        """Where the stream is, once it was plugged in; the same after each replugging."""
        return f"tcp://{_HOST}:{self._port}"

    @property
    def viewers(self) -> int:
        """How many are connected now."""
        return len(self._viewers)

    async def plug(self) -> None:
        """Begin to listen: on a free port, and after that always on the same one."""
        self._server = await asyncio.start_server(self._show, _HOST, self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    async def unplug(self) -> None:
        """Stop listening and cut every connection, in the middle of a frame if need be."""
        server, self._server = self._server, None
        if server is None:
            return
        server.close()
        for viewer in self._viewers.values():
            viewer.transport.abort()
        await asyncio.gather(*self._viewers)
        await server.wait_closed()

    async def __aenter__(self) -> Self:
        await self.plug()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.unplug()

    def _show(self, _: asyncio.StreamReader, viewer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._send(viewer))
        self._viewers[task] = viewer
        task.add_done_callback(self._viewers.pop)

    async def _send(self, viewer: asyncio.StreamWriter) -> None:
        # The viewer leaves, or the camera is unplugged.
        with closing(viewer), suppress(ConnectionError):
            for frame in cycle(self._frames):
                await self._due(viewer)
                viewer.write(_part(frame))
                await viewer.drain()

    async def _due(self, viewer: asyncio.StreamWriter) -> None:
        """Wait until the next frame is due; raise `ConnectionError` where the viewer left."""
        await asyncio.sleep(self._pause)
        while not self.flowing.is_set():
            if viewer.is_closing():
                raise ConnectionResetError
            await asyncio.sleep(self._pause)


def _part(frame: bytes) -> bytes:
    head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(frame)}\r\n\r\n"
    return head.encode("ascii") + frame + b"\r\n"


def _in_lines(samples: bytes, width: int, line: int) -> bytes:
    """Rows of `width` samples in lines of `line` bytes, as libavutil wants them."""
    gap = bytes(line - width)
    return b"".join(samples[start : start + width] + gap for start in range(0, len(samples), width))
