"""A unit's log in memory, around the very code that plans and settles on the disk of a real one.

A `Disk` makes it durable: what was being committed when the power went is there or is not.
"""

from __future__ import annotations

import asyncio
import copy
import hashlib
import uuid
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from sync.contract.batch import gather, link
from sync.contract.chunk import Chunk
from sync.contract.fields import GENESIS, LANES
from sync.contract.hello import Hello, LaneOffer
from sync.contract.ranges import Ranges, minus
from sync.lane import (
    Ignored,
    LaneState,
    Question,
    RestoredCopy,
    Settled,
    Verdict,
    Why,
    proves,
    settle,
)
from sync.outbox import BatchParcel, ChunkParcel
from sync.plan import BlobView, LaneView

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from sync.contract.receipt import Receipt
    from sync.plan import Plan

UNIT = "test-01"
_HALF = 0.5


class PowerCut(Exception):  # noqa: N818 - a state of the world
    """The computer went off before it could say what had become of it."""


@dataclass
class LaneLog:
    """One lane: its lines, the chain's value before the first and behind each, what is settled."""

    state: LaneState
    lines: list[bytes] = field(default_factory=list)
    hashes: list[bytes] = field(default_factory=lambda: [GENESIS])


class Log:
    """What lies on the disk."""

    def __init__(self) -> None:
        self.blobs: dict[bytes, bytes] = {}
        self.have: dict[bytes, Ranges] = {}
        self.refused: set[bytes] = set()
        self.centres: list[str] = []
        self.closed: set[str] = set()
        self.moved_out: set[bytes] = set()
        """Records of the epochs before: settled there, or said anew in the one that followed."""
        self.alarms: set[str] = set()
        self.begin()

    def begin(self) -> None:
        """Bear a new epoch."""
        self.epoch = str(uuid.uuid4())
        self.lanes = {lane: LaneLog(LaneState(self.epoch, lane, 0)) for lane in LANES}

    def append(self, lane: str, line: bytes, blob: bytes | None = None) -> None:
        """Save a line and its picture."""
        log = self.lanes[lane]
        log.lines.append(line)
        log.hashes.append(link(log.hashes[-1], line))
        log.state = log.state.grown(len(log.lines))
        if blob is not None:
            self.blobs[hashlib.sha256(blob).digest()] = blob

    @property
    def believed(self) -> str | None:
        """The central epoch that is believed in; None before the first receipt."""
        return self.centres[-1] if self.centres else None

    def settle(self, receipt: Receipt, asked: Question) -> Verdict:
        """Apply a receipt; `asked` is the newest hello."""
        if receipt.epoch in self.closed:
            return Ignored(Why.CLOSED_EPOCH)
        if receipt.epoch != self.epoch:
            return Ignored(Why.UNKNOWN_EPOCH)
        log = self.lanes[receipt.lane]
        verdict = settle(
            log.state,
            receipt,
            lambda seq: log.hashes[seq] if seq < len(log.hashes) else None,
            frozenset(self.centres[:-1]),
            fresh=proves(receipt, self.believed, (asked,)),
            answering=receipt.answers == asked.session,
        )
        if isinstance(verdict, RestoredCopy):
            self.fork(receipt.central_epoch)
        if isinstance(verdict, Settled):
            self._follow(receipt.central_epoch)
            log.state = verdict.state
            self.refused |= {log.lines[each.seq - 1] for each in verdict.refused}
            for held in receipt.chunks:
                if bytes.fromhex(held.sha256) in self.blobs:
                    self.have[bytes.fromhex(held.sha256)] = held.have
        return verdict

    def fork(self, centre: str) -> None:
        """Go on in a new epoch, with what nothing proves to be at this centre."""
        self.closed.add(self.epoch)
        before = self.lanes
        self.begin()
        for lane, log in before.items():
            self.moved_out |= set(log.lines)
            proven = log.state.through if log.state.central_epoch == centre else 0
            for line in log.lines[proven:]:
                self.append(lane, line)

    def _follow(self, central_epoch: str) -> None:
        """Retire the centre before this one; what blobs that held is to be proven anew."""
        if central_epoch not in self.centres:
            self.centres.append(central_epoch)
            self.have.clear()

    def waiting(self) -> list[BlobView]:
        """What is not at the centre of each picture."""
        views = [
            BlobView(name, len(blob), minus(((0, len(blob) - 1),), self.have.get(name, ())))
            for name, blob in self.blobs.items()
        ]
        return [view for view in views if view.pending]

    def whole(self, name: bytes) -> bool:
        """Whether receipts say that the centre holds all of a blob."""
        return self.have.get(name) == ((0, len(self.blobs[name]) - 1),)

    @property
    def settled(self) -> bool:
        """Whether the unit waits for nothing."""
        return not self.waiting() and not any(log.state.pending for log in self.lanes.values())


