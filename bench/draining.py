"""A backlog given to the centre over a broker on the same computer: how long, how many bytes."""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path

from agent.identity import load_unit_key
from bench.backlog import UNIT, fill
from bench.running import agent, cpu, memory, uplink_table
from bench.table import show
from tests.agent.unit import Unit
from tests.brokers import Mosquitto
from tests.sync.relay import Relay, Way
from tests.sync.rig import Centre

READINGS = 20_000
_CEILING = 900.0


def main(readings: int = READINGS) -> None:
    """Agent, broker and centre are processes; one reading in 500 has a picture of 3 kB."""
    with tempfile.TemporaryDirectory(prefix="qafila-bench-") as place:
        row = asyncio.run(_measure(Path(place), readings))
    head = ("readings", "seconds", "readings a second", "bytes a reading", "CPU s", "memory MB")
    show(head, [row])


async def _measure(here: Path, readings: int) -> tuple[object, ...]:
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
                async with asyncio.timeout(_CEILING):
                    while await asyncio.to_thread(_waits, unit):  # noqa: ASYNC110 - nobody tells
                        await asyncio.sleep(0.1)
                took = time.perf_counter() - begun
                used, most = cpu(process), memory(process, "VmHWM")
            centred.kill()
            sent = sum(len(each.content) for each in relay.seen if each.way is Way.UP)
    finally:
        broker.kill()
    return f"{readings:,}", took, round(readings / took), sent / readings, used, most


def _waits(unit: Unit) -> int:
    store = unit.ask("status")["status"]["store"]
    return int(store["pending"] + store["blobs_pending"])
