"""Ten thousand connections, each cut: memory, descriptors and threads of the agent (T36)."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from bench.running import agent, memory, uplink_table
from bench.table import show
from tests.agent.unit import Unit
from tests.brokers import Mosquitto
from tests.sync.relay import Relay
from tests.sync.rig import Centre

if TYPE_CHECKING:
    import subprocess

CYCLES = 10_000
_LOOKS = 5
_CEILING = 60.0


def main(cycles: int = CYCLES) -> None:
    """A real agent against a real broker behind a relay, which cuts as soon as it is greeted."""
    with tempfile.TemporaryDirectory(prefix="qafila-bench-") as place:
        rows = asyncio.run(_measure(Path(place), cycles))
    show(("connections", "memory MB", "descriptors", "threads"), rows)


async def _measure(here: Path, cycles: int) -> list[tuple[object, ...]]:
    broker = Mosquitto(here)
    broker.start()
    centre = Centre(here / "centre", "simulated")
    async with Relay(broker.port) as relay:
        unit = Unit(here / "unit", uplink_table(relay.port, centre))
        rows: list[tuple[object, ...]] = []
        try:
            with agent(unit) as (process, _):
                for number in range(cycles + 1):
                    if number % (cycles // _LOOKS) == 0:
                        rows.append((number, *_look(process)))
                    await _cycle(unit, relay)
        finally:
            broker.kill()
        return rows


async def _cycle(unit: Unit, relay: Relay) -> None:
    before = relay.connections
    deadline = time.monotonic() + _CEILING
    while relay.connections == before:
        if unit.agents[-1].poll() is not None:
            raise RuntimeError(f"the agent ended: {unit.log.read_text('utf-8')[-2000:]}")
        await asyncio.to_thread(unit.ask, "reconnect")
        await asyncio.sleep(0.005)
        assert time.monotonic() < deadline
    await relay.cut()
    relay.seen.clear()
    await relay.restore()


def _look(process: subprocess.Popen[bytes]) -> tuple[float, int, int]:
    here = Path(f"/proc/{process.pid}")
    with contextlib.suppress(OSError):
        threads = len(list((here / "task").iterdir()))
        return memory(process.pid), len(list((here / "fd").iterdir())), threads
    raise RuntimeError("the agent ended")
