"""The driver of a dermatoscope: it watches the stream, and keeps a picture when asked to."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final, cast

from drivers.base import RawFrame, readings_of
from drivers.dermatoscope.codec import decode
from drivers.errors import Misconfigured, ProtocolFault, Unavailable
from drivers.links.camera import check

if TYPE_CHECKING:
    from drivers.base import Measurement, Sink, Stored
    from drivers.links.camera import Camera

NAME: Final = "dermatoscope"

SETTLING: Final = 5
"""How many frames pass, after a camera began to send, until its exposure has settled."""

ATTEMPTS: Final = 3
"""How many frames in a row may be broken before a person is told."""


def build(settings: dict[str, object]) -> Dermatoscope:
    """A dermatoscope's driver; `Misconfigured` for any setting, since it has none."""
    if settings:
        given = ", ".join(sorted(settings))
        raise Misconfigured(NAME, f"remove {given}: this device has no settings")
    return Dermatoscope()


class Dermatoscope:
    """One camera in one box. `run` may be called again after it has ended."""

    def __init__(self) -> None:
        self._running = False
        self._asked: deque[asyncio.Future[Stored]] = deque()

    async def snapshot(self) -> Stored:
        """Keep the next picture that arrives; return once it is on disk.

        Raises `Unavailable` where no camera sends, or it goes before the picture is kept,
        `ProtocolFault` where it sends only broken pictures, and whatever the sink raises.
        """
        if not self._running:
            raise Unavailable(NAME, "no camera is sending pictures; check that it is plugged in")
        asked: asyncio.Future[Stored] = asyncio.get_running_loop().create_future()
        self._asked.append(asked)
        return await asked

    async def run(self, link: object, sink: Sink) -> None:
        """Watch a camera (`drivers.links.camera.Camera`) until it goes, and close the link.

        Raises `Unavailable` where the camera goes, and whatever the sink raises.
        """
        camera = cast("Camera", link)
        self._running = True
        try:
            sink.report("waiting", "The camera adjusts its exposure.")
            for _ in range(SETTLING):
                await camera.frame()
            sink.report("connected")
            while True:
                await self._take(camera, sink)
        except Unavailable as gone:
            sink.report("unavailable", gone.reason)
            raise
        finally:
            self._running = False
            self._turn_away()
            await camera.close()

    async def _take(self, camera: Camera, sink: Sink) -> None:
        """Wait for the next frame; it goes to who asked first, if anyone has."""
        raw = await camera.frame()
        while self._asked and self._asked[0].done():
            self._asked.popleft()
        if not self._asked:
            return
        asked = self._asked[0]
        try:
            _settle(asked, await _keep(raw, camera, sink))
        except ProtocolFault as fault:
            _fail(asked, fault)
        except Unavailable:
            raise
        except Exception as error:
            _fail(asked, error)
            raise

    def _turn_away(self) -> None:
        while self._asked:
            _fail(self._asked.popleft(), Unavailable(NAME, "the camera went before its picture"))


async def _keep(raw: bytes, camera: Camera, sink: Sink) -> Stored:
    """Record the picture of a frame, or of one of the next where this one is broken."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            picture = await asyncio.to_thread(_develop, raw)
            break
        except ProtocolFault as fault:
            await sink.quarantine(RawFrame(NAME, raw), fault.reason)
            if attempt == ATTEMPTS:
                raise
        raw = await camera.frame()
    return await sink.record(picture)


def _develop(raw: bytes) -> Measurement:
    (picture,) = readings_of(decode(raw))
    for blob in picture.blobs:
        check(blob.content)
    return picture


def _settle(asked: asyncio.Future[Stored], stored: Stored) -> None:
    if not asked.done():
        asked.set_result(stored)


def _fail(asked: asyncio.Future[Stored], error: Exception) -> None:
    if not asked.done():
        asked.set_exception(error)
