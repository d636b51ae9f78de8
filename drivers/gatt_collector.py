"""What becomes of the frames of one visit: readings, nothing, or quarantine."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from drivers.base import Decoded, NoReading, RawFrame, records_of
from drivers.card import decoder
from drivers.errors import ProtocolFault
from drivers.settled import Settled

if TYPE_CHECKING:
    from drivers.base import DecodeFunction, Measurement, Outcome, Sink
    from drivers.card import Card
    from drivers.gatt_introduction import Comparison


@dataclass(frozen=True, slots=True)
class Heard:
    """A frame of one source; `number` is what it is kept under, None for one of a stream."""

    source: str
    raw: bytes
    number: int | None = None


class Collector:
    """Decodes and stores what one visit hears.

    `shown_as` and `compared` are the session's; `sequence` is the number of the last record
    that was settled, where records have numbers.

    A stream is not kept frame by frame, since its device forgets nothing: each frame is shown,
    and at the end of the visit the one at which the value had settled is kept and stored.
    """

    def __init__(self, card: Card, decode: DecodeFunction, sink: Sink) -> None:
        self.shown_as: str | None = None
        self.compared: Comparison | None = None
        self.sequence: int | None = None
        self.sink = sink
        self._card = card
        self._decode = decode
        self._streams: dict[str, Settled] = {}
        self._refused: set[tuple[str, str]] = set()
        self._measured_now = False

    async def take(self, heard: Heard) -> bool:
        """Settle one frame; whether the device is still measuring or telling what it has."""
        if heard.number is None:
            return await self._watch(heard)
        try:
            outcome = self.decoded(heard)
        except ProtocolFault as fault:
            await self.sink.quarantine(heard.number, fault.reason)
            return True
        records = records_of(outcome)
        for record in records:
            await self.store(record, (heard.number,))
        if not records and isinstance(outcome, NoReading):
            await self.sink.pass_over(heard.number, outcome.reason)
        return True

    def decoded(self, heard: Heard) -> Outcome:
        """Decode a frame; `ProtocolFault` where that can't be."""
        first = heard.source == self._card.sources[0]
        decode = self._decode if first else decoder(self._card.name, heard.source)
        return decode(heard.raw, name=self.shown_as)

    async def store(self, reading: Measurement, numbers: tuple[int, ...]) -> None:
        """Record a reading and the offset of its clock."""
        self._measured_now |= "from-storage" not in reading.status and reading.absent is None
        if self.compared is not None and reading.device_time is not None:
            reading = replace(reading, clock_offset_ms=self.compared.milliseconds)
        await self.sink.record(reading, numbers)

    async def finish(self) -> None:
        """Store what has settled in a stream, unless the visit brought the reading itself."""
        if self._streams:
            self.sink.show(())
        if self._measured_now:
            return
        for source, settled in self._streams.items():
            if settled.reading is not None:
                frame = RawFrame(source, settled.reading.raw, self.shown_as)
                await self.store(settled.reading, (await self.sink.keep(frame),))

    async def _watch(self, heard: Heard) -> bool:
        settled = self._streams.setdefault(heard.source, Settled())
        try:
            outcome = self.decoded(heard)
        except ProtocolFault as fault:
            settled.doubt()
            await self._refuse(heard, fault.reason)
            return False
        if not isinstance(outcome, Decoded):
            settled.doubt()
            self.sink.show(outcome.live)
            return bool(outcome.live)
        for reading in outcome.readings:
            settled.watch(reading)
            self.sink.show(reading.values)
        return True

    async def _refuse(self, heard: Heard, reason: str) -> None:
        """Keep the first frame of a stream that can't be decoded, not a thousand of them."""
        if (heard.source, reason) not in self._refused:
            self._refused.add((heard.source, reason))
            await self.sink.quarantine(RawFrame(heard.source, heard.raw, self.shown_as), reason)
