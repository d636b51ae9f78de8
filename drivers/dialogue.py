"""One visit of a device that has a protocol of its own: what is asked, heard, kept and said.

A `Talk` is the protocol, pure. This module is the edge: it listens before it asks, makes each
frame durable before it is decoded, says «we are through» to the device only after the store
has returned, and ends a device that answers for ever.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, cast

from drivers.base import RawFrame
from drivers.ending import see_through
from drivers.errors import DriverError, Misconfigured, ProtocolFault, Unavailable
from drivers.gatt_introduction import identify
from drivers.spot import FIRST_YEAR_IN_SERVICE, shown_as
from drivers.talk import Keeping, Step

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from drivers.base import Sink, Value
    from drivers.card import Card
    from drivers.gatt_link import GattLink
    from drivers.talk import Profile

MOST_FRAMES = 4096
"""Frames of one visit: a memory of 250 records takes a tenth, a clip's minute a fifth."""
MOST_REFUSED = 16
"""Refusals of one visit, after which it is clear that the device speaks otherwise."""
_REFUSED_BEFORE = "It could not be read at an earlier visit either, and is kept since then."


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds: for an answer, after the last reading, of a visit, to be settled at its end."""

    answer: float = 15.0
    idle: float = 5.0
    visit: float = 60.0
    drain: float = 15.0


def unit_time() -> datetime | None:
    """The unit's local time, None where it cannot be: a device keeps the time it is given."""
    now = datetime.now()  # noqa: DTZ005 - devices know no zone
    return now if now.year >= FIRST_YEAR_IN_SERVICE else None


class Dialogue:
    """The driver of a device with a profile of its own.

    `refused` is what could not be read so far: a device that tells its whole memory at each
    visit tells that, too, and nobody is to be told of it every time.
    """

    def __init__(
        self,
        source: str,
        profile: Profile,
        clock: Callable[[], datetime | None] = unit_time,
        limits: Limits | None = None,
    ) -> None:
        self.source = source
        self.profile = profile
        self.clock = clock
        self.limits = limits or Limits()
        self.refused: set[bytes] = set()

    @classmethod
    def of(cls, card: Card, profile: Profile, settings: dict[str, object]) -> Dialogue:
        """The driver of a device without settings; `Misconfigured` where some are given."""
        if settings:
            given = ", ".join(sorted(settings))
            raise Misconfigured(card.name, f"remove {given}: this device has no settings")
        return cls(card.name, profile)

    def acknowledges(self, characteristic: str, content: bytes) -> bool:
        """Whether writing `content` tells the device that its readings are taken."""
        return characteristic == self.profile.ear(content) and content in self.profile.farewells

    async def run(self, link: object, sink: Sink) -> None:
        """Hold one visit and close the link (a `GattLink`).

        Its end is the device hanging up, a farewell, silence, or the longest visit. Raises
        `Unavailable`, `ProtocolFault`, whatever the sink raises, and TimeoutError where the
        sink does not settle in time what was heard.
        """
        await _Visit(self, cast("GattLink", link), sink).run()


@dataclass(frozen=True, slots=True)
class _Kept:
    number: int | None
    raw: bytes


