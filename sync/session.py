"""One connection's worth of work: hello first, then the front at once and bulk beside it.

Carriers take what is pending (next) and publish it (deliver); the listener applies each receipt
(settle) before it wakes whoever waits for it. What no receipt settles stays pending, always.
"""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING

from sync.allowance import Allowance
from sync.answer import speaks_of
from sync.comparing import Comparing
from sync.contract.chunk import encode_chunk
from sync.contract.digest import Answer
from sync.contract.envelope import key_id
from sync.contract.hello import encode_hello
from sync.contract.receipt import REFUSED_MAX, Receipt
from sync.gate import Gate
from sync.greeting import Greeting
from sync.hearing import Unheard, hear
from sync.lane import Ignored, RestoredCopy, Settled, Why
from sync.outbox import BatchParcel, Link, LinkLost, Outbox, Parcel
from sync.pace import WINDOW_MAX, Pace
from sync.packing import Packing
from sync.plan import BULK, FRONT, PRESSING, Plan

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    from sync.comparing import Books
    from sync.contract.envelope import SigningKey
    from sync.contract.ranges import Range
    from sync.contract.receipt import Refusal
    from sync.uplink_state import UplinkState

ANSWER_TIMEOUT = 30.0
GREETING_TIMEOUT = 30.0
UNANSWERED_MAX = 3
"""Deliveries in a row without an answer before the link is given up for a new one."""
EXPRESS = (FRONT, PRESSING)
"""Who carries the front, and what: a request never waits for the receipt of what is merely new."""
_CHUNK_HEAD = 52
_PUBLISH_ROOM = 64
"""Topic and header of a message, roughly: they count against the cap as well."""


