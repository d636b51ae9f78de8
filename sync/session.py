"""One connection's worth of work: hello first, then records and chunks side by side.

Carriers take what is pending (next) and publish it (deliver); the listener applies each receipt
(settle) before it wakes whoever waits for it. What no receipt settles stays pending, always.
"""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sync.contract.batch import encode_batch
from sync.contract.chunk import encode_chunk
from sync.contract.envelope import ENVELOPE_SIZE, key_id
from sync.contract.errors import ContractFault
from sync.contract.hello import encode_hello
from sync.contract.ranges import covers, minus
from sync.contract.receipt import REFUSED_MAX, Receipt, decode_receipt
from sync.lane import Ignored, RestoredCopy, Settled, Why
from sync.outbox import BatchParcel, ChunkParcel, Inbound, Link, LinkLost, Outbox, Parcel
from sync.pace import Pace
from sync.plan import Plan

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    from sync.contract.envelope import SigningKey
    from sync.contract.hello import Hello

BATCH_BUDGET = 192 << 10
"""Bytes of record lines in one batch, before compression."""
ANSWER_TIMEOUT = 30.0
GREETING_TIMEOUT = 30.0
UNANSWERED_MAX = 3
"""Deliveries in a row without an answer before the link is given up for a new one."""
RECORD_WINDOW = 2
_HEADER_ROOM = 2048


@dataclass(slots=True)
class UplinkState:
    """How the uplink is, for `status`; words for people, no patient value."""

    state: str = "waiting"
    detail: str = ""
    since: float = 0.0
    connections: int = 0
    last_receipt: float | None = None
    ignored: dict[str, int] = field(default_factory=dict)

    def show(self, state: str, detail: str = "") -> None:
        """Say what the uplink does from now on."""
        self.state, self.detail = state, detail
        self.since = asyncio.get_running_loop().time()

    def ignore(self, why: str) -> None:
        """Count a receipt that changed nothing."""
        self.ignored[why] = self.ignored.get(why, 0) + 1


