"""One link of a device that streams by itself: its frames kept, its recordings stored.

About once a second the frames of the open recording are kept, so that `kill -9` or a power cut
costs a second at most; the agent hands what was kept to the codec's `recover` at its next start.
When the recording is over it is stored, and those frames are settled, in one commit.

Cancellation (the agent stops) ends the open recording as `cut-short` and stores it; a store
that does not answer in time is left alone: whatever it had already kept is recovered at the
next start. An act once begun runs to its end, so that no frame's number gets lost.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from drivers.base import RawFrame
from drivers.errors import DriverError
from drivers.tape import Ending, Finish, Keep, SetAside

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from drivers.base import Measurement, Sink
    from drivers.tape import Tape

STOP_S = 2.0
"""Seconds that the store has to save the last recording when the agent stops."""

_BEAT_S = 0.5
_UNREADABLE = (
    "What comes over this port is not what this device sends: it is another device, "
    "or it speaks at another rate."
)
R = TypeVar("R")


class Stream(Protocol):
    """The link of a serial driver; `drivers.links.serial.SerialLink` is one."""

    @property
    def name(self) -> str:
        """The port, as people and udev call it."""

    async def read(self) -> bytes:
        """Wait for bytes; raise `Unavailable` where none can come any more."""

    async def write(self, content: bytes) -> None:
        """Say bytes to the device; raise `Unavailable` where it is gone."""

    def close(self) -> None:
        """Let go of the port; may be called again."""


class Session(Generic[R]):
    """One link's stream on its way to the sink.

    `stored_form` gets a recording and must not wait; `details` says states in words.
    """

    def __init__(
        self,
        source: str,
        sink: Sink,
        tape: Callable[[float], Tape[Any, R]],
        stored_form: Callable[[R], Measurement],
        details: Mapping[str, str],
    ) -> None:
        self._source = source
        self._sink = sink
        self._stored_form = stored_form
        self._details = details
        self._loop = asyncio.get_running_loop()
        self._tape = tape(self._loop.time())
        self._frames: list[int] = []
        self._under_way: asyncio.Task[None] | None = None
        self._said = ("", "")

    async def run(self, stream: Stream, stop_s: float, start: bytes = b"") -> None:
        """Say `start` if any, read until the link ends, and close it; raises as `Driver.run`."""
        try:
            if start:
                await stream.write(start)
            await self._listen(stream)
        except DriverError:
            await self._finish()
            raise
        except asyncio.CancelledError:
            await self._stop(stop_s)
            raise
        finally:
            stream.close()

    async def _listen(self, stream: Stream) -> None:
        self._report("connected")
        while True:
            try:
                async with asyncio.timeout(_BEAT_S):
                    chunk = await stream.read()
            except TimeoutError:
                self._tape.tick(self._loop.time())
            else:
                self._tape.feed(chunk, self._loop.time())
            await self._perform()
            self._report("recording" if self._tape.recording else "waiting")

    async def _finish(self) -> None:
        """End what is open and store it."""
        self._tape.end(Ending.CUT, self._loop.time())
        await self._perform()

    async def _stop(self, stop_s: float) -> None:
        """As `_finish`, within `stop_s` and after the act under way when it was interrupted."""
        finishing = asyncio.create_task(self._finish())
        try:
            await asyncio.wait({finishing}, timeout=stop_s)
        finally:
            await _left({finishing, *({self._under_way} if self._under_way else ())})
        if finishing.cancelled() or finishing.exception():
            self._say("unavailable", "The last recording waits to be stored at the next start.")

    async def _perform(self) -> None:
        """Perform the tape's acts in order, each to its end and never twice at once."""
        while self._tape.acts:
            if self._under_way is None:
                self._under_way = asyncio.create_task(self._perform_one(self._tape.acts[0]))
            task = self._under_way
            await asyncio.wait({task})
            self._under_way = None
            task.result()

    async def _perform_one(self, act: Keep | Finish[R] | SetAside) -> None:
        if isinstance(act, Keep):
            self._frames.append(await self._sink.keep(RawFrame(self._source, act.raw)))
        elif isinstance(act, Finish):
            await self._sink.record(self._stored_form(act.recording), tuple(self._frames))
            self._frames.clear()
        else:
            await self._sink.quarantine(RawFrame(self._source, act.raw), act.reason)
        self._tape.acts.popleft()

    def _report(self, state: str) -> None:
        unreadable = state == "waiting" and self._tape.unreadable
        self._say(state, _UNREADABLE if unreadable else self._details.get(state, ""))

    def _say(self, state: str, detail: str) -> None:
        if (state, detail) != self._said:
            self._said = (state, detail)
            self._sink.report(state, detail)


async def _left(tasks: set[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
