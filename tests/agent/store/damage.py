"""Damage a state folder as disks do, and look at what a unit makes of it."""

from __future__ import annotations

import json
import uuid
from contextlib import closing
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.damage.cipher import PAGE
from agent.damage.image import Image
from agent.damage.salvage import Salvor
from agent.damage.tables import tables
from agent.damage.territory import Territory
from agent.store.connection import FILE, open_reader
from agent.store.keys import load_key
from central import report
from central.ledger import Inbound, Ledger
from central.store import create
from central.store import open_store as open_centre
from sync.contract.batch import encode_batch
from sync.contract.chunk import encode_chunk
from sync.contract.envelope import Codec
from sync.contract.hello import encode_hello
from sync.contract.topics import topic
from sync.plan import Plan

from .truck import UNIT

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from agent.store.outbox import StoreOutbox
    from agent.store.store import Store

DESTINATION = "centre"


def flip_bit(path: Path, offset: int, bit: int = 0) -> None:
    """Flip one bit of a file, in place."""
    with path.open("r+b") as file:
        file.seek(offset)
        (byte,) = file.read(1)
        file.seek(offset)
        file.write(bytes([byte ^ 1 << bit]))


def flip_page(folder: Path, number: int) -> None:
    """Flip a bit in the middle of a page of the database file."""
    flip_bit(folder / FILE, (number - 1) * PAGE + PAGE // 2)


def pages_of(folder: Path, table: str) -> list[int]:
    """The pages on which rows of a table begin."""
    key = load_key(folder)
    with closing(open_reader(folder, key)) as reader:
        known = tables(reader)
    with Image(folder, key) as image:
        return [number for number, _ in Territory(image, known, {}).pages(table)]


async def salvage(store: Store) -> dict[str, Any]:
    """Salvage everything; what the store then tells of the newest."""
    await Salvor(store, DESTINATION, ignore).run()
    cursor = store.reader.execute("SELECT * FROM salvage ORDER BY CAST(place AS INTEGER) DESC")
    names = [each[0] for each in cursor.description]
    return dict(zip(names, cursor.fetchone(), strict=True))


async def ignore(table: str, frames: Sequence[int]) -> None:
    """Nobody waits for a table."""


def told(store: Store, kind: str) -> list[dict[str, Any]]:
    """What records of a kind say, in order."""
    rows = store.reader.execute("SELECT line FROM record WHERE kind = ? ORDER BY seq", (kind,))
    return [json.loads(line)[kind] for (line,) in rows]


class Delivery:
    """The real centre's ledger, spoken to without a link: contract frames in, receipts out."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.key = Ed25519PrivateKey.generate()
        folder.mkdir()
        create(folder, "simulated")
        self.store = open_centre(folder)
        with self.store.transaction():
            self.store.enrol(UNIT, self.key.public_key().public_bytes_raw())
        self.ledger = Ledger(self.store)

    async def drain(self, store: Store, most: int = 1 << 30) -> None:
        """Say hello, then deliver at most so many batches and everything of the blobs."""
        outbox, plan = store.outbox(DESTINATION), Plan()
        hello = await outbox.hello(str(uuid.uuid4()))
        await self._say(outbox, "up/hello", encode_hello(hello, self.key))
        while most and plan.stretch(outbox._views()) is not None:
            parcel = await outbox.next_batch(plan, 4000)
            lane = parcel.batch.header.lane
            frame = encode_batch(parcel.batch, self.key, Codec.PLAIN)
            await self._say(outbox, f"up/log/{lane}", frame)
            plan.arrive(parcel.place)
            most -= 1
        while plan.piece(outbox._blobs(), 32 << 10) is not None:
            chunk = await outbox.next_chunk(plan, 32 << 10)
            await self._say(outbox, "up/chunk", encode_chunk(chunk.chunk))
            plan.arrive(chunk.place)

    async def _say(self, outbox: StoreOutbox, channel: str, payload: bytes) -> None:
        said = self.ledger.commit([Inbound(topic("simulated", UNIT, channel), payload)])
        assert not said.refused
        for receipt in said.receipts:
            await outbox.settle(receipt)

    def lines(self) -> dict[str, bytes]:
        """Every record at the centre, by its id."""
        return {record: line for _, record, line in report.lines(self.folder)}

    def close(self) -> None:
        self.store.close()
