"""One visit of a device that indicates what it has measured, and hangs up.

Such a device forgets a measurement as soon as the Bluetooth stack has confirmed it, which
BlueZ does before any program sees it. So the order of work is: subscribe first, make every
frame durable the moment it comes, decode afterwards, and keep what was heard even when the
visit ends in an error or is cancelled. Who the device is and what time it has is asked once
we listen; decoding waits for it, keeping does not.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, cast

from drivers.base import Identity, RawFrame
from drivers.companions import CURRENT_TIME, DATE_TIME
from drivers.ending import see_through
from drivers.errors import Misconfigured, ProtocolFault, Unavailable
from drivers.gatt_collector import Collector, Heard
from drivers.gatt_introduction import compare_clocks, identify, look_at_battery, set_clock
from drivers.gatt_link import GattLink
from drivers.gatt_records import Records
from drivers.spot import quirks_of, shown_as

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from drivers.base import DecodeFunction, Sink
    from drivers.card import Card, ClockSetting, Quirk

__all__ = ["GattDriver", "GattLink", "Limits"]


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a visit lasts, in seconds.

    After the last reading, at most, to settle the next one, and what asking beside the readings
    may take.
    """

    idle: float = 5.0
    visit: float = 60.0
    drain: float = 15.0
    introduction: float = 5.0


def _wall_clock() -> datetime:
    return datetime.now(UTC).astimezone()


class GattDriver:
    """Reads every device whose readings are the sources of a card.

    `clock` gives the unit's aware local time: a device's clock is compared with it and set to
    it. `sequence` is the number of the last record that was saved, and `identity` what the
    device said of itself; both in memory only: a device that is asked for everything again says
    the same records again, which changes nothing.
    """

    def __init__(
        self,
        card: Card,
        decode: DecodeFunction,
        limits: Limits | None = None,
        clock: Callable[[], datetime] = _wall_clock,
    ) -> None:
        self.card = card
        self.source = card.sources[0]
        self.decode = decode
        self.limits = limits or Limits()
        self.clock = clock
        self.identity = Identity()
        self.sequence: int | None = None

    @classmethod
    def of(cls, card: Card, decode: DecodeFunction, settings: dict[str, object]) -> GattDriver:
        """The driver of a device that has no settings; `Misconfigured` where some are given."""
        if settings:
            given = ", ".join(sorted(settings))
            raise Misconfigured(card.name, f"remove {given}: this device has no settings")
        return cls(card, decode)

    def collector(self, sink: Sink) -> Collector:
        """What settles the frames of one visit."""
        return Collector(self.card, self.decode, sink)

    async def run(self, link: object, sink: Sink) -> None:
        """Read one visit and close the link (a `GattLink`).

        The end is the device hanging up, silence after the last reading, or the longest visit.
        Raises `Unavailable`, `ProtocolFault`, whatever the sink raises, and TimeoutError where
        the sink does not settle in time what was heard.
        """
        await _Visit(self, cast("GattLink", link), sink).run()


