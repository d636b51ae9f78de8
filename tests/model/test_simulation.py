"""Schedules by seed: the fixed choice of every run; `make soak` runs on from there.

T14, T20 to T22, T26, T28 to T31, T37.
"""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any, Self

import pytest

from sync.outbox import LinkLost
from sync.uplink import Uplink

from .ledger import centre_key, unit_key
from .log import Disk, MemoryOutbox
from .mutants import (
    BelievesAnyCentre,
    ForgetsWhatItSaid,
    IgnoresMissing,
    KeepsBlobs,
    SaysSoBeforeCommit,
    SettlesTooEarly,
)
from .simulation import Simulation, Violation

SCHEDULES, PARTS = 1000, 4
REGRESSIONS = [
    int(line.split()[0])
    for line in (Path(__file__).parent / "regressions.txt").read_text("utf-8").splitlines()
    if not line.startswith("#")
]


@pytest.mark.parametrize("part", range(PARTS))
def test_a_thousand_schedules_keep_every_promise(part: int) -> None:
    """T14."""
    for seed in range(part, SCHEDULES, PARTS):
        hold(seed)


def test_what_once_broke_a_promise_keeps_it() -> None:
    for seed in REGRESSIONS:
        hold(seed)


def hold(seed: int) -> None:
    try:
        Simulation(seed).run()
    except AssertionError as broken:
        pytest.fail(f"seed {seed}: {broken}")


def test_the_same_seed_is_the_same_schedule() -> None:
    ends = []
    for _ in range(2):
        simulation = Simulation(11)
        simulation.run()
        ends.append((simulation.ended, simulation.network.connections, simulation.said))
    assert ends[0] == ends[1]


@pytest.mark.parametrize(
    ("first", "parts"),
    [
        (0, {"make": SettlesTooEarly}),
        (1, {"make": IgnoresMissing}),
        (456, {"make": BelievesAnyCentre}),
        (22, {"make": KeepsBlobs}),
        (257, {"make_disk": SaysSoBeforeCommit}),
        (0, {"make_centre": ForgetsWhatItSaid}),
    ],
)
def test_simulation_catches_the_mutant(first: int, parts: dict[str, Any]) -> None:
    """From the first seed on that is known to catch it: others would as well, and take longer."""
    assert any(breaks_a_promise(seed, **parts) for seed in range(first, first + SCHEDULES))


def breaks_a_promise(seed: int, **parts: Any) -> bool:
    try:
        Simulation(seed, **parts).run()
    except Violation:
        return True
    return False


async def test_uplink_that_is_cancelled_as_its_link_is_lost_ends() -> None:
    """T07: an agent that is told to stop must not go on looking for its centre."""
    lost = asyncio.Event()

    class Link:
        packet_max, room = 1 << 20, 20

        async def publish(self, _: str, __: bytes) -> None:
            await lost.wait()

        async def receive(self) -> Any:
            await lost.wait()
            raise LinkLost("cut")

        async def __aenter__(self) -> Self:
            return self

        async def __aexit__(self, *_: object) -> None:
            await asyncio.sleep(0)

    work = Uplink(
        MemoryOutbox(Disk(random.Random(1), 0.0)),
        Link,
        unit_key(),
        centre_key().public_key(),
        asyncio.Event().wait,  # type: ignore[arg-type] # no route ever comes
    )
    task = asyncio.create_task(work.run())
    await asyncio.sleep(0.05)
    lost.set()
    await asyncio.sleep(0)
    task.cancel()
    done, _ = await asyncio.wait({task}, timeout=5.0)
    assert done
    assert task.cancelled()
