"""The conservation oracle: faults by seed, and afterwards everything must be there, once.

python -m tests.faults.oracle SEED [ROUNDS [FAULT]]
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from math import inf
from typing import TYPE_CHECKING

from tests.faults.world import World

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from tests.faults.book import Verdict


class Fault(StrEnum):
    """What may happen."""

    AGENT_KILLED = "agent-killed"
    BROKER_KILLED = "broker-killed"
    CENTRE_KILLED = "centre-killed"
    CENTRE_RESTORED = "centre-restored"
    POWER_CUT = "power-cut"
    DISK_FULL = "disk-full"
    FSYNC_FAILED = "fsync-failed"
    CLOCK_STEPPED = "clock-stepped"
    LINK_CUT = "link-cut"
    LINK_CUT_AT_BYTE = "link-cut-at-byte"
    BLACK_HOLE = "black-hole"
    HALF_OPEN = "half-open"
    LATENCY = "latency"
    RATE = "rate"
    RECEIPTS_LOST = "receipts-lost"
    RECEIPTS_REPEATED = "receipts-repeated"
    RECEIPTS_REORDERED = "receipts-reordered"
    RECEIPTS_OLD = "receipts-old"
    BITS_FLIPPED_ON_THE_WIRE = "bits-flipped-on-the-wire"
    BIT_FLIPPED_ON_DISK = "bit-flipped-on-disk"


OF_THE_DISK = {Fault.POWER_CUT, Fault.DISK_FULL, Fault.FSYNC_FAILED}
YEAR = 365 * 86400


@dataclass
class Campaign:
    """What came of one world and its faults."""

    seed: int
    verdict: Verdict
    faults: Counter[str] = field(default_factory=Counter)
    said: str = ""


async def run(
    seed: int, rounds: int = 1, until: float = inf, among: Iterable[Fault] = Fault
) -> Campaign:
    """Do every fault `rounds` times in an order by seed; stop early at a monotonic second."""
    async with World(seed) as world:
        kinds = [each for each in among if world.disk or each not in OF_THE_DISK] * rounds
        world.chance.shuffle(kinds)
        for kind in kinds:
            if time.monotonic() > until:
                break
            await pause(world)
            await FAULTS[kind](world)
            world.faults[kind.value] += 1
        await pause(world)
        verdict = await world.calm()
        return Campaign(seed, verdict, world.faults, "" if verdict.clean else world.said())


async def pause(world: World) -> None:
    """Let readings be taken and sent for a moment."""
    await asyncio.sleep(world.chance.uniform(0.05, 0.7))


async def back(world: World, cut_after: float = inf) -> None:
    """Let the link stand again; the unit's kernel has a route."""
    await world.relay.cut()
    await world.relay.restore(cut_after)
    await world.tell_route()


async def agent_killed(world: World) -> None:
    await world.kill_unit()
    await world.start_unit()


async def broker_killed(world: World) -> None:
    await asyncio.to_thread(world.broker.kill)
    await pause(world)
    await asyncio.to_thread(world.broker.start)
    await back(world)


async def centre_killed(world: World) -> None:
    await world.kill_centre()
    await pause(world)
    await world.start_centre()
    await back(world)


async def centre_restored(world: World) -> None:
    backup = world.backup_path()
    await world.command_centre("backup", str(backup))
    await pause(world)
    await world.restore_centre(backup)
    await back(world)


async def power_cut(world: World) -> None:
    assert world.disk
    world.disk.tell("cut-at", world.chance.randrange(1, 400), world.chance.randrange(1 << 30))
    while not await asyncio.to_thread(world.disk.went_dark):
        pass
    await world.kill_unit()
    await asyncio.to_thread(world.disk.mount)
    await world.start_unit()


async def disk_full(world: World) -> None:
    assert world.disk
    world.disk.tell("full")
    await asyncio.sleep(world.chance.uniform(0.3, 1.5))
    world.disk.tell("heal")


async def fsync_failed(world: World) -> None:
    assert world.disk
    world.disk.tell("fail", "fsync", "EIO")
    await world.unit_ends()
    world.disk.tell("heal")
    await world.start_unit()


async def clock_stepped(world: World) -> None:
    world.step_clock(world.chance.choice((-YEAR, -9 * 3600, 9 * 3600, YEAR, -60 * YEAR)))


async def link_cut(world: World) -> None:
    await world.relay.cut()
    await pause(world)
    await back(world)


