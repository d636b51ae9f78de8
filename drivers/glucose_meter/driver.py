"""The driver of a meter: its records, each together with what the patient noted beside it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from drivers.base import Decoded
from drivers.card import card
from drivers.errors import ProtocolFault
from drivers.gatt_collector import Collector, Heard
from drivers.gatt_session import GattDriver
from drivers.glucose_meter.codec import decode, header
from drivers.glucose_meter.context import decode_context

if TYPE_CHECKING:
    from drivers.base import Driver, Measurement, Sink

MEASUREMENT = "2A18"


def build(settings: dict[str, object]) -> Driver:
    """The driver of a meter; `Misconfigured` for any setting, since it has none."""
    return GlucoseDriver.of(card("glucose-meter"), decode, settings)


class GlucoseDriver(GattDriver):
    """A session whose records may each be told in two frames."""

    def collector(self, sink: Sink) -> Collector:
        """What joins the frames of one visit."""
        return GlucoseCollector(self.card, self.decode, sink)


@dataclass(frozen=True, slots=True)
class _Waiting:
    sequence: int
    reading: Measurement
    number: int


class GlucoseCollector(Collector):
    """Holds a record back until its context has come, or until it can't come any more."""

    _waiting: _Waiting | None = None

    async def take(self, heard: Heard) -> bool:
        """See `Collector.take`; both frames of a record are settled with its one reading."""
        if heard.source != MEASUREMENT:
            return await self._join(heard)
        await self._release()
        outcome = None
        try:
            about = header(heard.raw)
            outcome = self.decoded(heard)
        except ProtocolFault:
            return await super().take(heard)
        if about.context_follows and isinstance(outcome, Decoded) and heard.number is not None:
            self._waiting = _Waiting(about.sequence, outcome.readings[0], heard.number)
        else:
            await super().take(heard)
            self.sequence = about.sequence
        return True

    async def finish(self) -> None:
        """See `Collector.finish`."""
        await self._release()
        await super().finish()

    async def _join(self, heard: Heard) -> bool:
        waiting = self._waiting
        try:
            context = decode_context(heard.raw)
        except ProtocolFault:
            return await super().take(heard)
        if waiting is None or heard.number is None or context.sequence != waiting.sequence:
            return await super().take(heard)
        self._waiting = None
        status = (*waiting.reading.status, *context.words)
        await self.store(replace(waiting.reading, status=status), (waiting.number, heard.number))
        self.sequence = waiting.sequence
        return True

    async def _release(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            await self.store(waiting.reading, (waiting.number,))
            self.sequence = waiting.sequence