class Session:
    """One connection's worth of work: hello first, then records and chunks side by side."""

    def __init__(
        self,
        link: Link,
        outbox: Outbox,
        key: SigningKey,
        centre_key: Ed25519PublicKey,
        state: UplinkState,
    ) -> None:
        self._link = link
        self._outbox = outbox
        self._key = key
        self._centre = {key_id(centre_key): centre_key}
        self._state = state
        self._plan = Plan()
        self._pace = Pace()
        self._waiting: dict[asyncio.Future[Receipt], Parcel] = {}
        self._greeting: tuple[str, set[tuple[str, str]], asyncio.Event] | None = None
        self._unanswered = 0
        self._budget = min(BATCH_BUDGET, link.packet_max - ENVELOPE_SIZE - _HEADER_ROOM)

    async def run(self) -> None:
        """Greet, then carry, until the link is lost (an ExceptionGroup of LinkLost)."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._listen(), name="receipts")
            await self._greet()
            self._state.show("connected")
            for number in range(RECORD_WINDOW):
                tasks.create_task(self._carry(self._batches()), name=f"records-{number}")
            tasks.create_task(self._carry_chunks(tasks), name="chunks")

    async def _greet(self) -> None:
        """Say hello and wait for the receipts that answer it: no bulk before a live centre."""
        self._state.show("greeting")
        hello = await self._outbox.hello(str(uuid.uuid4()))
        await self._say(hello)
        awaited = {(offer.epoch, offer.lane) for offer in hello.lanes}
        answered = asyncio.Event()
        self._greeting = (hello.session, awaited, answered)
        try:
            await asyncio.wait_for(answered.wait(), GREETING_TIMEOUT)
        except TimeoutError:
            raise LinkLost("the broker answers, but no centre behind it does") from None

    async def _say(self, hello: Hello) -> None:
        await self._link.publish("up/hello", encode_hello(hello, self._key))

    async def _carry(self, parcels: AsyncIterator[Parcel]) -> None:
        async for parcel in parcels:
            await self._deliver(parcel)

    async def _batches(self) -> AsyncIterator[Parcel]:
        while True:
            yield await self._outbox.next_batch(self._plan, self._budget)

    async def _carry_chunks(self, tasks: asyncio.TaskGroup) -> None:
        """Keep the measured window of chunks in flight."""
        flying: set[asyncio.Task[None]] = set()
        while True:
            size = min(self._pace.chunk_size, self._budget)
            if not flying:
                self._pace.idled()
            parcel = await self._outbox.next_chunk(self._plan, size)
            flying.add(tasks.create_task(self._timed(parcel)))
            while len(flying) >= self._pace.window:
                _, flying = await asyncio.wait(flying, return_when=asyncio.FIRST_COMPLETED)

    async def _timed(self, parcel: ChunkParcel) -> None:
        clock = asyncio.get_running_loop().time
        self._pace.began(clock())
        if await self._deliver(parcel):
            self._pace.delivered(len(parcel.chunk.content), clock())
        else:
            self._pace.lost()

    async def _deliver(self, parcel: Parcel) -> bool:
        """Publish, and wait for a receipt that speaks of it. Not halved on time-out (C-8.9)."""
        answer: asyncio.Future[Receipt] = asyncio.get_running_loop().create_future()
        self._waiting[answer] = parcel
        try:
            await self._publish(parcel)
            await asyncio.wait_for(answer, ANSWER_TIMEOUT)
        except TimeoutError:
            self._unanswered += 1
            if self._unanswered >= UNANSWERED_MAX:
                raise LinkLost("the centre has stopped answering") from None
            return False
        finally:
            self._waiting.pop(answer, None)
            self._plan.arrive(parcel.place)
        self._unanswered = 0
        return True

    async def _publish(self, parcel: Parcel) -> None:
        if isinstance(parcel, BatchParcel):
            frame = encode_batch(parcel.batch, self._key)
            await self._link.publish(f"up/log/{parcel.batch.header.lane}", frame)
        else:
            await self._link.publish("up/chunk", encode_chunk(parcel.chunk))

    async def _listen(self) -> None:
        while True:
            inbound = await self._link.receive()
            if inbound.channel == "down/receipt":
                await self._receive(inbound)

    async def _receive(self, inbound: Inbound) -> None:
        if inbound.retained:
            await self._refuse("retained", "a retained receipt was ignored")
            return
        try:
            receipt = decode_receipt(inbound.payload, self._centre.get)
        except ContractFault as fault:
            await self._refuse(fault.code, f"a receipt was ignored: {fault.reason}")
            return
        await self._settle(receipt)

    async def _settle(self, receipt: Receipt) -> None:
        verdict = await self._outbox.settle(receipt)
        if isinstance(verdict, Ignored):
            self._state.ignore(verdict.why)
            if verdict.why is not Why.REPEATED:
                return
        else:
            self._state.last_receipt = asyncio.get_running_loop().time()
        if isinstance(verdict, Settled):
            self._plan.narrow(receipt.epoch, receipt.lane, verdict.smaller)
        self._answer(receipt)
        if isinstance(verdict, RestoredCopy) or len(receipt.refused) >= REFUSED_MAX:
            hello = await self._outbox.hello(str(uuid.uuid4()))
            await self._say(hello)

    def _answer(self, receipt: Receipt) -> None:
        """Wake whoever waits for what this receipt says."""
        if self._greeting and receipt.answers == self._greeting[0]:
            self._greeting[1].discard((receipt.epoch, receipt.lane))
            if not self._greeting[1]:
                self._greeting[2].set()
        for answer, parcel in self._waiting.items():
            if not answer.done() and speaks_of(receipt, parcel):
                answer.set_result(receipt)

    async def _refuse(self, code: str, detail: str) -> None:
        self._state.ignore(code)
        await self._outbox.alarm(f"receipt-{code}", detail)


def speaks_of(receipt: Receipt, parcel: Parcel) -> bool:
    """Whether a receipt says what became of a parcel: taken, refused, or wanted smaller."""
    if isinstance(parcel, BatchParcel):
        return _speaks_of_batch(receipt, parcel)
    piece = parcel.place
    return any(
        bytes.fromhex(held.sha256) == piece.sha256
        and (not held.have or covers(held.have, piece.offset, piece.last))
        for held in receipt.chunks
    )


def _speaks_of_batch(receipt: Receipt, parcel: BatchParcel) -> bool:
    place = parcel.place
    if (receipt.epoch, receipt.lane) != (place.epoch, place.lane):
        return False
    whole = ((place.first, place.last),)
    left = minus(whole, ((0, receipt.through),))
    if receipt.last > receipt.through:
        taken = minus(((receipt.through + 1, receipt.last),), receipt.missing)
        left = minus(left, taken)
    stretches = tuple((r.seq, r.last) for r in receipt.refused if r.last is not None)
    return not left or any(a <= place.first and place.last <= b for a, b in stretches)
