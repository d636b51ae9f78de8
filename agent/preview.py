"""The live picture of a camera: its own frames, passed on as multipart MJPEG, never coded anew.

GET /<device> over a unix socket of the control folder, in HTTP/1.0. A viewer is given the
newest frame whenever it has taken the one before; a slow one misses frames and delays nobody.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from typing import TYPE_CHECKING, Final

from agent.control import CantListen
from drivers.errors import DriverError, Misconfigured

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    Frames = Callable[[str], Awaitable[bytes]]

SOCKET: Final = "preview.sock"

VIEWERS_MAX: Final = 8
"""How many may look on at once: each holds at most one frame in memory."""

ASKING_S: Final = 5.0
"""How long a viewer may take to say what it wants, in seconds."""

TAKING_S: Final = 30.0
"""How long a viewer may take for one frame before it is let go, in seconds."""

_HEAD_MAX: Final = 8 << 10
_BOUNDARY: Final = b"qafila-frame"
_REQUEST = re.compile(rb"(?P<verb>[A-Z]+) /(?P<device>[a-z0-9-]{1,32}) HTTP/1\.[01]\r?\n")
_HEADERS: Final = (
    b"HTTP/1.0 200 OK\r\n"
    b"Content-Type: multipart/x-mixed-replace; boundary=" + _BOUNDARY + b"\r\n"
    b"Cache-Control: no-store\r\n"
    b"Connection: close\r\n\r\n"
)


async def serve(folder: Path, next_frame: Frames) -> None:
    """Listen until cancelled; for the unit's group only. CantListen.

    `next_frame` waits for the next frame of a device by its name; it raises `Misconfigured`
    where none is called so, `Unavailable` where it sends none.
    """
    path = folder / SOCKET
    gallery = _Gallery(next_frame)
    try:
        _make_room(path)
        server = await asyncio.start_unix_server(gallery.attend, path, limit=_HEAD_MAX)
    except OSError as error:
        words = error.strerror or str(error)
        raise CantListen(f"$.unit.runtime: {path} can't be listened on: {words}") from None
    path.chmod(0o660)
    try:
        await asyncio.get_running_loop().create_future()  # until cancelled
    finally:
        server.close()
        path.unlink(missing_ok=True)
        await gallery.close()


def _make_room(path: Path) -> None:
    path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
    path.unlink(missing_ok=True)


class _Gallery:
    """Who looks on just now."""

    def __init__(self, next_frame: Frames) -> None:
        self._next_frame = next_frame
        self._viewers: set[asyncio.Task[None]] = set()

    def attend(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        viewer = asyncio.create_task(self._serve(reader, writer))
        self._viewers.add(viewer)
        viewer.add_done_callback(self._viewers.discard)

    async def close(self) -> None:
        for viewer in self._viewers:
            viewer.cancel()
        await asyncio.gather(*self._viewers, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # No frame behind the one that is under way: what waits in a buffer is no longer new.
        writer.transport.set_write_buffer_limits(high=0)
        # Whatever a viewer does goes away with it: nobody else is to notice.
        with contextlib.suppress(OSError, ValueError, TimeoutError, asyncio.IncompleteReadError):
            try:
                await self._answer(reader, writer)
            finally:
                if writer.transport.get_write_buffer_size():
                    writer.transport.abort()
                writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(ASKING_S):
            head = await _head(reader)
        asked = _REQUEST.match(head)
        if asked is None or asked["verb"] != b"GET":
            await _refuse(writer, "400 Bad Request", "Ask with GET /<device>.")
        elif len(self._viewers) > VIEWERS_MAX:
            await _refuse(writer, "503 Service Unavailable", "Too many are looking on already.")
        else:
            await self._show(asked["device"].decode("ascii"), writer)

    async def _show(self, device: str, writer: asyncio.StreamWriter) -> None:
        try:
            frame = await self._next_frame(device)
        except Misconfigured as wrong:
            await _refuse(writer, "404 Not Found", str(wrong))
            return
        except DriverError as away:
            await _refuse(writer, "503 Service Unavailable", str(away))
            return
        writer.write(_HEADERS)
        with contextlib.suppress(DriverError):  # the camera went: so does the picture
            while True:
                await _send(writer, frame)
                frame = await self._next_frame(device)


async def _head(reader: asyncio.StreamReader) -> bytes:
    """The request and its headers; ValueError where they are too long."""
    request = first = await reader.readline()
    taken = len(first)
    while first.strip():
        first = await reader.readline()
        taken += len(first)
        if taken > _HEAD_MAX:
            raise ValueError
    return request


async def _send(writer: asyncio.StreamWriter, frame: bytes) -> None:
    head = f"\r\nContent-Type: image/jpeg\r\nContent-Length: {len(frame)}\r\n\r\n"
    writer.writelines([b"--", _BOUNDARY, head.encode("ascii"), frame, b"\r\n"])
    async with asyncio.timeout(TAKING_S):
        await writer.drain()


async def _refuse(writer: asyncio.StreamWriter, status: str, words: str) -> None:
    body = f"{words}\n".encode()
    head = (
        f"HTTP/1.0 {status}\r\nContent-Type: text/plain; charset=utf-8\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    writer.write(head.encode("ascii") + body)
    async with asyncio.timeout(TAKING_S):
        await writer.drain()
