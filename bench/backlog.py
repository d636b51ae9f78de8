"""A store with a long backlog, written by the real log, quickly."""

from __future__ import annotations

import random
from contextlib import closing
from decimal import Decimal
from typing import TYPE_CHECKING

from agent.capture import Capture
from agent.clock import now
from agent.store import log
from agent.store.connection import open_writer
from agent.store.keys import find_key, load_key, make_key
from agent.store.store import Store
from drivers.base import Blob, Device, Measurement, Value

if TYPE_CHECKING:
    from pathlib import Path

    from agent.clock import Stamp

UNIT = "test-01"
_GROUP = 20_000
_PICTURE = 3_000
"""Bytes of a picture: it is their number that tells here, not their size."""
_CUFF = Device("ble:F1:F1:F1:F1:F1:F1", "thermometer", "box1-thermometer")


def open_bench(folder: Path) -> Store:
    """Open the store of a unit that is measured; it is made where there is none."""
    if not find_key(folder).exists():
        make_key(folder)
    return Store.open(folder, load_key(folder), UNIT, "simulated")


def take(number: int, stamp: Stamp, chance: random.Random, *, picture: bool = False) -> Capture:
    """A temperature that was never told before, with a picture or without."""
    pictures: tuple[Blob, ...] = ()
    if picture:
        pictures = (Blob(chance.randbytes(_PICTURE), "image/jpeg", "photograph"),)
    measurement = Measurement(
        kind="body-temperature",
        raw=number.to_bytes(8),
        values=(Value("150364", Decimal(chance.randrange(350, 400)) / 10, "Cel"),),
        blobs=pictures,
    )
    return Capture(measurement, _CUFF, stamp, "1", "simulated", "1")


def fill(folder: Path, count: int, picture_every: int = 500) -> None:
    """Make a store that holds `count` readings, none of them confirmed."""
    open_bench(folder).close()
    chance = random.Random(count)
    with closing(open_writer(folder, load_key(folder))) as connection:
        connection.execute("PRAGMA synchronous = OFF")  # nobody cuts the power of a bench
        connection.execute("PRAGMA cache_size = -400000")
        for start in range(0, count, _GROUP):
            connection.execute("BEGIN IMMEDIATE")
            for number in range(start, min(count, start + _GROUP)):
                picture = number % picture_every == 0
                log.append(connection, take(number, now(), chance, picture=picture))
            connection.execute("COMMIT")
