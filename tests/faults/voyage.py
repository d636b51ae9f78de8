"""Many days without a link, and a computer that loses its power every evening (T15, T32, T35).

The days are simulated, the store and the power cuts are not: the disk is the volatile one.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from sqlcipher3 import dbapi2 as sqlite

from agent.clock import Stamp
from agent.errors import StoreError
from agent.store.figures import figures
from sync.outbox import Inbound
from sync.session import Session
from sync.uplink_state import UplinkState
from tests.faults.disk import VolatileDisk
from tests.faults.feed import take_reading, written
from tests.faults.power import told
from tests.faults.scribe import open_scribe
from tests.model.ledger import MemoryCentre, centre_key, unit_key

if TYPE_CHECKING:
    from agent.store.store import Store
    from tests.faults.feed import Written

_BORN = datetime(2026, 3, 1, 7, tzinfo=UTC)
_A_DAY = 12
_CEILING = 120.0


@dataclass
class Voyage:
    """What became of it: what was acknowledged, what a start found missing, work of each day."""

    days: int
    acknowledged: list[Written] = field(default_factory=list)
    missing: int = 0
    changes: list[int] = field(default_factory=list)
    """How often each day changed the disk: more and more would be a store that slows down."""
    pending: int = 0
    at_centre: list[Written] = field(default_factory=list)


class _Link:
    """Implements `sync.outbox.Link`, with a centre behind it and nothing between."""

    packet_max, room = 1 << 20, 20

    def __init__(self, centre: MemoryCentre) -> None:
        self._centre = centre
        self._inbound: asyncio.Queue[Inbound] = asyncio.Queue()

    async def publish(self, channel: str, payload: bytes) -> None:
        for receipt in self._centre.take(channel, payload):
            self._inbound.put_nowait(Inbound("down/receipt", receipt, retained=False))

    async def receive(self) -> Inbound:
        return await self._inbound.get()


async def travel(days: int, seed: int) -> Voyage:
    """Be offline for so many days, then give everything to a centre."""
    voyage, chance = Voyage(days), random.Random(seed)
    with VolatileDisk() as disk:
        for day in range(days):
            store = open_scribe(disk.folder / "state")
            await _work(store, disk, voyage, day, chance)
            disk.cut(chance.randrange(1 << 30))
            with contextlib.suppress(StoreError, sqlite.Error):
                store.close()
            disk.mount()
        with closing(open_scribe(disk.folder / "state")) as store:
            await _arrive(voyage, store)
    return voyage


async def _work(
    store: Store, disk: VolatileDisk, voyage: Voyage, day: int, chance: random.Random
) -> None:
    """One day, from a start to a computer that goes off without being told to."""
    known = figures(store.reader, "centre")["saved"]
    voyage.missing += max(0, len(voyage.acknowledged) - known)
    before = int(disk.tell("heal"))
    for hour in range(_A_DAY):
        wall = _BORN + timedelta(days=day, hours=hour)
        stamp = Stamp(f"boot-{day}", hour * 3600 * 10**9, wall, "unsynchronised")
        capture = take_reading(f"{day}-{hour}", chance, stamp, store.origin)
        await store.record(capture)
        voyage.acknowledged.append(written(capture))
    voyage.changes.append(int(disk.tell("heal")) - before)


async def _arrive(voyage: Voyage, store: Store) -> None:
    centre = MemoryCentre()
    voyage.pending = _waits(store)
    parts = (store.outbox("centre"), unit_key(), centre_key().public_key(), UplinkState())
    carrying = asyncio.create_task(Session(_Link(centre), *parts).run())
    async with asyncio.timeout(_CEILING):
        while _waits(store):  # noqa: ASYNC110 - the session tells nobody
            await asyncio.sleep(0.02)
    carrying.cancel()
    await asyncio.gather(carrying, return_exceptions=True)
    blobs = {name.hex(): name.hex() for name in centre.blobs()}
    voyage.at_centre = [told(line, blobs) for line in centre.lines()]
    centre.close()


def _waits(store: Store) -> int:
    found = figures(store.reader, "centre")
    return int(found["pending"] + found["blobs_pending"])
