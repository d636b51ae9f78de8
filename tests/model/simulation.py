"""A unit, a network and a centre in simulated time: one whole schedule from one seed.

What runs is the product: uplink, session, backoff, pace, plan, lane, every byte of the contract,
and the centre's ledger over SQLite in memory. Simulated are time, chance, the network, and the
unit's disk, which holds its log in memory (`log.py`) around the same `settle`.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import uuid
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from unittest.mock import patch

from sync import uplink as uplink_module
from sync.uplink import Uplink

from .ledger import MemoryCentre, centre_key, unit_key
from .log import Disk, Log, MemoryOutbox, PowerCut
from .loop import NothingHappens, SimulatedLoop
from .network import Network, Weather

if TYPE_CHECKING:
    from collections.abc import Callable

    from sync.contract.receipt import Receipt
    from sync.lane import Verdict

FAULTY = 60.0
"""Seconds of a schedule in which faults happen; then it has until CEILING to end."""
CEILING = 1800.0
_KEPT = 0.05
"""Odds of a second that somebody makes a copy, of the centre or of the unit."""
LANES = ("urgent", "clinical", "clinical", "clinical", "background")


class Violation(AssertionError):  # noqa: N818 - what is broken is a promise
    """A promise is broken; the text says which."""


@dataclass
class Simulation:
    """One schedule. `run` raises Violation where a promise is broken."""

    seed: int
    make: Callable[[Disk], MemoryOutbox] = MemoryOutbox
    make_disk: Callable[[random.Random, float], Disk] = Disk
    make_centre: Callable[[], MemoryCentre] = MemoryCentre
    said: list[bytes] = field(default_factory=list)
    acknowledged: set[bytes] = field(default_factory=set)
    forgotten: set[bytes] = field(default_factory=set)
    """What is not asked for in the end: it was on a disk that an older copy replaced, or a
    restored centre lost it of an epoch that the unit had left."""
    gone: set[bytes] = field(default_factory=set)
    """What a centre had, and no longer had when it came back older."""
    lives: int = 0

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        self.weather = Weather.draw(self.chance)
        self.disk = self.make_disk(self.chance, self.weather.commit)
        self.centre = self.make_centre()
        self.network = Network(self.chance, self.weather, self.centre.take)
        self.loop = SimulatedLoop()
        self._copy: Log = self.disk.copy()
        self._copied = False

    def run(self) -> None:
        """Live through the faults, then end in peace."""
        try:
            with patch.object(uplink_module, "random", self.chance):
                self.loop.run_until_complete(self._live())
        except NothingHappens:
            raise Violation("everybody waits for ever") from None
        except ExceptionGroup as group:
            raise group.exceptions[0] from None
        finally:
            self._let_go()
            self.loop.close()
            self.centre.close()

    def _let_go(self) -> None:
        """End what a broken promise has left running: nobody else would wait for it."""
        left = asyncio.all_tasks(self.loop)
        for task in left:
            task.cancel()
        if left:
            with suppress(NothingHappens):
                self.loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))

    @property
    def ended(self) -> float:
        """When it ended, in simulated seconds."""
        return self.loop.time()

    async def _live(self) -> None:
        self._boot()
        async with asyncio.TaskGroup() as tasks:
            for _ in range(self.chance.randrange(1, 12)):
                tasks.create_task(self._record(self.chance.uniform(0, FAULTY)))
            while self.loop.time() < FAULTY:
                await asyncio.sleep(1.0)
                await self._trouble()
            self.weather.calm()
            self.network.cut()
        since = self.network.connections
        while not self._at_rest(since) and self.loop.time() < CEILING:
            await asyncio.sleep(5.0)
            self._alive()
        self._judge()
        await self._end()

    def _at_rest(self, since: int) -> bool:
        """Whether a centre was met after the faults, and the unit waits for nothing."""
        met = self.network.connections > since and self._uplink.state.state == "connected"
        return met and self.disk.log.settled

    async def _record(self, delay: float) -> None:
        await asyncio.sleep(delay)
        while self._copied:
            await asyncio.sleep(1.0)
            self._copied = self._uplink.state.state != "connected"
        lane, (line, blob) = self.chance.choice(LANES), self._draw()
        self.said.append(line)
        try:
            await self.disk.save(lane, line, blob)
        except PowerCut:
            return
        self.acknowledged.add(line)
        self.outbox.wake()

    def _draw(self) -> tuple[bytes, bytes | None]:
        """A record that the centre takes, or one that it never will; some have a picture."""
        number = len(self.said)
        told: dict[str, object] = {"record": str(uuid.UUID(int=number + 1)), "n": number}
        if not self.network.happens(self.weather.poison):
            told["kind"] = "simulated"
        blob = None
        if self.network.happens(self.weather.pictures):
            blob = self.chance.randbytes(self.chance.randrange(1, 40_000))
            told["blobs"] = [
                {
                    "sha256": hashlib.sha256(blob).hexdigest(),
                    "size": len(blob),
                    "media_type": "image/jpeg",
                    "role": "original",
                }
            ]
        return json.dumps(told).encode(), blob if "kind" in told else None

    # The unit's process.

    def _boot(self) -> None:
        self.lives += 1
        self.outbox = self._watched(self.make(self.disk))
        self._uplink = Uplink(
            self.outbox,
            self.network.connect,
            unit_key(),
            centre_key().public_key(),
            asyncio.Event().wait,  # type: ignore[arg-type] # no route ever comes
        )
        self._running = asyncio.ensure_future(self._uplink.run())

    def _watched(self, outbox: MemoryOutbox) -> MemoryOutbox:
        """Look at every step whether promise 2 holds."""
        settle = outbox.settle

        async def watched(receipt: Receipt) -> Verdict:
            verdict = await settle(receipt)
            self._check()
            return verdict

        outbox.settle = watched  # type: ignore[method-assign] # to look at each step
        return outbox

    async def _end(self) -> None:
        """The power goes."""
        self.disk.cut()
        self._running.cancel()
        await asyncio.gather(self._running, return_exceptions=True)
        self.disk.boot()
        if not self._running.cancelled():
            raise Violation("the uplink did not end when it was told to")

    def _alive(self) -> None:
        """The uplink ends by cancellation and by nothing else."""
        if self._running.done():
            raise Violation(f"the uplink ended by itself: {self._running.exception()!r}")

    # What goes wrong.

    async def _trouble(self) -> None:
        weather, happens = self.weather, self.network.happens
        self._alive()
        if happens(weather.cuts):
            self.network.cut()
        if happens(weather.crashes):
            await self._end()
            self._boot()
        if weather.restores and happens(_KEPT):
            self.centre.back_up()
        if happens(weather.restores):
            self._restore_centre()
        if weather.copies and happens(_KEPT):
            self._copy = self.disk.copy()
        if happens(weather.copies):
            await self._go_back()

    def _restore_centre(self) -> None:
        """The centre comes back older. A closed epoch is not offered again, also where it is left
        only after that: what is lost of one is found by comparing, not by the session (C-8.6)."""
        before = set(self.centre.lines())
        self.centre.restore()
        self.gone |= before - set(self.centre.lines())

    async def _go_back(self) -> None:
        """Somebody puts an older copy of the state folder in the place of the present one.

        Nobody records on it before it has met the centre: C-8.4 ignores what would tell it then.
        """
        await self._end()
        self.forgotten |= self.acknowledged - lines_of(self._copy)
        self.disk.log = self._copy
        self._copy = self.disk.copy()
        self._copied = True
        self._boot()

    # What must be true.

    def _check(self) -> None:
        """Promise 2, at every step: what is settled was committed."""
        log = self.disk.log
        ever: dict[str, tuple[set[tuple[str, str, int]], set[bytes]]] = {}
        for lane, each in log.lanes.items():
            state = each.state
            if state.central_epoch is None:
                if state.through or state.ahead:
                    raise Violation("settled without any receipt")
                continue
            if state.central_epoch not in ever:
                ever[state.central_epoch] = self.centre.settled(state.central_epoch)
            spans = ((1, state.through), *state.ahead) if state.through else state.ahead
            claimed = {
                (state.epoch, lane, seq) for first, last in spans for seq in range(first, last + 1)
            }
            if not claimed <= ever[state.central_epoch][0]:
                raise Violation(f"settled and never committed: {claimed}")
        if (
            log.have
            and not {each for each in log.have if log.whole(each)}
            <= (ever.get(log.centres[-1]) or self.centre.settled(log.centres[-1]))[1]
        ):
            raise Violation("a blob is confirmed that was never whole")

    def _judge(self) -> None:
        """Promises 1, 3 and 4, at the end: everything is there once, as it was saved."""
        self._check()
        log, there = self.disk.log, self.centre.lines()
        if not log.settled:
            raise Violation(f"never settled: {[each.state.pending for each in log.lanes.values()]}")
        if len(there) != len(set(there)):
            raise Violation("a record is there twice")
        if strange := set(there) - set(self.said):
            raise Violation(f"there without ever having been said: {strange}")
        present = {line for lane in log.lanes.values() for line in lane.lines}
        self.forgotten |= self.gone & log.moved_out - present
        if lost := self.acknowledged - self.forgotten - set(there) - log.refused:
            raise Violation(f"{len(lost)} were saved and are not at the centre")
        if log.refused & set(there):
            raise Violation("a record is refused and taken")


def lines_of(log: Log) -> set[bytes]:
    """Every record that a log holds, of whatever epoch."""
    return {line for lane in log.lanes.values() for line in lane.lines} | log.moved_out
