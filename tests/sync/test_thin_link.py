"""Thin links: who gets which part of the bytes, who waits behind whom, and what a cap lets up."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from sync.allowance import Allowance, Bucket
from sync.contract.batch import decode_batch
from sync.contract.chunk import CHUNK_MIN
from sync.contract.envelope import key_id
from sync.mqtt import Broker

from .relay import PUBLISH, Packet, Relay, Way
from .rig import HOST, ROOT, UNIT, Place, Unit, connector, conserved, running, until
from .test_urgent import ask, channels, payload

if TYPE_CHECKING:
    from tests.brokers import Mosquitto

RATE = 32_000
"""256 kbit/s in bytes."""


def shares(unit: Unit, packets: list[Packet], live_from: int) -> tuple[int, int]:
    """Bytes of live and of historical records on the wire."""
    public = unit.key.public_key()
    keys = {key_id(public): public}
    live = history = 0
    for packet in packets:
        if packet.channel == "up/log/clinical":
            header = decode_batch(payload(packet), keys.get).header
            if header.first >= live_from:
                live += len(packet.content)
            else:
                history += len(packet.content)
    return live, history


async def test_history_has_its_fifth_and_an_urgent_request_waits_for_a_chunk_at_most(
    here: Place, mosquitto: Mosquitto
) -> None:
    """T38: 256 kbit/s, history and a photograph pending, live readings that never stop."""
    await here.unit.record_many(500)
    await here.unit.record(random.Random(1).randbytes(300_000))
    waited: list[int] = []
    with here.centre.receiving(mosquitto.port):
        async with (
            Relay(mosquitto.port, latency=0.03, rate=RATE) as relay,
            here.unit.online(relay.port) as up,
        ):
            await until(lambda: up.state.state == "connected", "a connection")
            relay.seen.clear()
            for number in range(60):
                await here.unit.record_many(4)
                await asyncio.sleep(0.05)
                if number % 20 == 19:
                    waited.append(await queued_before_urgent(here.unit, relay))
            both = list(relay.up())
    live, history = shares(here.unit, both, live_from=502)
    photograph = sum(len(each.content) for each in both if each.channel == "up/chunk")
    assert live > 0
    assert photograph > 0
    assert history >= 0.2 * (live + history + photograph)
    # What is under way, the batch of live readings beside it, and the request itself.
    assert max(waited) <= 4 * CHUNK_MIN


async def queued_before_urgent(unit: Unit, relay: Relay) -> int:
    """Ask; give the bytes that the link has to carry before the request, once that is on it."""
    carried = relay.forwarded[Way.UP]
    came: list[int] = []

    def mind(packet: Packet) -> bytes:
        if packet.channel == "up/log/urgent":
            came.append(relay.taken[Way.UP] - len(packet.content))
        return packet.content

    relay.mind = mind
    await ask(unit, next(iter(unit.saved)))
    await until(lambda: came, "the request")
    return came[0] - carried


async def test_records_drain_once_over_a_satellite(here: Place, mosquitto: Mosquitto) -> None:
    """T39 scaled down: 600 ms and 2 % loss; the window fills the link, nothing is sent twice."""
    await here.unit.record_many(800)
    with here.centre.receiving(mosquitto.port):
        async with (
            Relay(mosquitto.port, latency=0.3, rate=125_000, loss=0.02) as relay,
            here.unit.online(relay.port),
        ):
            await here.unit.settled()
            batches = [each for each in relay.up() if each.channel == "up/log/clinical"]
    public = here.unit.key.public_key()
    keys = {key_id(public): public}
    sent = sum(len(decode_batch(payload(each), keys.get).lines) for each in batches)
    assert sent == 800
    conserved(here.unit, here.centre)


CAP = 40_000


async def test_a_cap_holds_over_records_chunks_and_connections(
    here: Place, mosquitto: Mosquitto
) -> None:
    """T39: Point 4: bytes a second, counted on the wire, whatever they are; cut once in between."""
    pictures = [random.Random(seed).randbytes(60_000) for seed in range(2)]
    for picture in pictures:
        await here.unit.record(picture)
    await here.unit.record_many(60)
    clock = asyncio.get_running_loop().time
    with here.centre.receiving(mosquitto.port):
        async with Relay(mosquitto.port) as relay:
            broker = Broker(HOST, relay.port, UNIT, ROOT)
            unit = here.unit
            uplink = unit.uplink(connector(broker), cap=CAP)
            begun = clock()
            async with running(uplink):
                await until(lambda: channels(relay.up()).count("up/chunk") > 1, "chunks")
                await relay.cut()
                await relay.restore()
                await unit.settled()
            seconds = clock() - begun
    sent = sum(len(each.content) for each in relay.up(PUBLISH))
    assert sent > 120_000
    assert sent <= CAP * seconds + 65_536
    conserved(here.unit, here.centre, *pictures)


@given(
    st.integers(1_000, 1_000_000),
    st.lists(st.tuples(st.integers(1, 65_536), st.floats(0, 5)), min_size=1, max_size=60),
)
def test_no_stretch_of_time_lets_more_through_than_the_rate_and_one_parcel(
    rate: int, parcels: list[tuple[int, float]]
) -> None:
    bucket, now, spent = Bucket(rate), 0.0, list[tuple[float, int]]()
    for size, pause in parcels:
        now += pause
        now += bucket.wait(now)
        bucket.spend(size, now)
        spent.append((now, size))
    for at, (begun, _) in enumerate(spent):
        for to in range(at, len(spent)):
            through = sum(size for _, size in spent[at : to + 1])
            seconds = spent[to][0] - begun
            assert through <= rate * seconds + spent[to][1] + 1


async def test_of_those_who_wait_for_the_cap_the_most_pressing_goes_first() -> None:
    allowance, order = Allowance(1_000_000), list[int]()

    async def pay(rank: int) -> None:
        await allowance.pay(20_000, rank)
        order.append(rank)

    allowance.charge(50_000)
    async with asyncio.TaskGroup() as tasks:
        for rank in (4, 3, 2, 4, 2):
            tasks.create_task(pay(rank))
    assert order == [2, 2, 3, 4, 4]


async def test_without_a_cap_nobody_waits() -> None:
    allowance = Allowance()
    allowance.charge(1 << 40)
    async with asyncio.timeout(5):
        for _ in range(1000):
            await allowance.pay(1 << 30, 4)
