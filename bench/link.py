"""Draining history over thin links, with live readings and an urgent request beside it.

A real broker and a real centre on this computer; between them and the unit a relay that keeps a
rate, a latency and losses. Two links: 256 kbit/s (T38), and a satellite of 1 Mbit/s with 600 ms
round trip and 2 % lost segments (T39). Losses are waits of a round trip, as TCP would have them.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from agent.store.figures import figures
from sync.contract.batch import decode_batch
from sync.contract.envelope import key_id
from tests.brokers import Mosquitto
from tests.sync.relay import Relay, Way
from tests.sync.rig import DESTINATION, Place, place, until
from tests.sync.test_urgent import ask, payload

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.sync.relay import Packet

RECORDS = 10_000
URGENT_EVERY = 8.0


@dataclass(frozen=True)
class Line:
    """A link: bytes a second, seconds one way, the part of segments that is lost."""

    name: str
    rate: float
    latency: float
    loss: float = 0.0


@dataclass
class Figures:
    """What one run came to; seconds and bytes on the wire."""

    seconds: float
    up: int
    history: int
    live: int
    urgent: list[float]


LINES = (
    Line("256 kbit/s, 60 ms", 32_000, 0.03),
    Line("1 Mbit/s, 600 ms, 2 % loss", 125_000, 0.3, 0.02),
)


def main(records: int = RECORDS) -> None:
    """Run both links and print a table."""
    quiet = structlog.make_filtering_bound_logger(logging.ERROR)
    structlog.configure(wrapper_class=quiet)
    rows = [("link", "records", "drained in", "up", "history", "live", "urgent p50 / max")]
    for line in LINES:
        found = asyncio.run(_measure(line, records))
        asked = sorted(found.urgent)
        share = 100 * found.history / max(1, found.history + found.live)
        rows.append(
            (
                line.name,
                f"{records} + live",
                f"{found.seconds:.0f} s",
                f"{found.up / found.seconds / 1000:.1f} kB/s",
                f"{share:.0f} % of records",
                f"{100 - share:.0f} %",
                f"{asked[len(asked) // 2]:.1f} s / {asked[-1]:.1f} s" if asked else "none",
            )
        )
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        sys.stdout.write("  ".join(cells).rstrip() + "\n")


async def _measure(line: Line, records: int) -> Figures:
    with tempfile.TemporaryDirectory(prefix="qafila-bench-") as folder, place(Path(folder)) as here:
        broker = Mosquitto(Path(folder))
        broker.start()
        try:
            await here.unit.record_many(records)
            with here.centre.receiving(broker.port):
                async with Relay(broker.port, line.latency, line.rate, line.loss) as relay:
                    return await _drain(here, relay, records)
        finally:
            broker.stop()


async def _drain(here: Place, relay: Relay, records: int) -> Figures:
    """Drain history, with two live readings a second and an urgent request now and then."""
    urgent: list[float] = []
    async with here.unit.online(relay.port) as up:
        await until(lambda: up.state.state == "connected", "a connection")
        begun = time.monotonic()
        asking = asyncio.create_task(_ask(here, urgent))
        while _lane(here, "clinical")["through"] < records:
            await here.unit.record()
            await asyncio.sleep(0.5)
        seconds = time.monotonic() - begun
        asking.cancel()
    live, history = _shares(here, relay.up(), records)
    return Figures(seconds, relay.taken[Way.UP], history, live, urgent)


def _lane(here: Place, name: str) -> dict[str, int]:
    lane: dict[str, int] = figures(here.unit.store.reader, DESTINATION)["lanes"][name]
    return lane


async def _ask(here: Place, urgent: list[float]) -> None:
    while True:
        await asyncio.sleep(URGENT_EVERY)
        begun = time.monotonic()
        await ask(here.unit, next(reversed(here.unit.saved)))
        await until(lambda: not _lane(here, "urgent")["pending"], "the request")
        urgent.append(time.monotonic() - begun)


def _shares(here: Place, packets: Sequence[Packet], records: int) -> tuple[int, int]:
    public = here.unit.key.public_key()
    keys = {key_id(public): public}
    live = history = 0
    for packet in packets:
        if packet.channel != "up/log/clinical":
            continue
        if decode_batch(payload(packet), keys.get).header.first > records:
            live += len(packet.content)
        else:
            history += len(packet.content)
    return live, history


if __name__ == "__main__":
    main()