class Disk:
    """Commits in groups, one after the other, and each takes its time by chance."""

    def __init__(self, chance: Random, slowest: float) -> None:
        self.log = Log()
        self._chance = chance
        self._slowest = slowest
        self._queue: list[tuple[Callable[[Log], Any], asyncio.Future[Any]]] = []
        self._group: list[tuple[Callable[[Log], Any], asyncio.Future[Any]]] = []
        self._waiting: list[asyncio.Future[Any]] = []
        self._timer: asyncio.TimerHandle | None = None

    async def save(self, lane: str, line: bytes, blob: bytes | None) -> None:
        """Append to the log; on the disk when this returns. PowerCut as for `write`."""
        await self.write(lambda log: log.append(lane, line, blob))

    async def write(self, job: Callable[[Log], Any]) -> Any:
        """Change the log; PowerCut where nobody can tell whether it was changed."""
        return await self._ask(job)

    def _ask(self, job: Callable[[Log], Any]) -> asyncio.Future[Any]:
        done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._queue.append((job, done))
        self._begin()
        return done

    def cut(self) -> None:
        """Cut the power: the group under way is there as a whole, or it isn't."""
        if self._timer:
            self._timer.cancel()
            if self._chance.random() < _HALF:
                for job, _ in self._group:
                    job(self.log)
        self._waiting = [done for _, done in (*self._group, *self._queue)]
        self._timer, self._group, self._queue = None, [], []

    def boot(self) -> None:
        """Tell whoever still waits that nobody knows what became of it."""
        for done in self._waiting:
            if not done.done():
                done.set_exception(PowerCut())
        self._waiting = []

    def copy(self) -> Log:
        """A copy of the state folder, as somebody makes one who changes a disk."""
        return copy.deepcopy(self.log)

    def _begin(self) -> None:
        if self._timer is None and self._queue:
            self._group, self._queue = self._queue, []
            delay = self._chance.uniform(0, self._slowest)
            self._timer = asyncio.get_running_loop().call_later(delay, self._commit)

    def _commit(self) -> None:
        group, self._group, self._timer = self._group, [], None
        for job, done in group:
            result = job(self.log)
            if not done.done():
                done.set_result(result)
        self._begin()


class MemoryOutbox:
    """Implements `sync.outbox.Outbox` over a log in memory; lives as long as its process."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._woken = asyncio.Event()
        self._asked = Question("", None)
        self._live_from: dict[tuple[str, str], int] = {}

    def wake(self) -> None:
        """Whoever waits looks again."""
        self._woken.set()
        self._woken = asyncio.Event()

    async def hello(self, session: str) -> Hello:
        """Offer every lane."""
        self._asked = Question(session, self._disk.log.believed)
        offers = []
        for lane, log in self._disk.log.lanes.items():
            self._live_from[log.state.epoch, lane] = log.state.last + 1
            pending = log.state.pending
            offers.append(
                LaneOffer(
                    epoch=log.state.epoch,
                    lane=lane,
                    oldest=1,
                    first=pending[0][0] if pending else log.state.last + 1,
                    last=log.state.last,
                    head_hash=log.hashes[-1].hex(),
                )
            )
        return Hello(unit=UNIT, session=session, origin="simulated", lanes=tuple(offers))

    async def next_batch(self, plan: Plan, budget: int) -> BatchParcel:
        """Wait for pending records."""
        while True:
            woken = self._woken
            place = plan.stretch(self._views())
            if place is not None:
                log = self._disk.log.lanes[place.lane]
                lines: list[bytes] = []
                size = 0
                for line in log.lines[place.first - 1 : place.last]:
                    if lines and size + len(line) > budget:
                        break
                    lines.append(line)
                    size += len(line)
                place = replace(place, last=place.first + len(lines) - 1)
                plan.depart(place, size)
                before = log.hashes[place.first - 1]
                batch = gather(UNIT, place.epoch, place.lane, place.first, before, lines)
                return BatchParcel(place, batch)
            await woken.wait()

    async def next_chunk(self, plan: Plan, chunk_size: int) -> ChunkParcel:
        """Wait for pending bytes."""
        while True:
            woken = self._woken
            place = plan.piece(self._disk.log.waiting(), chunk_size)
            if place is not None:
                plan.depart(place, place.last - place.offset + 1)
                content = self._disk.log.blobs[place.sha256][place.offset : place.last + 1]
                return ChunkParcel(place, Chunk(place.sha256, place.size, place.offset, content))
            await woken.wait()

    async def settle(self, receipt: Receipt) -> Verdict:
        """Apply a receipt, durably."""
        asked = self._asked
        verdict: Verdict = await self._disk.write(lambda log: log.settle(receipt, asked))
        self.wake()
        return verdict

    async def alarm(self, code: str, detail: str) -> None:
        """Keep an alarm."""
        del detail
        await self._disk.write(lambda log: log.alarms.add(code))

    def _views(self) -> list[LaneView]:
        return [
            LaneView(
                log.state.epoch,
                lane,
                log.state.pending,
                self._live_from.get((log.state.epoch, lane), 1),
            )
            for lane, log in self._disk.log.lanes.items()
        ]