async def link_cut_at_byte(world: World) -> None:
    await back(world, world.chance.randrange(1, 60_000))
    for _ in range(100):
        if world.relay.broken:
            break
        await asyncio.sleep(0.05)
    await back(world)


async def black_hole(world: World) -> None:
    """Neither FIN nor RST; sometimes the link comes to life again, sometimes it does not."""
    world.relay.swallowing = True
    await asyncio.sleep(world.chance.uniform(0.5, 3.0))
    world.relay.swallowing = False
    if world.chance.randrange(2):
        await back(world)


async def half_open(world: World) -> None:
    """What the unit says arrives; nothing comes back."""
    world.relay.mind = lambda packet: packet.content if packet.way.name == "UP" else b""
    await asyncio.sleep(world.chance.uniform(0.5, 2.0))
    world.mind(lambda receipt: receipt)
    await back(world)


async def latency(world: World) -> None:
    world.relay._latency = world.chance.uniform(0.05, 0.6)
    await asyncio.sleep(1.0)
    world.relay._latency = 0.0


async def rate(world: World) -> None:
    world.relay._rate = world.chance.uniform(4_000, 60_000)
    await asyncio.sleep(1.0)
    world.relay._rate = inf


async def receipts_lost(world: World) -> None:
    world.mind(lambda receipt: b"" if world.chance.randrange(2) else receipt)
    await asyncio.sleep(0.7)
    await back(world)
    world.mind(lambda receipt: receipt)


async def receipts_repeated(world: World) -> None:
    await for_a_while(world, lambda receipt: receipt * world.chance.randrange(1, 4))


async def receipts_reordered(world: World) -> None:
    held: list[bytes] = []

    def shuffle(receipt: bytes) -> bytes:
        held.append(receipt)
        if len(held) < world.chance.randrange(1, 4):
            return b""
        world.chance.shuffle(held)
        told = b"".join(held)
        held.clear()
        return told

    await for_a_while(world, shuffle)
    await back(world)


async def receipts_old(world: World) -> None:
    """Receipts of earlier, also of a central epoch that was left since, come once more."""
    await for_a_while(world, lambda receipt: world.chance.choice(world.old_receipts) + receipt)


async def bits_flipped_on_the_wire(world: World) -> None:
    """Batches, chunks, hellos and receipts arrive other than they were sent."""
    world.flip_bits(world.chance.uniform(0.1, 0.6))
    await asyncio.sleep(1.0)
    world.mind(lambda receipt: receipt)
    await back(world)


async def bit_flipped_on_disk(world: World) -> None:
    """One bit, while something waits that nobody else has; over once every page reads again."""
    await world.relay.cut()
    await pause(world)
    await world.kill_unit()
    world.flip_bit_on_disk()
    await world.heal_unit()
    await back(world)


async def for_a_while(world: World, change: Callable[[bytes], bytes]) -> None:
    world.mind(change)
    await asyncio.sleep(0.8)
    world.mind(lambda receipt: receipt)


FAULTS: dict[Fault, Callable[[World], Awaitable[None]]] = {
    Fault.AGENT_KILLED: agent_killed,
    Fault.BROKER_KILLED: broker_killed,
    Fault.CENTRE_KILLED: centre_killed,
    Fault.CENTRE_RESTORED: centre_restored,
    Fault.POWER_CUT: power_cut,
    Fault.DISK_FULL: disk_full,
    Fault.FSYNC_FAILED: fsync_failed,
    Fault.CLOCK_STEPPED: clock_stepped,
    Fault.LINK_CUT: link_cut,
    Fault.LINK_CUT_AT_BYTE: link_cut_at_byte,
    Fault.BLACK_HOLE: black_hole,
    Fault.HALF_OPEN: half_open,
    Fault.LATENCY: latency,
    Fault.RATE: rate,
    Fault.RECEIPTS_LOST: receipts_lost,
    Fault.RECEIPTS_REPEATED: receipts_repeated,
    Fault.RECEIPTS_REORDERED: receipts_reordered,
    Fault.RECEIPTS_OLD: receipts_old,
    Fault.BITS_FLIPPED_ON_THE_WIRE: bits_flipped_on_the_wire,
    Fault.BIT_FLIPPED_ON_DISK: bit_flipped_on_disk,
}


if __name__ == "__main__":
    seed, rounds = map(int, [*sys.argv[1:3], "1"][:2])
    only = [Fault(each) for each in sys.argv[3:]]
    done = asyncio.run(run(seed, rounds, among=only or Fault))
    sys.stdout.write(f"{done}\n")
    sys.exit(not done.verdict.clean)
