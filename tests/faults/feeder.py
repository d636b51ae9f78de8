"""A unit without devices: the real store and the real uplink, fed with readings, in one process.

    python -m tests.faults.feeder UNIT_TOML NAME CODE

It says `try RAW VALUE BLOBS…` before `record()`, `ok RAW` once that returned, `refused RAW` where
the disk was full, and ends with status 3 where the store is broken, for a supervisor to start it
again. On its input: `clock SECONDS` sets its wall clock off, `route` says that the kernel has a
route, `rest` ends the feeding and nothing else. CODE is as for the scribe.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
import threading
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import patch

from agent import clock
from agent.errors import StoreBroken, StoreFull
from agent.store import settling
from agent.store.keys import load_key
from agent.store.store import Store
from agent.supervisor import keep
from agent.uplink import Impulse, build_uplink
from config.load import load
from drivers import DRIVERS
from tests.faults.feed import take_reading, written
from tests.faults.scribe import Code, break_code

if TYPE_CHECKING:
    from agent.capture import Capture

BROKEN = 3
_PAUSE = 0.03
_REAL_NOW = clock.now


@dataclass
class Orders:
    """What the input says."""

    impulse: Impulse
    offset: timedelta = timedelta()
    resting: asyncio.Event = field(default_factory=asyncio.Event)

    def now(self) -> clock.Stamp:
        """The present moment as this unit's wall clock tells it."""
        stamp = _REAL_NOW()
        wall = stamp.wall + self.offset
        return replace(stamp, wall=wall, clock=clock.quality(wall))

    def obey(self, words: list[str]) -> None:
        """Do what one line says."""
        match words:
            case ["clock", seconds]:
                self.offset = timedelta(seconds=int(seconds))
            case ["route"]:
                self.impulse.give()
            case ["rest"]:
                self.resting.set()


async def feed(store: Store, orders: Orders, name: str) -> None:
    """Record until told to rest; what was not acknowledged is told once more, as cuffs do."""
    chance, number = random.Random(name), 0
    while not orders.resting.is_set():
        takes = []
        for _ in range(1 + chance.randrange(3)):
            number += 1
            takes.append(take_reading(f"{name}-{number}", chance, orders.now(), store.origin))
        await asyncio.gather(*(record(store, each) for each in takes))
        repeatable = [each for each in takes if each.measurement.repeatable]
        await asyncio.gather(*(record(store, each) for each in repeatable[:1]))
        await asyncio.sleep(_PAUSE)


async def record(store: Store, capture: Capture) -> None:
    """Record one, saying so before and after."""
    said = written(capture)
    say("try", said.words())
    try:
        await store.record(capture)
    except StoreFull:
        say("refused", said.raw)
    else:
        say("ok", said.raw)


async def work(settings_file: Path, name: str) -> None:
    """Feed and send until killed."""
    settings = load(settings_file, DRIVERS)
    folder = Path(settings.unit.state)
    impulse = Impulse()
    orders = Orders(impulse)
    patch.object(settling, "now", orders.now).start()
    loop = asyncio.get_running_loop()
    threading.Thread(target=listen, args=(loop, orders), daemon=True).start()
    unit = settings.unit
    with closing(Store.open(folder, load_key(folder), unit.name, unit.origin)) as store:
        uplink = build_uplink(store, settings, impulse)
        assert uplink
        say("ready")
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(keep("uplink", uplink.run, uplink.state.show))
            tasks.create_task(feed(store, orders, name))


def listen(loop: asyncio.AbstractEventLoop, orders: Orders) -> None:
    """Hand the input over to the loop; its end is ours."""
    for line in sys.stdin:
        loop.call_soon_threadsafe(orders.obey, line.split())
    os._exit(0)


def say(*words: str) -> None:
    """Tell whoever keeps the ledger, at once."""
    sys.stdout.write(" ".join(words) + "\n")
    sys.stdout.flush()


def main(settings_file: str, name: str, code: str) -> None:
    """Work; end at once where the store is broken, as the agent does."""
    break_code(Code(code))
    try:
        asyncio.run(work(Path(settings_file), name))
    except* StoreBroken as broken:
        sys.stderr.write(f"{broken.exceptions}\n")
        sys.stderr.flush()
        os._exit(BROKEN)


if __name__ == "__main__":
    main(*sys.argv[1:])
