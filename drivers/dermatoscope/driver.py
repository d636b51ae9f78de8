"""The driver of a dermatoscope: it watches the stream, and keeps a picture when asked to.

A person asks by the page, by a command, or with the camera's own button. Whoever only looks on
(`next_frame`) is given the frames as they pass, and nobody waits for them.
"""

from __future__ import annotations

import asyncio
from collections import deque
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, TypeVar, cast

from drivers.base import RawFrame
from drivers.dermatoscope.picture import Form, develop
from drivers.errors import DriverError, Misconfigured, ProtocolFault, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from drivers.base import Sink, Stored
    from drivers.links.camera import Camera

NAME: Final = "dermatoscope"

_Result = TypeVar("_Result")

SETTLING: Final = 5
"""How many frames pass, after a camera began to send, until its exposure has settled."""

ATTEMPTS: Final = 3
"""How many frames in a row may be broken before a person is told."""


def build(settings: dict[str, object]) -> Dermatoscope:
    """A dermatoscope's driver. Its one setting is `object`: see `picture.Form`.

    Raises `Misconfigured` for another setting, or another value.
    """
    unknown = sorted(settings.keys() - {"object"})
    if unknown:
        raise Misconfigured(NAME, f"remove {', '.join(unknown)}: the only setting is object")
    wanted = settings.get("object", Form.JPEG.value)
    known = [each.value for each in Form]
    if wanted not in known:
        raise Misconfigured(NAME, f"set object to one of: {', '.join(known)}")
    return Dermatoscope(Form(wanted))


def _wall_clock() -> datetime:
    return datetime.now(UTC)


class Dermatoscope:
    """One camera in one box. `run` may be called again after it has ended."""

    def __init__(self, form: Form = Form.JPEG, clock: Callable[[], datetime] = _wall_clock) -> None:
        self._form = form
        self._clock = clock
        self._running = False
        self._asked: deque[asyncio.Future[Stored]] = deque()
        self._viewers: set[asyncio.Future[bytes]] = set()

    async def snapshot(self) -> Stored:
        """Keep the next picture that arrives; return once it is on disk.

        Raises `Unavailable` where no camera sends, or it goes before the picture is kept,
        `ProtocolFault` where it sends only broken pictures, and whatever the sink raises.
        """
        self._require_camera()
        asked: asyncio.Future[Stored] = asyncio.get_running_loop().create_future()
        self._asked.append(asked)
        return await asked

    async def next_frame(self) -> bytes:
        """Wait for the next frame to pass, as the camera sent it; it is kept nowhere.

        Raises `Unavailable` where no camera sends, or it goes before it does.
        """
        self._require_camera()
        viewer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._viewers.add(viewer)
        try:
            return await viewer
        finally:
            self._viewers.discard(viewer)

    async def run(self, link: object, sink: Sink) -> None:
        """Watch a camera (`drivers.links.camera.Camera`) until it goes, and close the link.

        Raises `Unavailable` where the camera goes, and whatever the sink raises.
        """
        camera = cast("Camera", link)
        self._running = True
        heeding = asyncio.create_task(self._heed(camera, sink))
        try:
            sink.report("waiting", "The camera adjusts its exposure.")
            for _ in range(SETTLING):
                self._show(await camera.frame())
            sink.report("connected", camera.remark)
            while True:
                await self._take(camera, sink)
        except Unavailable as gone:
            sink.report("unavailable", gone.reason)
            raise
        finally:
            self._running = False
            self._turn_away()
            await _end(heeding)
            sink.note("button", "")
            await camera.close()

    async def _heed(self, camera: Camera, sink: Sink) -> None:
        """Take a picture for each press of the camera's button, one after the other."""
        try:
            while True:
                await camera.pressed()
                await self._take_for_button(sink)
        except Unavailable as lost:
            sink.note("button", f"The camera's button can't be used: {lost.reason}.")

    async def _take_for_button(self, sink: Sink) -> None:
        try:
            await self.snapshot()
        except DriverError:
            sink.note("snapshot", "The button was pressed, but no picture could be kept.")
        else:
            sink.note("snapshot", "")

    async def _take(self, camera: Camera, sink: Sink) -> None:
        """Wait for the next frame; it goes to who asked first, if anyone has."""
        raw = await camera.frame()
        self._show(raw)
        while self._asked and self._asked[0].done():
            self._asked.popleft()
        if not self._asked:
            return
        asked = self._asked[0]
        try:
            _settle(asked, await self._keep(raw, camera, sink))
        except ProtocolFault as fault:
            _fail(asked, fault)
        except Unavailable:
            raise
        except Exception as error:
            _fail(asked, error)
            raise

    async def _keep(self, raw: bytes, camera: Camera, sink: Sink) -> Stored:
        """Record the picture of a frame, or of one of the next where this one is broken."""
        for attempt in range(1, ATTEMPTS + 1):
            try:
                picture = await asyncio.to_thread(develop, raw, self._form, self._clock())
                break
            except ProtocolFault as fault:
                await sink.quarantine(RawFrame(NAME, raw), fault.reason)
                if attempt == ATTEMPTS:
                    raise
            raw = await camera.frame()
        return await sink.record(picture)

    def _require_camera(self) -> None:
        if not self._running:
            raise Unavailable(NAME, "no camera is sending pictures; check that it is plugged in")

    def _show(self, raw: bytes) -> None:
        for viewer in self._viewers:
            _settle(viewer, raw)

    def _turn_away(self) -> None:
        while self._asked:
            _fail(self._asked.popleft(), Unavailable(NAME, "the camera went before its picture"))
        for viewer in self._viewers:
            _fail(viewer, Unavailable(NAME, "the camera went"))


async def _end(task: asyncio.Task[None]) -> None:
    """Stop a task; what it may have failed with has already ended the run."""
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def _settle(asked: asyncio.Future[_Result], result: _Result) -> None:
    if not asked.done():
        asked.set_result(result)


def _fail(asked: asyncio.Future[_Result], error: Exception) -> None:
    if not asked.done():
        asked.set_exception(error)
