"""A log that turns out to be a copy's: how long everything that is pending takes to be logged anew.

    python -m bench.forking [READINGS…]

Meanwhile saves wait, and the watchdog is answered. Figures are of this machine at this moment.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from agent.store import epochs
from agent.store.connection import FILE
from bench.backlog import fill, open_bench
from bench.running import memory
from bench.table import show

if TYPE_CHECKING:
    from agent.store.store import Store

PENDING = (10_000, 100_000)


def main(pending: tuple[int, ...] = PENDING) -> None:
    """Make each backlog, and fork it in this process."""
    rows = []
    for count in pending:
        with tempfile.TemporaryDirectory(prefix="qafila-bench-") as place:
            fill(Path(place), count)
            rows.append((f"{count:,}", *asyncio.run(_measure(Path(place)))))
    show(("pending", "seconds", "longest without an answer s", "log MB", "memory MB more"), rows)


async def _measure(folder: Path) -> tuple[float, float, float, float]:
    store = open_bench(folder)
    try:
        before, begun = memory(os.getpid()), time.perf_counter()
        forking = asyncio.ensure_future(
            store.writer.write_alone(
                lambda sql: epochs.fork(sql, "centre", "bench", None, store.writer.go_on)
            )
        )
        silent = await _longest_silence(store, forking)
        log = (folder / f"{FILE}-wal").stat().st_size
        return time.perf_counter() - begun, silent, log / 1e6, memory(os.getpid()) - before
    finally:
        store.close()


async def _longest_silence(store: Store, forking: asyncio.Future[str]) -> float:
    """Ask as the watchdog does, and more often, until it is done."""
    longest = 0.0
    while not forking.done():
        await asyncio.sleep(0.1)
        asked = time.perf_counter()
        await store.writer.answer()
        longest = max(longest, time.perf_counter() - asked)
    return longest


if __name__ == "__main__":
    main(tuple(map(int, sys.argv[1:])) or PENDING)
