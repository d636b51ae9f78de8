"""One visit of a device that indicates what it has measured, and hangs up.

Such a device forgets a measurement as soon as the Bluetooth stack has confirmed it, which
BlueZ does before any program sees it. So the order of work is: subscribe first, make every
frame durable the moment it comes, decode afterwards, and keep what was heard even when the
visit ends in an error or is cancelled.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, cast

from drivers.base import Decoded, RawFrame
from drivers.errors import Misconfigured, ProtocolFault, Unavailable
from drivers.spot import quirks_of

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from drivers.base import DecodeFunction, Sink
    from drivers.card import Card


class GattLink(Protocol):
    """A connected device, its services already discovered."""

    @property
    def name(self) -> str | None:
        """What the device calls itself, if it does."""

    async def subscribe(self, characteristic: str, hear: Callable[[bytes], None]) -> None:
        """Turn indications on; `hear` gets each frame at once, in order, on the loop.

        `Unavailable` where the device is gone, `ProtocolFault` where it lacks the characteristic.
        """

    async def wait_closed(self) -> None:
        """Return when the device has hung up, or `close` has been called."""

    async def close(self) -> None:
        """Hang up and let the stack forget the subscription; harmless to call again."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a visit lasts, in seconds: after the last reading, at most, and to be settled."""

    idle: float = 5.0
    visit: float = 60.0
    drain: float = 15.0


class GattDriver:
    """Reads every device whose readings are indications of one characteristic."""

    def __init__(self, card: Card, decode: DecodeFunction, limits: Limits | None = None) -> None:
        (self.source,) = card.sources
        self.decode = decode
        self.quirks = card.quirks
        self.limits = limits or Limits()

    @classmethod
    def of(cls, card: Card, decode: DecodeFunction, settings: dict[str, object]) -> GattDriver:
        """The driver of a device that has no settings; `Misconfigured` where some are given."""
        if settings:
            given = ", ".join(sorted(settings))
            raise Misconfigured(card.name, f"remove {given}: this device has no settings")
        return cls(card, decode)

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
        self._heard: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._kept: asyncio.Queue[tuple[int, bytes] | None] = asyncio.Queue()
        self._count = 0
        self._settled = 0
        self._patience: asyncio.Timeout | None = None
        self._latest = 0.0

    async def run(self) -> None:
        stages = [asyncio.create_task(self._keep_each()), asyncio.create_task(self._settle_each())]
        gone = asyncio.create_task(self._link.wait_closed())
        try:
            try:
                await self._listen([gone, *stages])
            finally:
                await _see_through(self._finish(stages))
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
                await self._subscribe()
                await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        except TimeoutError:
            if not patience.expired():
                raise
        finally:
            self._patience = None

    async def _subscribe(self) -> None:
        quirks = quirks_of(self._driver.quirks, self._link.name)
        settle_ms = max((quirk.settle_ms for quirk in quirks), default=0)
        if settle_ms:
            await asyncio.sleep(settle_ms / 1000)
        try:
            await self._link.subscribe(self._driver.source, self._hear)
        except Unavailable:
            # A fast device indicates and hangs up before the subscription has returned.
            if not self._count:
                raise

    def _hear(self, raw: bytes) -> None:
        self._count += 1
        self._heard.put_nowait(raw)
        self._wait_until(self._latest)

    def _wait_until(self, end: float) -> None:
        if self._patience is not None and not self._patience.expired():
            self._patience.reschedule(min(end, self._latest))

    async def _keep_each(self) -> None:
        try:
            while (raw := await self._heard.get()) is not None:
                frame = RawFrame(self._driver.source, raw, self._link.name)
                number = await self._sink.keep(frame)
                self._kept.put_nowait((number, raw))
        finally:
            self._kept.put_nowait(None)

    async def _settle_each(self) -> None:
        while (kept := await self._kept.get()) is not None:
            await self._settle(*kept)
            self._settled += 1
            if self._settled == self._count:
                self._wait_until(asyncio.get_running_loop().time() + self._limits.idle)

    async def _settle(self, number: int, raw: bytes) -> None:
        try:
            outcome = self._driver.decode(raw, name=self._link.name)
        except ProtocolFault as fault:
            await self._sink.quarantine(number, fault.reason)
            return
        if not isinstance(outcome, Decoded):
            await self._sink.pass_over(number, outcome.reason)
            return
        for reading in outcome.readings:
            await self._sink.record(reading, (number,))

    async def _drain(self, stages: Sequence[asyncio.Task[None]]) -> None:
        self._heard.put_nowait(None)
        _, late = await asyncio.wait(stages, timeout=self._limits.drain)
        for stage in stages:
            if stage not in late:
                stage.result()
        if late:
            left = self._count - self._settled
            raise TimeoutError(f"The store did not answer: {left} received readings are not saved.")


async def _see_through(work: Coroutine[None, None, None]) -> None:
    """Await `work` to its end, which is near; a cancellation meanwhile is raised after it.

    What was heard is already forgotten by the device, so stopping the agent must not lose it.
    """
    task = asyncio.create_task(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    task.result()
    if cancelled is not None:
        raise cancelled
