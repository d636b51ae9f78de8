"""A link with the real centre's ledger behind it and no broker between: faults at will.

`on_the_way_up` and `on_the_way_down` see every message and give what arrives in its stead.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from central.ledger import Inbound as Arrived
from sync.contract.batch import decode_batch
from sync.contract.chunk import decode_chunk
from sync.contract.digest import Answer, encode_answer
from sync.contract.envelope import key_id
from sync.contract.receipt import Receipt, encode_receipt
from sync.outbox import Inbound, LinkLost
from sync.session import Session
from sync.uplink_state import UplinkState

from .rig import ROOT, Centre, Unit, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from central.ledger import Ledger
    from sync.comparing import Books
    from sync.contract.batch import Batch
    from sync.contract.chunk import Chunk


def as_is(channel: str, payload: bytes) -> Sequence[tuple[str, bytes]]:
    return [(channel, payload)]


def once(receipt: Receipt) -> Sequence[Receipt]:
    return [receipt]


class LedgerLink:
    """Implements `sync.outbox.Link`."""

    def __init__(
        self, unit: Unit, centre: Centre, ledger: Ledger, packet_max: int = 1 << 20, room: int = 20
    ) -> None:
        self.packet_max = packet_max
        self.room = room
        self.sent: list[tuple[str, bytes]] = []
        self.receipts: list[Receipt] = []
        self.on_the_way_up: Callable[[str, bytes], Sequence[tuple[str, bytes]]] = as_is
        self.on_the_way_down: Callable[[Receipt], Sequence[Receipt]] = once
        self.on_an_answer: Callable[[Answer], Sequence[Answer]] = lambda answer: [answer]
        self.acknowledging = asyncio.Event()
        self.acknowledging.set()
        self._unit_key = unit.key.public_key()
        self._centre_key = centre.key
        self._ledger = ledger
        self._inbound: asyncio.Queue[Inbound | LinkLost] = asyncio.Queue()
        self._end: LinkLost | None = None

    def close_ledger(self) -> None:
        """Let the centre end, as a process does that is to be restored."""
        self._ledger._store.close()

    def open_ledger(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def publish(self, channel: str, payload: bytes) -> None:
        assert len(payload) <= self.packet_max
        if self._end:
            raise self._end
        self.sent.append((channel, payload))
        for where, content in self.on_the_way_up(channel, payload):
            self.tell(self.commit(where, content))
        await self.acknowledging.wait()

    async def receive(self) -> Inbound:
        found = await self._inbound.get()
        if isinstance(found, LinkLost):
            raise found
        return found

    def commit(self, channel: str, payload: bytes) -> tuple[Receipt, ...]:
        """Let the centre commit; give what it says, told to nobody yet."""
        arrived = Arrived(f"{ROOT}/{channel}", payload)
        committed = self._ledger.commit([arrived])
        for answer in committed.answers:
            for told in self.on_an_answer(answer):
                self.put(encode_answer(told, self._centre_key), channel="down/digest")
        return committed.receipts

    def tell(self, receipts: Sequence[Receipt]) -> None:
        """Let receipts go down, each seen by `on_the_way_down`."""
        for receipt in receipts:
            for told in self.on_the_way_down(receipt):
                self.receipts.append(told)
                self.put(self.seal(told))

    def seal(self, receipt: Receipt) -> bytes:
        """Sign a receipt with the centre's own key."""
        return encode_receipt(receipt, self._centre_key)

    def put(self, payload: bytes, *, retained: bool = False, channel: str = "down/receipt") -> None:
        """Let anything at all come from the broker."""
        self._inbound.put_nowait(Inbound(channel, payload, retained))

    def cut(self, end: LinkLost | None = None) -> None:
        self._end = end or LinkLost("cut")
        self._inbound.put_nowait(self._end)

    def channels(self) -> list[str]:
        return [channel for channel, _ in self.sent]

    def batches(self) -> list[Batch]:
        keys = {key_id(self._unit_key): self._unit_key}
        found = [payload for channel, payload in self.sent if channel.startswith("up/log/")]
        return [decode_batch(payload, keys.get) for payload in found]

    def chunks(self) -> list[Chunk]:
        return [decode_chunk(payload) for channel, payload in self.sent if channel == "up/chunk"]


@contextlib.asynccontextmanager
async def session(
    unit: Unit, link: LedgerLink, books: Books | None = None
) -> AsyncIterator[UplinkState]:
    """Run one session beside the block; it may end by the link only."""
    state = UplinkState()
    work = Session(link, unit.outbox, unit.key, unit.centre_key, state, books)
    task = asyncio.create_task(work.run())
    try:
        yield state
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, BaseExceptionGroup):
            await task


async def ending(unit: Unit, link: LedgerLink) -> str:
    """Run one session until it ends by itself; give its last words."""
    words: list[str] = []
    work = Session(link, unit.outbox, unit.key, unit.centre_key, UplinkState())
    try:
        await work.run()
    except* LinkLost as lost:
        words += map(str, lost.exceptions)
    return words[0]


async def connected(state: UplinkState) -> None:
    await until(lambda: state.state == "connected", "an answered hello")
