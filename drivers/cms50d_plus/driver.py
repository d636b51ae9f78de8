"""Asks a CMS50D+ to speak, and stores one reading of each stay of a finger."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, cast

from drivers.base import RawFrame
from drivers.clip import ClipTalk, meaning_of
from drivers.cms50d_plus.codec import Framer, said
from drivers.errors import Misconfigured, ProtocolFault, Unavailable
from drivers.framing import Skipped

if TYPE_CHECKING:
    from drivers.base import Sink, Value
    from drivers.clip import Meaning
    from drivers.serial_session import Stream
    from drivers.talk import Step

SOURCE: Final = "cms50d-plus"
SPEAK_UP: Final = bytes.fromhex("7d81a1808080808080")
"""Asks for the values; nothing in the clip changes, and it falls silent after a while."""
ASK_EVERY_S: Final = 2.0
STRANGE: Final = 4096
"""This many bytes in a row that belong to no packet come from something else."""


def build(settings: dict[str, object]) -> Clip:
    """The driver. It has no settings: `Misconfigured` where there are any."""
    if settings:
        given = ", ".join(sorted(settings))
        raise Misconfigured(SOURCE, f"remove {given}: this driver has no settings")
    return Clip()


class Clip:
    """See `drivers.base.Driver`; the link is a `Stream`."""

    async def run(self, link: object, sink: Sink) -> None:
        """Read until the link ends. Raises `Unavailable`, `ProtocolFault` or the store's error."""
        stream = cast("Stream", link)
        try:
            await _Visit(stream, sink).run()
        finally:
            stream.close()


class _Visit:
    """One link. The cable is there without its clip, too: then nothing answers."""

    def __init__(self, stream: Stream, sink: Sink) -> None:
        self._stream = stream
        self._sink = sink
        self._framer = Framer()
        self._talk = ClipTalk(self._meanings)
        self._strange = 0
        self._skipped: list[Skipped] = []
        self._shown: tuple[Value, ...] = ()
        self._state = ""

    async def run(self) -> None:
        try:
            await self._ask()
            while True:
                await self._take(self._talk.hear(await self._read()))
        except (Unavailable, ProtocolFault):
            await self._take(self._talk.end())
            raise

    async def _read(self) -> bytes:
        while True:
            try:
                async with asyncio.timeout(ASK_EVERY_S):
                    return await self._stream.read()
            except TimeoutError:
                await self._ask()

    async def _ask(self) -> None:
        self._report("waiting")
        await self._stream.write(SPEAK_UP)

    def _meanings(self, raw: bytes) -> list[Meaning]:
        events = self._framer.feed(raw)
        for event in events:
            if isinstance(event, Skipped):
                self._strange += len(event.raw)
                self._skipped.append(event)
            else:
                self._strange = 0
        return [meaning_of(event, said) for event in events]

    async def _take(self, step: Step) -> None:
        for reading in step.readings:
            await self._sink.record(reading)
        while self._skipped:
            event = self._skipped.pop()
            await self._sink.quarantine(RawFrame(SOURCE, event.raw), event.reason)
        if step.live:
            self._report("connected")
        if step.live != self._shown:
            self._shown = step.live
            self._sink.show(step.live)
        if self._strange > STRANGE:
            raise ProtocolFault("What is plugged into this port is not a CMS50D+.")

    def _report(self, state: str) -> None:
        if state != self._state:
            self._state = state
            self._sink.report(state)