class _Visit:
    """Two stages in a row, so that a slow record never delays the keeping of the next frame."""

    def __init__(self, driver: Dialogue, link: GattLink, sink: Sink) -> None:
        self._profile = driver.profile
        self._source = driver.source
        self._limits = driver.limits
        self._clock = driver.clock
        self._link = link
        self._sink = sink
        self._name = link.name
        self._talk = driver.profile.talk(link.name)
        self._heard: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._kept: asyncio.Queue[_Kept | None] = asyncio.Queue()
        self._open: list[_Kept] = []
        self._over = asyncio.Event()
        self._fault: DriverError | None = None
        self._count = self._refused = self._recorded = 0
        self._known, self._refusals = frozenset(driver.refused), driver.refused
        self._shown: tuple[Value, ...] = ()
        self._patience: asyncio.Timeout | None = None
        self._latest = 0.0

    async def run(self) -> None:
        stages = [asyncio.create_task(self._keep_each()), asyncio.create_task(self._settle_each())]
        ends = [asyncio.create_task(self._link.wait_closed()), asyncio.create_task(self._ended())]
        try:
            try:
                await self._converse([*ends, *stages])
            finally:
                await see_through(self._finish(stages))
        finally:
            for task in (*ends, *stages):
                task.cancel()
            await asyncio.gather(*ends, *stages, return_exceptions=True)
        if self._fault is not None and not (
            isinstance(self._fault, Unavailable) and self._recorded
        ):
            raise self._fault

    async def _ended(self) -> None:
        await self._over.wait()

    async def _converse(self, ends: Sequence[asyncio.Task[None]]) -> None:
        self._latest = asyncio.get_running_loop().time() + self._limits.visit
        patience = asyncio.timeout_at(self._latest)
        try:
            async with patience:
                self._patience = patience
                await self._open_talk()
                self._wait(self._limits.answer)
                await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        except TimeoutError:
            if not patience.expired():
                raise
        finally:
            self._patience = None

    async def _introduce(self) -> None:
        """Learn who it is before it is asked: its words hang on its model."""
        said = await identify(self._link, self._sink)
        self._sink.identify(said)
        self._name = shown_as(self._link.name, said.model, self._link.companies)
        self._talk = self._profile.talk(self._name)

    async def _listen(self) -> None:
        await self._link.subscribe(self._profile.listen, self._hear)
        for each in self._profile.also_listen:
            if self._link.has(each):
                await self._link.subscribe(each, self._hear)

    async def _open_talk(self) -> None:
        if self._profile.settle:
            await asyncio.sleep(self._profile.settle)
        if self._profile.introduced:
            await self._introduce()
        try:
            await self._listen()
            for request in self._talk.begin(self._clock()):
                await self._write(request)
        except Unavailable:
            # A fast device tells all it has and hangs up before we have said a word.
            if not self._count:
                raise

    def _hear(self, raw: bytes) -> None:
        self._count += 1
        if self._count > MOST_FRAMES:
            self._give_up(ProtocolFault("The device answers without an end."))
            return
        self._heard.put_nowait(raw)

    def _give_up(self, fault: DriverError) -> None:
        self._fault = self._fault or fault
        self._over.set()

    def _wait(self, seconds: float) -> None:
        if self._patience is not None and not self._patience.expired():
            end = asyncio.get_running_loop().time() + seconds
            self._patience.reschedule(min(end, self._latest))

    async def _write(self, content: bytes) -> None:
        ear = self._profile.ear(content)
        if ear is None:
            return
        try:
            async with asyncio.timeout(self._limits.answer):
                await self._link.write(ear, content)
        except TimeoutError:
            raise Unavailable(self._link.name or self._source, "it takes no request") from None

    async def _keep_each(self) -> None:
        try:
            while (raw := await self._heard.get()) is not None:
                number = None
                if self._profile.keeping is Keeping.EACH_FRAME:
                    number = await self._sink.keep(self._frame(raw))
                self._kept.put_nowait(_Kept(number, raw))
        finally:
            self._kept.put_nowait(None)

    def _frame(self, raw: bytes) -> RawFrame:
        return RawFrame(self._source, raw, self._name)

    async def _settle_each(self) -> None:
        while (kept := await self._kept.get()) is not None:
            self._open.append(kept)
            await self._take(self._talk.hear(kept.raw))
        await self._take(self._talk.end())
        if self._open:
            await self._settle(Step(refused="The device stopped in the middle of its answer."))

    async def _take(self, step: Step) -> None:
        if step.live != self._shown:
            self._shown = step.live
            self._sink.show(step.live)
        if step.settles:
            await self._settle(step)
        if step.progress:
            ends_soon = bool(step.readings) and step.farewell is None
            self._wait(self._limits.idle if ends_soon else self._limits.answer)
        if not self._over.is_set():
            await self._answer(step)

    async def _answer(self, step: Step) -> None:
        try:
            for request in step.say:
                await self._write(request)
        except DriverError as fault:
            self._give_up(fault)
            return
        if step.fault is not None:
            self._give_up(ProtocolFault(step.fault))
        elif step.farewell is not None:
            with suppress(DriverError):  # everything is durable, whatever it makes of this
                await self._write(step.farewell)
            self._over.set()

    async def _settle(self, step: Step) -> None:
        frames, self._open = self._open, []
        numbers = tuple(each.number for each in frames if each.number is not None)
        for place, reading in enumerate(step.readings, start=1):
            # The frames are let go with the last of their readings: a crash before it finds them.
            last = place == len(step.readings) and step.refused is None
            await self._sink.record(reading, numbers if last else ())
            self._recorded += 1
        if step.refused is not None:
            await self._refuse(frames, step.refused)
        elif not step.readings:
            await self._pass_over(frames, step.empty or "")

    async def _refuse(self, frames: Sequence[_Kept], reason: str) -> None:
        self._refused += 1
        if self._refused >= MOST_REFUSED:
            self._give_up(ProtocolFault("The device speaks otherwise than its protocol."))
        whole = b"".join(each.raw for each in frames)
        if whole in self._known:
            await self._pass_over(frames, _REFUSED_BEFORE)
            return
        self._refusals.add(whole)
        for each in frames:
            kept = self._frame(each.raw) if each.number is None else each.number
            await self._sink.quarantine(kept, reason)

    async def _pass_over(self, frames: Sequence[_Kept], reason: str) -> None:
        for each in frames:
            if each.number is not None:
                await self._sink.pass_over(each.number, reason)

    async def _finish(self, stages: Sequence[asyncio.Task[None]]) -> None:
        self._over.set()
        try:
            await self._link.close()
        finally:
            self._heard.put_nowait(None)
            _, late = await asyncio.wait(stages, timeout=self._limits.drain)
            for stage in stages:
                if stage not in late:
                    stage.result()
            if late:
                raise TimeoutError("The store did not answer: received readings are not saved.")
