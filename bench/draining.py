"""A backlog given to the centre over a broker on the same computer: how long, how many bytes."""

from __future__ import annotations

import asyncio
import tempfile
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from agent.identity import load_unit_key
from bench.backlog import UNIT, fill
from bench.running import agent, cpu, memory, uplink_table
from bench.table import show
from tests.agent.unit import Unit
from tests.brokers import Mosquitto
from tests.sync.relay import Relay, Way
from tests.sync.rig import Centre

if TYPE_CHECKING:
    import subprocess
    from collections.abc import AsyncIterator

READINGS = 20_000
_SLOWEST = 50
"""Readings a second below which something must be wrong."""
_CEILING = 120.0


@dataclass(frozen=True)
class Drained:
    """A unit whose backlog is at the centre, both still running; `seconds`: how long it took."""

    unit: Unit
    process: subprocess.Popen[bytes]
    relay: Relay
    seconds: float


def main(readings: int = READINGS) -> None:
    """Agent, broker and centre are processes; one reading in 500 has a picture of 3 kB."""
    with tempfile.TemporaryDirectory(prefix="qafila-bench-") as place:
        row = asyncio.run(_measure(Path(place), readings))
    head = ("readings", "seconds", "readings a second", "bytes a reading", "CPU s", "memory MB")
    show(head, [row])


@asynccontextmanager
async def drained(here: Path, readings: int) -> AsyncIterator[Drained]:
    """Give a backlog of so many to the centre."""
    broker, centre = Mosquitto(here), Centre(here / "centre", "simulated")
    broker.start()
    fill(here / "unit" / "state", readings)
    try:
        async with Relay(broker.port) as relay:
            unit = Unit(here / "unit", uplink_table(relay.port, centre))
            centre.enrol(UNIT, load_unit_key(unit.state))
            centred = centre.process(broker.port)
            begun = time.perf_counter()
            with agent(unit) as (process, _):
                async with asyncio.timeout(_CEILING + readings / _SLOWEST):
                    while await asyncio.to_thread(_waits, unit):  # noqa: ASYNC110 - nobody tells
                        await asyncio.sleep(0.1)
                yield Drained(unit, process, relay, time.perf_counter() - begun)
            centred.kill()
    finally:
        broker.kill()


async def _measure(here: Path, readings: int) -> tuple[object, ...]:
    async with drained(here, readings) as done:
        used, most = cpu(done.process), memory(done.process.pid, "VmHWM")
        sent = sum(len(each.content) for each in done.relay.seen if each.way is Way.UP)
        rate = round(readings / done.seconds)
        return f"{readings:,}", done.seconds, rate, sent / readings, used, most


def _waits(unit: Unit) -> int:
    store = unit.ask("status")["status"]["store"]
    return int(store["pending"] + store["blobs_pending"])
