"""A broker and the ways to and from it, in simulated time: late, lost, doubled, torn, replayed."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from sync.outbox import Inbound, LinkLost

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from random import Random

_OLD = 30
_HELD_BACK = 120.0


@dataclass
class Weather:
    """How a schedule is, drawn once: odds of a message, odds of a second, seconds, bytes."""

    latency: float
    lost: float
    doubled: float
    flipped: float
    replayed: float
    cuts: float
    crashes: float
    deaf: float
    restores: float
    copies: float
    pictures: float
    poison: float
    commit: float
    packet_max: int
    room: int

    @classmethod
    def draw(cls, chance: Random) -> Weather:
        """Some schedules are calm in one thing and wild in another."""
        some = chance.choice
        return cls(
            latency=some((0.01, 0.6, 5.0)),
            lost=some((0.0, 0.05, 0.4)),
            doubled=some((0.0, 0.1, 0.5)),
            flipped=some((0.0, 0.0, 0.1)),
            replayed=some((0.0, 0.1, 0.5)),
            cuts=some((0.0, 0.01, 0.05)),
            crashes=some((0.0, 0.01, 0.03)),
            deaf=some((0.0, 0.0, 0.02)),
            restores=some((0.0, 0.0, 0.03)),
            copies=some((0.0, 0.0, 0.01)),
            pictures=some((0.0, 0.2)),
            poison=some((0.0, 0.1)),
            commit=some((0.0, 0.02, 0.5)),
            packet_max=some((1 << 20, 20_000)),
            room=some((1, 20, 65535)),
        )

    def calm(self) -> None:
        """Let nothing go wrong any more."""
        self.latency = 0.1
        for odds in ("lost", "doubled", "flipped", "replayed", "cuts", "crashes", "deaf"):
            setattr(self, odds, 0.0)
        self.restores = self.copies = 0.0


class SimulatedLink:
    """Implements `sync.outbox.Link` for as long as it stands."""

    def __init__(self, network: Network) -> None:
        self.packet_max = network.weather.packet_max
        self.room = network.weather.room
        self.inbound: asyncio.Queue[Inbound | None] = asyncio.Queue()
        self._network = network
        self._cut = asyncio.Event()
        self._room = asyncio.Semaphore(self.room)

    async def publish(self, channel: str, payload: bytes) -> None:
        """Hand over; the broker acknowledges in its own time, which proves nothing."""
        assert len(payload) <= self.packet_max, "a packet that the broker does not take"
        if self._cut.is_set():
            raise LinkLost("cut")
        async with self._room:
            if not self._cut.is_set():
                self._network.up(channel, payload)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._network.delay()):
                    await self._cut.wait()
        if self._cut.is_set():
            raise LinkLost("cut")

    async def receive(self) -> Inbound:
        """Wait for a message."""
        found = await self.inbound.get()
        if found is None:
            raise LinkLost("cut")
        return found

    def cut(self) -> None:
        """Break; whatever was under way goes on without us."""
        self._cut.set()
        self.inbound.put_nowait(None)


class Network:
    """Carries messages between one unit and `centre`, which gives receipts for what it took."""

    def __init__(
        self, chance: Random, weather: Weather, centre: Callable[[str, bytes], list[bytes]]
    ) -> None:
        self.weather = weather
        self.link: SimulatedLink | None = None
        self.connections = 0
        self._chance = chance
        self._centre = centre
        self._old: list[bytes] = []

    def happens(self, odds: float) -> bool:
        """Draw."""
        return odds > 0 and self._chance.random() < odds

    def delay(self) -> float:
        """Seconds of one way."""
        return self._chance.uniform(0, 2 * self.weather.latency)

    @contextlib.asynccontextmanager
    async def connect(self) -> AsyncIterator[SimulatedLink]:
        """Open a link; what is retained at the broker comes first."""
        await asyncio.sleep(self.delay())
        if self.happens(self.weather.cuts):
            raise LinkLost("no route")
        self.connections += 1
        self.link = link = SimulatedLink(self)
        if self._old and self.happens(self.weather.replayed):
            link.inbound.put_nowait(
                Inbound("down/receipt", self._chance.choice(self._old), retained=True)
            )
        try:
            yield link
        finally:
            link.cut()
            self.link = None if self.link is link else self.link

    def cut(self) -> None:
        """Break the link, if there is one."""
        if self.link:
            self.link.cut()

    def up(self, channel: str, payload: bytes) -> None:
        """From the unit to the centre."""

        def arrive() -> None:
            for receipt in self._centre(channel, self._torn(payload)):
                self.down(receipt)

        for _ in range(2 if self.happens(self.weather.doubled) else 1):
            self._travel(arrive)

    def down(self, receipt: bytes) -> None:
        """From the centre to whatever link stands when it arrives."""
        self._old = [*self._old[-_OLD:], receipt]
        again = [self._chance.choice(self._old)] if self.happens(self.weather.replayed) else []
        for each in (receipt, *again):
            content = self._torn(each)
            self._travel(partial(self._deliver, content))

    def _deliver(self, receipt: bytes) -> None:
        if self.link:
            self.link.inbound.put_nowait(Inbound("down/receipt", receipt, retained=False))

    def _travel(self, arrive: Callable[[], None]) -> None:
        """One way, in any order; a broker may hold a message back for minutes."""
        later = asyncio.get_running_loop().call_later
        if not self.happens(self.weather.lost):
            later(self.delay(), arrive)
        elif self.happens(0.5):
            later(self._chance.uniform(0, _HELD_BACK), arrive)

    def _torn(self, payload: bytes) -> bytes:
        if not self.happens(self.weather.flipped):
            return payload
        bit = self._chance.randrange(8 * len(payload))
        content = bytearray(payload)
        content[bit // 8] ^= 1 << bit % 8
        return bytes(content)