class _Visit:
    """Two stages in a row, so that a slow record never delays the keeping of the next frame."""

    def __init__(self, driver: GattDriver, link: GattLink, sink: Sink) -> None:
        self._driver = driver
        self._limits = driver.limits
        self._link = link
        self._sink = sink
        self._collector = driver.collector(sink)
        self._records = Records(link, driver.card.control, driver.sequence)
        self._introduced = asyncio.Event()
        self._heard: asyncio.Queue[Heard | None] = asyncio.Queue()
        self._kept: asyncio.Queue[Heard | None] = asyncio.Queue()
        self._count = 0
        self._settled = 0
        self._done = 0
        self._patience: asyncio.Timeout | None = None
        self._latest = 0.0
        self._collector.shown_as = self._shown_as()

    async def run(self) -> None:
        stages = [asyncio.create_task(self._keep_each()), asyncio.create_task(self._settle_each())]
        gone = asyncio.create_task(self._link.wait_closed())
        try:
            try:
                await self._listen([gone, *stages])
            finally:
                self._introduced.set()
                await see_through(self._finish(stages))
        finally:
            for task in (gone, *stages):
                task.cancel()
            await asyncio.gather(gone, *stages, return_exceptions=True)

    async def _finish(self, stages: Sequence[asyncio.Task[None]]) -> None:
        try:
            await self._link.close()
        finally:
            await self._drain(stages)

    async def _listen(self, ends: Sequence[asyncio.Task[None]]) -> None:
        self._latest = asyncio.get_running_loop().time() + self._limits.visit
        patience = asyncio.timeout_at(self._latest)
        try:
            async with patience:
                self._patience = patience
                await self._attend(ends)
        except TimeoutError:
            if not patience.expired():
                raise
        finally:
            self._patience = None

    async def _attend(self, ends: Sequence[asyncio.Task[None]]) -> None:
        settle_ms = max((quirk.settle_ms for quirk in self._quirks()), default=0)
        if settle_ms:
            await asyncio.sleep(settle_ms / 1000)
        if self._clock_setting() == "date-time":
            await self._within(self._see_to_clock(DATE_TIME))
        try:
            await self._subscribe()
        except Unavailable:
            # A fast device indicates and hangs up before the subscription has returned.
            if not self._count:
                raise
        await self._within(self._introduce())
        self._introduced.set()
        asking = asyncio.create_task(self._records.ask())
        try:
            await asyncio.wait([*ends, asking], return_when=asyncio.FIRST_COMPLETED)
            if asking.done() and not any(end.done() for end in ends):
                asking.result()
                self._rest()
                await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)

    async def _subscribe(self) -> None:
        card = self._driver.card
        offered = [source for source in card.sources if self._link.has(source)]
        for source in offered or [card.sources[0]]:
            try:
                await self._link.subscribe(source, self._hearing(source))
            except (ProtocolFault, Unavailable):
                # What is only shown must not cost what is stored.
                if source not in card.streams or offered == [source]:
                    raise
        await self._records.listen()

    def _hearing(self, source: str) -> Callable[[bytes], None]:
        if source in self._driver.card.streams:
            return lambda raw: self._kept.put_nowait(Heard(source, raw))

        def hear(raw: bytes) -> None:
            self._count += 1
            self._heard.put_nowait(Heard(source, raw))
            self._wait_until(self._latest)

        return hear

    async def _introduce(self) -> None:
        said = await identify(self._link, self._sink)
        if said != Identity():
            self._driver.identity = said
        self._sink.identify(self._driver.identity)
        self._collector.shown_as = self._shown_as()
        await look_at_battery(self._link, self._sink)
        if self._clock_setting() == "current-time":
            await self._see_to_clock(CURRENT_TIME)

    async def _see_to_clock(self, characteristic: str) -> None:
        clock = self._driver.clock
        compared = await compare_clocks(self._link, characteristic, clock)
        self._collector.compared = compared
        await set_clock(self._link, characteristic, clock, compared)

    async def _within(self, work: Coroutine[None, None, None]) -> None:
        """What is asked beside the readings ends in time, whether or not it is answered."""
        try:
            async with asyncio.timeout(self._limits.introduction) as limit:
                await work
        except TimeoutError:
            if not limit.expired():
                raise

    def _quirks(self) -> tuple[Quirk, ...]:
        return quirks_of(self._driver.card.quirks, self._shown_as())

    def _shown_as(self) -> str | None:
        return shown_as(self._link.name, self._driver.identity.model, self._link.companies)

    def _clock_setting(self) -> ClockSetting:
        said = [quirk.clock for quirk in self._quirks() if quirk.clock is not None]
        return said[0] if said else "current-time"

    def _wait_until(self, end: float) -> None:
        if self._patience is not None and not self._patience.expired():
            self._patience.reschedule(min(end, self._latest))

    def _rest(self) -> None:
        """All there was is settled: wait a little for more, and no longer."""
        if self._settled == self._count and self._records.answered:
            self._wait_until(asyncio.get_running_loop().time() + self._limits.idle)

    async def _keep_each(self) -> None:
        try:
            while (heard := await self._heard.get()) is not None:
                frame = RawFrame(heard.source, heard.raw, self._shown_as())
                number = await self._sink.keep(frame)
                self._done += 1
                self._kept.put_nowait(Heard(heard.source, heard.raw, number))
        finally:
            self._kept.put_nowait(None)

    async def _settle_each(self) -> None:
        while (heard := await self._kept.get()) is not None:
            await self._introduced.wait()
            lively = await self._collector.take(heard)
            self._settled += heard.number is not None
            self._done += 1
            if lively:
                self._rest()
        await self._collector.finish()
        if self._collector.sequence is not None:
            self._driver.sequence = self._collector.sequence

    async def _drain(self, stages: Sequence[asyncio.Task[None]]) -> None:
        self._heard.put_nowait(None)
        late: set[asyncio.Task[None]] = set(stages)
        done = -1
        while late and done != self._done:
            # A slow store is waited for as long as it gets anywhere: the device has forgotten
            # what it has told, and what is not kept yet is nowhere else.
            done = self._done
            _, late = await asyncio.wait(stages, timeout=self._limits.drain)
        for stage in stages:
            if stage not in late:
                stage.result()
        if late:
            left = self._count - self._settled
            raise TimeoutError(f"The store did not answer: {left} received readings are not saved.")