class Session:
    """One connection's worth of work; `greeted` is when the centre had answered (loop time)."""

    def __init__(
        self,
        link: Link,
        outbox: Outbox,
        key: SigningKey,
        centre_key: Ed25519PublicKey,
        state: UplinkState,
        books: Books | None = None,
        allowance: Allowance | None = None,
    ) -> None:
        self._link = link
        self._allowance = allowance or Allowance()
        self._outbox = outbox
        self._key = key
        self._centre = {key_id(centre_key): centre_key}
        self._state = state
        self._books = books
        self._comparing: Comparing | None = None
        self._plan = Plan()
        # The front never queues for room at the broker behind bulk.
        self._pace = Pace(ceiling=max(1, min(WINDOW_MAX, link.room - len(EXPRESS))))
        self._gate = Gate(self._pace, self._plan)
        self._packing = Packing(link.packet_max, key)
        self._waiting: dict[asyncio.Future[None], Parcel] = {}
        self._greeting: Greeting | None = None
        self._answered = asyncio.Event()
        self._silence = "the broker answers, but no centre behind it does"
        self._unanswered = 0
        self._unproven: set[str] = set()
        self._curious = False
        self._doubtful = False
        self._refused: dict[tuple[str, str], tuple[Refusal, ...]] = {}
        self.greeted: float | None = None

    async def run(self) -> None:
        """Greet, then carry, until the link is lost (an ExceptionGroup of LinkLost)."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._listen(tasks), name="receipts")
            await self._greet()
            self.greeted = asyncio.get_running_loop().time()
            self._state.show("connected")
            for number, ranks in enumerate(EXPRESS):
                front = self._carry_front(self._plan.only(ranks))
                tasks.create_task(front, name=f"front-{number}")
            tasks.create_task(self._carry_history(tasks), name="history")
            tasks.create_task(self._carry_chunks(tasks), name="chunks")
            self._begin_comparing(tasks)

    def _begin_comparing(self, tasks: asyncio.TaskGroup) -> None:
        if self._books and self._greeting and self._comparing is None:
            unit = self._greeting.unit
            self._comparing = Comparing(
                self._say, self._link.packet_max, self._books, self._key, unit
            )
            tasks.create_task(self._comparing.run(), name="comparing")

    async def _greet(self) -> None:
        """Say hello and wait for the receipts that answer it: no bulk before a live centre."""
        self._state.show("greeting")
        await self._say_hello()
        try:
            async with asyncio.timeout(GREETING_TIMEOUT):
                await self._answered.wait()
        except TimeoutError:
            raise LinkLost(self._silence) from None

    async def _say_hello(self) -> None:
        """Only answers to the newest hello prove anything: one said again begins anew."""
        hello = await self._outbox.hello(str(uuid.uuid4()))
        self._greeting = Greeting(hello)
        await self._say("up/hello", encode_hello(hello, self._key))

    async def _say(self, channel: str, frame: bytes) -> None:
        """Publish what a session can't do without; it counts against the cap."""
        self._allowance.charge(len(frame) + _PUBLISH_ROOM)
        await self._link.publish(channel, frame)

    async def _carry_front(self, plan: Plan) -> None:
        """Send what is new or pressing as soon as it is there, one batch after the other."""
        while True:
            parcel = await self._outbox.next_batch(plan, self._lines_max())
            frame = await self._pack(parcel)
            if frame is not None:
                await self._deliver(parcel, f"up/log/{parcel.place.lane}", frame)

    async def _carry_history(self, tasks: asyncio.TaskGroup) -> None:
        plan = self._plan.only(BULK)
        while True:
            parcel = await self._outbox.next_batch(plan, self._lines_max())
            frame = await self._pack(parcel)
            if frame is not None:
                await self._gate.enter(parcel.place)
                channel = f"up/log/{parcel.place.lane}"
                tasks.create_task(self._carry_bulk(parcel, channel, frame))
            self._outbox.wake()  # the front may have waited for history to have its share

    async def _carry_chunks(self, tasks: asyncio.TaskGroup) -> None:
        most = max(1, self._link.packet_max - _CHUNK_HEAD)
        while True:
            size = min(self._pace.chunk_size, most)
            parcel = await self._outbox.next_chunk(self._plan, size)
            await self._gate.enter(parcel.place)
            frame = encode_chunk(parcel.chunk)
            tasks.create_task(self._carry_bulk(parcel, "up/chunk", frame))

    async def _carry_bulk(self, parcel: Parcel, channel: str, frame: bytes) -> None:
        """Deliver within the room that the gate gave, and let the pace learn from it."""
        clock = asyncio.get_running_loop().time
        flight = self._pace.began(clock())
        if await self._deliver(parcel, channel, frame):
            self._pace.delivered(flight, len(frame), clock())
        else:
            self._pace.lost()
        self._gate.leave()

    def _lines_max(self) -> int:
        """Bytes of lines that will weigh about as much as a chunk, packed."""
        return self._packing.lines_max(self._pace.chunk_size)

    async def _pack(self, parcel: BatchParcel) -> bytes | None:
        """The batch as a frame; None where it is larger than the broker takes."""
        place = parcel.place
        frame, more = self._packing.pack(parcel.batch)
        self._plan.correct(place, more)
        if len(frame) <= self._link.packet_max:
            return frame
        self._plan.arrive(place)
        await self._narrow(place.epoch, place.lane, [(place.first, place.last)])
        return None

    async def _deliver(self, parcel: Parcel, channel: str, payload: bytes) -> bool:
        """Publish, and wait for a receipt that speaks of it. Not halved on time-out (C-8.9)."""
        answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[answer] = parcel
        try:
            await self._pay(parcel, len(payload) + _PUBLISH_ROOM)
            await self._link.publish(channel, payload)
            # Not wait_for: before Python 3.12 it swallows a cancellation that meets the answer.
            async with asyncio.timeout(ANSWER_TIMEOUT):
                await answer
        except TimeoutError:
            self._unanswered += 1
            if self._unanswered >= UNANSWERED_MAX:
                raise LinkLost("the centre has stopped answering") from None
            return False
        finally:
            del self._waiting[answer]
            self._plan.arrive(parcel.place)
            self._outbox.wake()
        self._unanswered = 0
        return True

    async def _pay(self, parcel: Parcel, size: int) -> None:
        """Keep to the cap; what is pressing goes at once, and the others make up for it."""
        rank = parcel.place.rank if isinstance(parcel, BatchParcel) else max(BULK)
        if rank in PRESSING:
            self._allowance.charge(size)
        else:
            await self._allowance.pay(size, rank)

    async def _listen(self, tasks: asyncio.TaskGroup) -> None:
        while True:
            inbound = await self._link.receive()
            unit = self._greeting.unit if self._greeting else None
            heard = hear(inbound, unit, self._centre)
            if isinstance(heard, Receipt):
                await self._settle(heard)
                if self._doubtful:
                    self._begin_comparing(tasks)
            elif isinstance(heard, Answer) and self._comparing:
                self._comparing.hear(heard)
            elif isinstance(heard, Unheard):
                self._state.ignore(heard.code)
                await self._outbox.alarm(f"{heard.what}-{heard.code}", heard.detail)

    async def _settle(self, receipt: Receipt) -> None:
        verdict = await self._outbox.settle(receipt)
        if isinstance(verdict, RestoredCopy):
            # The plan of this session is one of the old epoch: begin anew with the next.
            raise LinkLost("the centre knows another life of this unit: beginning anew")
        if isinstance(verdict, Ignored) and verdict.why is not Why.REPEATED:
            await self._pass_over(receipt, verdict.why)
            return
        if isinstance(verdict, Ignored):
            self._state.ignore(verdict.why)
        self._state.last_receipt = asyncio.get_running_loop().time()
        if isinstance(verdict, Settled):
            await self._narrow(receipt.epoch, receipt.lane, verdict.smaller)
            if self._books:
                self._books.meet(receipt.central_epoch)
            if self._comparing:
                self._comparing.recall(receipt.epoch, receipt.lane, verdict.recalled)
        self._answer(receipt)
        await self._ask_for_more(receipt)

    async def _pass_over(self, receipt: Receipt, why: Why) -> None:
        """Note a receipt that says nothing; ask a centre that seems to be another one."""
        self._state.ignore(why)
        if self._greeting and receipt.answers == self._greeting.session:
            self._silence = f"the centre's answer had to be ignored: {why}"
            if why is Why.IMPOSSIBLE and self._books:
                # Its database may be damaged just there: comparing finds that, and mends it.
                self._books.doubt()
                self._doubtful = True
        if why is Why.UNPROVEN and receipt.central_epoch not in self._unproven:
            self._unproven.add(receipt.central_epoch)
            await self._say_hello()

    def _answer(self, receipt: Receipt) -> None:
        """Wake whoever waits for what this receipt says."""
        if self._greeting:
            self._greeting.hear(receipt)
            if self._greeting.answered:
                self._answered.set()
        for answer, parcel in self._waiting.items():
            if not answer.done() and speaks_of(receipt, parcel.place):
                answer.set_result(None)

    async def _ask_for_more(self, receipt: Receipt) -> None:
        """Say hello again where refusals may not have fitted, unless these are known.

        Not before the last hello is answered, whose other answers would count no more.
        """
        lane = (receipt.epoch, receipt.lane)
        if len(receipt.refused) >= REFUSED_MAX and self._refused.get(lane) != receipt.refused:
            self._refused[lane] = receipt.refused
            self._curious = True
        if self._curious and self._greeting and self._greeting.answered:
            self._curious = False
            await self._say_hello()

    async def _narrow(self, epoch: str, lane: str, stretches: Sequence[Range]) -> None:
        if self._plan.narrow(epoch, lane, stretches):
            await self._outbox.alarm(
                "record-set-aside",
                "a record is too large for the broker, or the centre does not take it: "
                "it is kept here and tried again on every connection",
            )
