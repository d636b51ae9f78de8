"""Asks a SureTemp Plus for its temperature record, and stores each final temperature once.

The module repeats a final temperature until its probe is put back. It is stored when the module
comes to it, not again while it stays; one that was final already when the link was opened is
stored too, since nobody may have been there to read it, and says so (`found-final`).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

from drivers.base import RawFrame
from drivers.errors import Misconfigured, ProtocolFault
from drivers.framing import Skipped
from drivers.suretemp.codec import ASK, Framer, final_of, reading_of
from drivers.suretemp.framing import Frame, Type
from drivers.suretemp.record import COMMAND

if TYPE_CHECKING:
    from drivers.base import Sink
    from drivers.serial_session import Stream
    from drivers.suretemp.framing import Event
    from drivers.suretemp.record import Record

SOURCE = "suretemp"
ASK_EVERY_S = 0.5
_SILENT_ASKS = 10
_STRANGE = 4096
_NOT_ANSWERING = "The port is there, but the thermometer does not answer."
_UNREADABLE = "What comes over this port can't be read: another device, or another rate."


def build(settings: dict[str, object]) -> SureTemp:
    """The driver. It has no settings: `Misconfigured` where there are any."""
    if settings:
        given = ", ".join(sorted(settings))
        raise Misconfigured(SOURCE, f"remove {given}: this driver has no settings")
    return SureTemp()


class SureTemp:
    """See `drivers.base.Driver`; the link is a `Stream`. One instance lives over many links."""

    def __init__(self) -> None:
        self._last: Record | None = None

    async def run(self, link: object, sink: Sink) -> None:
        """Ask until the link ends. Raises `Unavailable`, `ProtocolFault` or the store's error."""
        stream = cast("Stream", link)
        try:
            await _Visit(self, stream, sink).run()
        finally:
            stream.close()

    def is_told(self, record: Record) -> bool:
        """Whether a final record at the begin of a link is the one that was stored before it."""
        last = self._last
        return last is not None and last.final == record.final and last.samples <= record.samples

    def tell(self, record: Record) -> None:
        """Remember the latest record of a final temperature that is stored."""
        self._last = record


class _Visit:
    """One link."""

    def __init__(self, driver: SureTemp, stream: Stream, sink: Sink) -> None:
        self._driver = driver
        self._stream = stream
        self._sink = sink
        self._framer = Framer()
        self._was_final: bool | None = None
        self._unanswered = 0
        self._strange = 0
        self._said = ("", "")

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        self._report("connected")
        while True:
            if loop.time() >= due:
                await self._ask()
                due = loop.time() + ASK_EVERY_S
            try:
                async with asyncio.timeout_at(due):
                    raw = await self._stream.read()
            except TimeoutError:
                continue
            for event in self._framer.feed(raw):
                await self._take(event)

    async def _ask(self) -> None:
        if self._unanswered >= _SILENT_ASKS:
            self._report("waiting", _UNREADABLE if self._strange else _NOT_ANSWERING)
        self._unanswered += 1
        await self._stream.write(ASK)

    async def _take(self, event: Event) -> None:
        if isinstance(event, Skipped):
            await self._spoil(event)
            return
        if event.type is Type.COMMAND or event.command != COMMAND:
            return  # an echo of our question, or an answer to somebody else's
        self._unanswered = self._strange = 0
        self._report("waiting")
        try:
            await self._follow(event)
        except ProtocolFault as fault:
            await self._sink.quarantine(RawFrame(SOURCE, event.raw), fault.reason)

    async def _follow(self, frame: Frame) -> None:
        record = final_of(frame)
        before, self._was_final = self._was_final, record is not None
        if record is None:
            return
        if before or (before is None and self._driver.is_told(record)):
            self._driver.tell(record)
            return
        quality = ("found-final",) if before is None else ()
        await self._sink.record(reading_of(record, frame.raw, quality))
        self._driver.tell(record)

    async def _spoil(self, skipped: Skipped) -> None:
        self._strange += len(skipped.raw)
        if self._strange > _STRANGE:
            raise ProtocolFault("What is plugged into this port is not a SureTemp Plus.")
        reason = f"The stream held {skipped.reason}."
        await self._sink.quarantine(RawFrame(SOURCE, skipped.raw), reason)

    def _report(self, state: str, detail: str = "") -> None:
        if (state, detail) != self._said:
            self._said = (state, detail)
            self._sink.report(state, detail)
