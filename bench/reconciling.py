"""A comparison of all that is settled: how long, how many bytes, and what a save beside it takes.

    python -m bench.reconciling [READINGS]

Figures are of this machine at this moment.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.draining import drained
from bench.running import cpu, entering, memory
from bench.table import quantile, show

if TYPE_CHECKING:
    from bench.draining import Drained
    from tests.agent.unit import Unit

READINGS = 100_000
_SAVES = 10
_QUIET = 200
_CEILING = 900.0


def main(readings: int = READINGS) -> None:
    """Agent, broker and centre are processes; the backlog is drained before."""
    with tempfile.TemporaryDirectory(prefix="qafila-bench-") as place:
        rows = asyncio.run(_measure(Path(place), readings))
    head = ("", "records", "seconds", "bytes", "CPU s", "memory MB", "save p50 ms", "longest ms")
    show(head, rows)


async def _measure(here: Path, readings: int) -> list[tuple[object, ...]]:
    async with drained(here, readings) as done:
        alone = await asyncio.to_thread(entering, done.unit, _QUIET)
        await _ended(done.unit, 0)  # the first one comes by itself
        return [("alone", "", "", "", "", "", *_ends(alone)), await _compare(done)]


async def _compare(done: Drained) -> tuple[object, ...]:
    unit, process, relay = done.unit, done.process, done.relay
    before = unit.ask("reconciliation")["last"]["number"]
    relay.seen.clear()
    begun, used = time.perf_counter(), cpu(process)
    unit.ask("reconcile")
    ending = asyncio.create_task(_ended(unit, before))
    took = []
    while not ending.done():
        took += await asyncio.to_thread(entering, unit, _SAVES)
    last = ending.result()
    if last["outcome"] != "equal":
        raise RuntimeError(f"the two sides differ: {last}")
    sent = sum(len(each.content) for each in relay.seen)
    seconds, used = time.perf_counter() - begun, cpu(process) - used
    most = memory(process.pid, "VmHWM")
    return "compared", f"{last['records']:,}", seconds, f"{sent:,}", used, most, *_ends(took)


async def _ended(unit: Unit, before: int) -> dict[str, Any]:
    """The first comparison after the one of that number."""
    async with asyncio.timeout(_CEILING):
        while True:
            last: dict[str, Any] | None = await asyncio.to_thread(_last, unit)
            if last is not None and last["number"] > before:
                return last
            await asyncio.sleep(0.1)


def _last(unit: Unit) -> dict[str, Any] | None:
    found: dict[str, Any] | None = unit.ask("reconciliation")["last"]
    return found


def _ends(took: list[float]) -> tuple[float, float]:
    return 1000 * quantile(took, 0.5), 1000 * max(took)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
