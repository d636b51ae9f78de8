"""How long `record()` takes, fsync included, and how many readings a second it takes."""

from __future__ import annotations

import asyncio
import random
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from agent.clock import now
from bench.backlog import open_bench, take
from bench.table import quantile, show

if TYPE_CHECKING:
    from agent.store.store import Store

_READINGS = 2000
_AT_ONCE = (1, 10, 100)


async def save(store: Store, at_once: int, readings: int = _READINGS) -> list[float]:
    """Record so many, so many at once; give the seconds that each took."""
    chance, took = random.Random(at_once), []
    first = store.reader.execute("SELECT coalesce(max(rowid), 0) FROM record").fetchone()[0]
    waiting = iter(range(first, first + readings))

    async def one_after_the_other() -> None:
        for number in waiting:
            begun = time.perf_counter()
            await store.record(take(number, now(), chance))
            took.append(time.perf_counter() - begun)

    await asyncio.gather(*(one_after_the_other() for _ in range(at_once)))
    return took


def main() -> None:
    """Measure on the disk that holds the temporary folder."""
    rows = []
    with tempfile.TemporaryDirectory(prefix="qafila-bench-") as place:
        for at_once in _AT_ONCE:
            with closing(open_bench(Path(place) / str(at_once))) as store:
                begun = time.perf_counter()
                took = asyncio.run(save(store, at_once))
                rate = len(took) / (time.perf_counter() - begun)
            ends = [1000 * quantile(took, part) for part in (0.5, 0.99)]
            rows.append((at_once, *ends, round(rate)))
    show(("at once", "p50 ms", "p99 ms", "readings a second"), rows)
