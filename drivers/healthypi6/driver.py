"""Reads a HealthyPi 6 from its stream port and stores each recording when it is over.

About once a second the blocks of the open recording are kept as a frame, so that `kill -9` or
a power cut costs a second at most; the agent hands such frames to `codec.recover` at its next
start. When the recording is over it is stored, and those frames are settled, in one commit.

Cancellation (the agent stops) ends the open recording as `cut-short` and stores it; a store
that does not answer within `STOP_S` is left alone: whatever it had already kept is recovered
at the next start. An act once begun runs to its end, so that no frame's number gets lost.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Protocol, cast

from drivers.base import RawFrame
from drivers.errors import DriverError, Misconfigured
from drivers.healthypi6.measurement import SOURCE, device_at, stored_form
from drivers.healthypi6.recording import Ending
from drivers.healthypi6.tape import Finish, Keep, Tape

if TYPE_CHECKING:
    from collections.abc import Callable

    from drivers.base import Measurement, Sink
    from drivers.healthypi6.recording import Recording
    from drivers.healthypi6.tape import Act

STOP_S = 2.0
_BEAT_S = 0.5


class Stream(Protocol):
    """The link this driver reads; `drivers.links.serial.SerialLink` is one."""

    @property
    def name(self) -> str:
        """The port, as people and udev call it."""

    async def read(self) -> bytes:
        """Wait for bytes; raise `Unavailable` where none can come any more."""

    def close(self) -> None:
        """Let go of the port; may be called again."""


def build(settings: dict[str, object]) -> HealthyPi6:
    """The driver. It has no settings: `Misconfigured` where there are any."""
    if settings:
        raise Misconfigured(
            "healthypi6", f"remove {', '.join(sorted(settings))}: this driver has no settings"
        )
    return HealthyPi6()


def _wall_clock() -> datetime:
    return datetime.now(UTC)


class HealthyPi6:
    """See `drivers.base.Driver`; the link is a `Stream`. `clock` gives aware wall time."""

    def __init__(self, clock: Callable[[], datetime] = _wall_clock) -> None:
        self._clock = clock

    async def run(self, link: object, sink: Sink) -> None:
        """Read until the link ends. Raises `Unavailable`, `ProtocolFault` or the store's error."""
        stream = cast("Stream", link)
        session = _Session(stream.name, sink, self._clock)
        try:
            await session.listen(stream)
        except DriverError:
            await session.finish()
            raise
        except asyncio.CancelledError:
            await session.stop()
            raise
        finally:
            stream.close()


class _Session:
    """One link's stream on its way to the sink."""

    def __init__(self, place: str, sink: Sink, clock: Callable[[], datetime]) -> None:
        self._place = place
        self._sink = sink
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._tape = Tape(self._loop.time())
        self._frames: list[int] = []
        self._under_way: asyncio.Task[None] | None = None
        self._said = ""

    async def listen(self, stream: Stream) -> None:
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

    async def finish(self) -> None:
        """End what is open and store it."""
        self._tape.end(Ending.CUT, self._loop.time())
        await self._perform()

    async def stop(self) -> None:
        """As `finish`, within `STOP_S` and after the act under way when it was interrupted."""
        finishing = asyncio.create_task(self.finish())
        try:
            await asyncio.wait({finishing}, timeout=STOP_S)
        finally:
            await _left({finishing, *({self._under_way} if self._under_way else ())})
        if finishing.cancelled() or finishing.exception():
            self._report("unavailable", "The last recording waits to be stored at the next start.")

    async def _perform(self) -> None:
        """Perform the tape's acts in order, each to its end and never twice at once."""
        while self._tape.acts:
            if self._under_way is None:
                self._under_way = asyncio.create_task(self._perform_one(self._tape.acts[0]))
            task = self._under_way
            await asyncio.wait({task})
            self._under_way = None
            task.result()

    async def _perform_one(self, act: Act) -> None:
        if isinstance(act, Keep):
            self._frames.append(await self._sink.keep(RawFrame(SOURCE, act.raw)))
        elif isinstance(act, Finish):
            await self._sink.record(self._stored_form(act.recording), tuple(self._frames))
            self._frames.clear()
        else:
            await self._sink.quarantine(RawFrame(SOURCE, act.raw), act.reason)
        self._tape.acts.popleft()

    def _stored_form(self, recording: Recording) -> Measurement:
        age = timedelta(seconds=self._loop.time() - recording.started)
        return stored_form(recording, acquired=self._clock() - age, device=device_at(self._place))

    def _report(self, state: str, detail: str = "") -> None:
        if state != self._said:
            self._said = state
            self._sink.report(state, detail or _DETAILS.get(state, ""))


async def _left(tasks: set[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


_DETAILS = {
    "waiting": "The ECG is plugged in but sends no leads: its stream has to be started.",
}
