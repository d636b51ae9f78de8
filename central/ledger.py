"""The ledger: a group of messages in, one transaction, the receipts it earned out.

Whatever `commit` returns is on disk. Nothing here publishes anything.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from central.batches import Taking
from central.chunks import take_chunk
from central.comparing import compare
from central.owed import Owed
from central.receipts import write_receipts
from sync.contract.batch import decode_batch
from sync.contract.chunk import decode_chunk
from sync.contract.digest import ABSENT, decode_question
from sync.contract.errors import ContractFault
from sync.contract.hello import decode_hello
from sync.contract.receipt import CHUNKS_MAX, Receipt, Refusal
from sync.contract.topics import Address, address

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from central.store import EnrolledUnit, Store
    from sync.contract.batch import Batch
    from sync.contract.digest import Answer

GROUP_MAX = CHUNKS_MAX
"""The most messages of one transaction: their chunks fit into one receipt."""


@dataclass(frozen=True, slots=True)
class Inbound:
    """A message as the broker handed it over."""

    topic: str
    payload: bytes = field(repr=False)
    retained: bool = False
    carried: bool = False
    """It came in a file, and may be older than what came since."""


@dataclass(frozen=True, slots=True)
class Committed:
    """What to publish, how many messages were refused, by code, and how many records are new."""

    receipts: tuple[Receipt, ...]
    answers: tuple[Answer, ...]
    refused: Counter[str]
    new: int


class Ledger:
    """Takes messages into a store. Used by one thread at a time."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def commit(self, group: Sequence[Inbound]) -> Committed:
        """Take a group of messages in one transaction.

        What a peer did wrong is counted and changes nothing else. Raises StoreUnavailable, or
        whatever else stands in the way: then nothing was changed and nothing may be said.
        """
        owed = Owed()
        refused: Counter[str] = Counter()
        with self._store.transaction():
            for message in group:
                refused.update(self._take(message, owed))
            receipts = write_receipts(self._store, owed)
        return Committed(receipts, tuple(owed.answers), refused, owed.new)

    def count(self, code: str) -> None:
        """Count a message that could not be taken through no clause of the contract."""
        with self._store.transaction():
            self._store.count("", code)

    def count_files(self, unit: str, refused: Mapping[str, int]) -> None:
        """Count the files of a unit's folder that could not be opened, by code."""
        with self._store.transaction():
            for code, times in refused.items():
                self._store.count(unit, code, times)

    def _take(self, message: Inbound, owed: Owed) -> list[str]:
        """Take one message; give the codes under which it was counted."""
        name, code = "", None
        try:
            where, unit = self._admit(message.topic)
            name = unit.unit
            with self._store.attempt():
                code = self._handle(where, unit, message, owed)
        except ContractFault as fault:
            code = fault.code
        if code is None:
            return []
        self._store.count(name, code)
        return [code]

    def _admit(self, topic: str) -> tuple[Address, EnrolledUnit]:
        where = address(topic)
        if where.origin != self._store.origin:
            raise ContractFault("origin", f"this centre is {self._store.origin}")
        unit = self._store.unit(where.unit)
        if unit is None:
            raise ContractFault("unit", "the unit is not enrolled")
        return where, unit

    def _handle(
        self, where: Address, unit: EnrolledUnit, message: Inbound, owed: Owed
    ) -> str | None:
        """Give a code to count, where something went wrong that does not undo the rest."""
        way, _, leaf = where.channel.partition("/")
        if way != "up":
            raise ContractFault("topic", "a centre reads nothing there")
        if leaf == "state":  # for people who watch the broker; nothing hangs on it
            return None
        if message.retained:
            raise ContractFault("retained", "a retained message is not of now")
        if leaf == "chunk":
            return self._take_chunk(unit, message.payload, owed)
        if leaf == "hello":
            self._greet(unit, message, owed)
        elif leaf == "digest":
            self._compare(unit, message.payload, owed)
        else:
            self._take_batch(unit, leaf.removeprefix("log/"), message.payload, owed)
        return None

    def _greet(self, unit: EnrolledUnit, message: Inbound, owed: Owed) -> None:
        hello = decode_hello(message.payload, unit.key_of())
        if hello.unit != unit.unit:
            raise ContractFault("topic", "the hello names another unit than its topic")
        if hello.origin != self._store.origin:
            raise ContractFault("origin", f"this centre is {self._store.origin}")
        greeting = self._store.next_greeting(unit.unit)
        for offer in hello.lanes:
            lane = self._store.log.lane(unit.unit, offer.epoch, offer.lane)
            self._store.holdings.recall(lane)
            lane = self._store.log.lane(unit.unit, offer.epoch, offer.lane)
            greet = self._store.log.greet_late if message.carried else self._store.log.greet
            greet(lane, offer, greeting)
            owed.greet(owed.owe(unit.unit, offer.epoch, offer.lane, hello.session))

    def _compare(self, unit: EnrolledUnit, payload: bytes, owed: Owed) -> None:
        question = decode_question(payload, unit.key_of())
        if question.unit != unit.unit:
            raise ContractFault("topic", "the question names another unit than its topic")
        answer = compare(self._store, question)
        owed.answers.append(answer)
        if any(each.found == ABSENT for each in answer.differs):
            owed.owe(unit.unit, question.epoch, question.lane)

    def _take_chunk(self, unit: EnrolledUnit, payload: bytes, owed: Owed) -> str | None:
        chunk = decode_chunk(payload)
        owed.touch(unit.unit, chunk.sha256, chunk.size, (chunk.offset, chunk.last))
        return take_chunk(self._store.blobs, unit.unit, chunk)

    def _take_batch(self, unit: EnrolledUnit, lane: str, payload: bytes, owed: Owed) -> None:
        batch = decode_batch(payload, unit.key_of())
        if (batch.header.unit, batch.header.lane) != (unit.unit, lane):
            raise ContractFault("topic", "the batch names another unit or lane than its topic")
        place = owed.owe(unit.unit, batch.header.epoch, lane)
        taking = Taking(self._store, batch)
        try:
            taking.run()
        except ContractFault as fault:
            owed.refuse(place, _stretch(batch, fault))
            raise
        owed.new += taking.new
        for touched in taking.lanes.values():
            owed.owe(touched.unit, touched.epoch, touched.lane)
        for sha256 in taking.dropped:
            owed.touch(unit.unit, sha256, 1)


def _stretch(batch: Batch, fault: ContractFault) -> Refusal:
    header = batch.header
    return Refusal(seq=header.first, last=header.last, code=fault.code, reason=fault.reason)
