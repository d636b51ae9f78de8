"""The whole way, store to centre, through a real broker and a link that can be told to fail."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from central import backoff as central_backoff
from sync import backoff, session, uplink
from sync.mqtt import MqttLink
from sync.outbox import LinkLost, LinkRefused, TakenOver
from sync.packing import BATCH_BUDGET

from .ledger_link import LedgerLink
from .relay import PINGRESP, PUBACK, PUBLISH, Packet, Relay, Way
from .rig import HOST, ROOT, UNIT, Place, conserved, paho_threads, running, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager

    from central.ledger import Ledger
    from sync.outbox import Link
    from tests.brokers import Mosquitto

PICTURE = random.Random(7).randbytes(150_000)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the shape of all waiting, at a fraction of its length."""
    for side in (backoff, central_backoff):
        monkeypatch.setattr(side, "FIRST", 0.02)
        monkeypatch.setattr(side, "CEILING", 0.3)
    monkeypatch.setattr(session, "ANSWER_TIMEOUT", 2.0)
    monkeypatch.setattr(session, "GREETING_TIMEOUT", 1.5)


def channels(packets: list[Packet]) -> list[str]:
    return [each.channel for each in packets]


def turns(packets: list[Packet]) -> int:
    """How often the unit had to hear something before it could say the next thing."""
    said = [each for each in packets if each.kind == PUBLISH]
    pairs = itertools.pairwise(said)
    return sum(one.way is Way.DOWN and other.way is Way.UP for one, other in pairs)


async def test_a_reading_taken_online_is_settled_within_one_round_trip(
    here: Place, mosquitto: Mosquitto
) -> None:
    """The batch goes up at once and its receipt comes down: nothing else is said first."""
    with here.centre.receiving(mosquitto.port):
        async with Relay(mosquitto.port, latency=0.05) as relay, here.unit.online(relay.port) as up:
            await until(lambda: up.state.state == "connected", "a connection")
            for _ in range(5):
                relay.seen.clear()
                await here.unit.record()
                await here.unit.settled()
                assert channels(relay.up()) == ["up/log/clinical"]
                assert channels(relay.down()) == ["down/receipt"]
    conserved(here.unit, here.centre)


async def test_a_reading_with_a_picture_keeps_its_round_trips_few(
    here: Place, mosquitto: Mosquitto
) -> None:
    """Record and first chunk go up side by side; then each round carries one chunk more."""
    with here.centre.receiving(mosquitto.port):
        async with Relay(mosquitto.port, latency=0.05) as relay, here.unit.online(relay.port) as up:
            await until(lambda: up.state.state == "connected", "a connection")
            relay.seen.clear()
            await here.unit.record(PICTURE)
            await here.unit.settled()
            chunks = channels(relay.up()).count("up/chunk")
            assert set(channels(relay.up())[:2]) == {"up/log/clinical", "up/chunk"}
            assert turns(relay.seen) < chunks
    conserved(here.unit, here.centre, PICTURE)


async def test_a_vital_sign_overtakes_the_photographs_that_wait(
    here: Place, mosquitto: Mosquitto
) -> None:
    """Promise 5: dozens of chunks are pending; only those already under way go before it."""
    with here.centre.receiving(mosquitto.port):
        async with (
            Relay(mosquitto.port, latency=0.02, rate=250_000) as relay,
            here.unit.online(relay.port),
        ):
            for seed in range(3):
                await here.unit.record(random.Random(seed).randbytes(400_000))
            await until(lambda: channels(relay.up()).count("up/chunk") > 12, "photographs")
            for _ in range(3):
                relay.seen.clear()
                await here.unit.record()
                await until(lambda: "up/log/clinical" in channels(relay.up()), "the vital sign")
                said = channels(relay.up())
                assert said[: said.index("up/log/clinical")].count("up/chunk") <= 4
            await until(lambda: not here.unit.pending() or len(here.centre.records()) == 6, "all")


async def test_readings_of_an_offline_day_arrive_when_the_link_comes(
    here: Place, mosquitto: Mosquitto
) -> None:
    """T21, T25: nobody was there when they were taken; the broker never held one."""
    await here.unit.record_many(1500)
    with here.centre.receiving(mosquitto.port):
        async with Relay(mosquitto.port) as relay, here.unit.online(relay.port):
            await here.unit.settled()
            frames = [each for each in relay.up() if each.channel == "up/log/clinical"]
            assert max(len(each.content) for each in frames) < BATCH_BUDGET
    conserved(here.unit, here.centre)


async def test_a_broker_without_a_centre_gets_a_hello_and_nothing_more(
    here: Place, mosquitto: Mosquitto
) -> None:
    """T21: C-6.1: not a byte of bulk, connection after connection; then a centre comes."""
    await here.unit.record(PICTURE)
    async with Relay(mosquitto.port) as relay, here.unit.online(relay.port) as up:
        await until(lambda: relay.connections == 3, "three attempts")
        assert set(channels(relay.up())) <= {"up/hello", "up/state"}
        assert sum(len(each.content) for each in relay.up()) < 3 * 2500
        assert up.state.connections <= relay.connections
        with here.centre.receiving(mosquitto.port):
            await here.unit.settled()
    conserved(here.unit, here.centre, PICTURE)


async def test_kill_9_of_the_broker_loses_and_doubles_nothing(
    here: Place, mosquitto: Mosquitto
) -> None:
    """T20: it had acknowledged; that proved nothing."""
    with here.centre.receiving(mosquitto.port):
        async with here.unit.online(mosquitto.port):
            for _ in range(4):
                await here.unit.record(random.Random(9).randbytes(70_000))
                await here.unit.record_many(50)
                mosquitto.kill()
                await here.unit.record()
                mosquitto.start()
            await here.unit.settled()
    conserved(here.unit, here.centre)


async def test_kill_9_of_the_centre_loses_and_doubles_nothing(
    here: Place, mosquitto: Mosquitto
) -> None:
    """C-9.1: the broker acknowledged what no centre ever saw."""
    centre = here.centre.process(mosquitto.port)
    try:
        async with here.unit.online(mosquitto.port):
            for _ in range(2):
                await here.unit.record(PICTURE)
                await here.unit.record_many(50)
                await asyncio.sleep(random.Random(3).uniform(0.0, 0.05))
                centre.kill()
                await here.unit.record()
                centre = await asyncio.to_thread(here.centre.process, mosquitto.port)
            await here.unit.settled()
    finally:
        centre.kill()
    conserved(here.unit, here.centre, PICTURE)


async def test_links_cut_at_any_byte_lose_and_double_nothing(
    here: Place, mosquitto: Mosquitto
) -> None:
    """T29: thirty cuts, seeded, in the middle of greetings, batches, chunks and receipts."""
    chance, pictures = random.Random(29), list[bytes]()
    with here.centre.receiving(mosquitto.port):
        async with Relay(mosquitto.port) as relay:
            await relay.cut()
            async with here.unit.online(relay.port):
                for _ in range(30):
                    await here.unit.record_many(chance.randint(1, 40))
                    if chance.random() < 0.4:
                        pictures.append(chance.randbytes(chance.randint(1, 60_000)))
                        await here.unit.record(pictures[-1])
                    await relay.restore(cut_after=chance.randint(1, 30_000))
                    await until(lambda: relay.broken or here.unit.confirmed(), "the cut")
                    await relay.cut()
                await relay.restore()
                await here.unit.settled()
    conserved(here.unit, here.centre, *pictures)


async def test_a_link_that_swallows_everything_is_left_and_nothing_is_missing(
    here: Place, mosquitto: Mosquitto
) -> None:
    """T19: no FIN for longer than the keepalive, readings all the while."""
    with here.centre.receiving(mosquitto.port):
        async with Relay(mosquitto.port) as relay, here.unit.online(relay.port, keepalive=1) as up:
            await until(lambda: up.state.state == "connected", "a connection")
            before = relay.connections
            relay.swallowing = True
            while up.state.state == "connected":
                await here.unit.record()
                await asyncio.sleep(0.1)
            relay.swallowing = False
            await until(lambda: relay.connections > before, "a new connection")
            await here.unit.settled()
    conserved(here.unit, here.centre)


async def test_lost_and_repeated_packets_settle_only_what_the_centre_has(
    here: Place, mosquitto: Mosquitto
) -> None:
    """T20, T22: PUBACKs without delivery, receipts that come twice, thrice or never."""
    chance = random.Random(22)

    def mind(packet: Packet) -> bytes:
        if packet.kind == PUBLISH and packet.channel == "down/receipt":
            return packet.content * chance.choice((0, 1, 1, 2, 3))
        if packet.kind in {PUBACK, PINGRESP} and packet.way is Way.DOWN:
            return packet.content * chance.choice((1, 1, 2))
        return packet.content

    with here.centre.receiving(mosquitto.port):
        async with Relay(mosquitto.port) as relay, here.unit.online(relay.port):
            relay.mind = mind
            for _ in range(6):
                await here.unit.record(chance.randbytes(30_000))
                await here.unit.record_many(20)
                assert set(here.centre.records()) <= set(here.unit.saved)
            await until(
                lambda: len(here.centre.records()) == len(here.unit.saved), "the arrival of all"
            )
            relay.mind = lambda packet: packet.content
            await here.unit.settled()
    conserved(here.unit, here.centre)


async def test_a_receipt_retained_at_the_broker_settles_nothing(
    here: Place, mosquitto: Mosquitto
) -> None:
    """C-8.1: genuine, of this unit, but of nobody knows when."""
    await here.unit.record()
    captured: list[bytes] = []
    with here.centre.receiving(mosquitto.port):
        async with Relay(mosquitto.port) as relay, here.unit.online(relay.port):
            await here.unit.settled()
            captured += [
                each.content[each.content.index(b"QFLR") :]
                for each in relay.down()
                if each.channel == "down/receipt"
            ]
    await here.unit.record()
    intruder = Client(CallbackAPIVersion.VERSION2)
    intruder.connect(HOST, mosquitto.port)
    intruder.loop_start()
    told = intruder.publish(f"{ROOT}/down/receipt", captured[-1], qos=1, retain=True)
    await asyncio.to_thread(told.wait_for_publish, 10)
    intruder.disconnect()
    intruder.loop_stop()
    async with here.unit.online(mosquitto.port) as up:
        await until(lambda: "receipt-retained" in here.unit.alarms(), "the alarm")
        assert up.state.ignored["retained"] >= 1
        assert here.unit.pending() == 1


@pytest.mark.parametrize(
    "options",
    [
        ("max_inflight_messages 1",),
        ("max_inflight_messages 20",),
        ("max_inflight_messages 65535",),
        ("max_packet_size 20000",),
    ],
    ids=["receive maximum 1", "receive maximum 20", "receive maximum 65535", "small packets"],
)
async def test_the_limits_of_a_broker_are_kept_and_everything_arrives(
    options: tuple[str, ...], here: Place, start_mosquitto: Callable[..., Mosquitto]
) -> None:
    """T24, T25: on one connection, without being thrown out once."""
    broker = start_mosquitto(*options)
    await here.unit.record(PICTURE)
    await here.unit.record_many(300)
    with here.centre.receiving(broker.port):
        async with Relay(broker.port) as relay, here.unit.online(relay.port):
            await here.unit.settled()
            assert relay.connections == 1
            if "packet" in options[0]:
                assert max(len(each.content) for each in relay.up()) <= 20_000
            else:
                assert 1 <= most_under_way(relay.seen) <= min(20, int(options[0].split()[1]))
    conserved(here.unit, here.centre, PICTURE)


def most_under_way(packets: list[Packet]) -> int:
    flying = most = 0
    for each in packets:
        flying += each.way is Way.UP and each.kind == PUBLISH
        flying -= each.way is Way.DOWN and each.kind == PUBACK
        most = max(most, flying)
    return most


def noted(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long each link stood in the eyes of the backoff."""
    stood, wait = list[float](), backoff.Backoff.wait

    def noting(self: backoff.Backoff, seconds: float) -> float:
        stood.append(seconds)
        return wait(self, seconds)

    monkeypatch.setattr(backoff.Backoff, "wait", noting)
    return stood


@pytest.mark.parametrize("name", ["_on_connect", "_on_subscribe", "_on_publish", "_on_message"])
async def test_an_exception_in_a_callback_does_not_end_reconnection(
    name: str, here: Place, mosquitto: Mosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    """T34: paho's thread dies of it; the next connection has a thread of its own."""
    whole, raised = getattr(MqttLink, name), list[str]()

    def fail_twice(self: MqttLink, *arguments: Any) -> None:
        if len(raised) < 2:
            raised.append(name)
            raise ZeroDivisionError
        whole(self, *arguments)

    monkeypatch.setattr(MqttLink, name, fail_twice)
    await here.unit.record(PICTURE)
    with here.centre.receiving(mosquitto.port):
        async with here.unit.online(mosquitto.port) as up:
            await here.unit.settled()
            assert up.state.state == "connected"
    assert raised == [name, name]
    conserved(here.unit, here.centre, PICTURE)


async def test_a_unit_that_is_thrown_out_at_once_still_backs_off(
    here: Place, mosquitto: Mosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    """T37: a second unit of the same name: both are kicked, neither hammers the broker."""
    stood = noted(monkeypatch)

    def was_kicked(times: int) -> bool:
        return len(stood) >= times

    with here.centre.receiving(mosquitto.port):
        async with Relay(mosquitto.port) as relay, here.unit.online(relay.port) as up:
            for kicked in range(1, 4):
                await until(lambda: up.state.state == "connected", "a connection")
                twin = Client(CallbackAPIVersion.VERSION2, client_id=UNIT)
                twin.connect(HOST, mosquitto.port)
                twin.loop_start()
                await until(partial(was_kicked, kicked), "being thrown out")
                twin.disconnect()
                twin.loop_stop()
    assert all(each < backoff.STOOD for each in stood)


def ending_soon(
    here: Place, ledger: Ledger, end: LinkLost | None
) -> Callable[[], AbstractAsyncContextManager[Link]]:
    """Links on which the centre answers, and which end right afterwards."""

    @contextlib.asynccontextmanager
    async def connecting() -> AsyncIterator[Link]:
        link = LedgerLink(here.unit, here.centre, ledger)
        asyncio.get_running_loop().call_later(0.2, link.cut, end)
        yield link

    return connecting


async def test_a_name_that_another_has_taken_is_said_and_not_fought_for(
    here: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """T37: MQTT 5 has a word for it: then the backoff goes on as if the link had never stood."""
    stood = noted(monkeypatch)
    with here.centre.ledger() as ledger:
        connecting = ending_soon(here, ledger, TakenOver("taken"))
        async with running(here.unit.uplink(connecting)):
            await until(lambda: len(stood) == 3, "three links")
    assert stood == [0.0] * 3
    assert here.unit.alarms()["unit-name-taken"] >= 3


async def test_links_that_are_taken_without_a_word_are_told_of_after_ten(
    here: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """T37: MQTT 3.1.1 just closes the socket of who was there first; so does an old broker."""
    stood = noted(monkeypatch)
    with here.centre.ledger() as ledger:
        async with running(here.unit.uplink(ending_soon(here, ledger, None))):
            await until(lambda: len(stood) == 9, "nine links")
            assert here.unit.alarms() == {}
            await until(lambda: "links-short" in here.unit.alarms(), "the alarm")
    assert all(0 < each < backoff.STOOD for each in stood)


async def test_only_a_centre_that_answered_makes_a_link_count_as_standing(
    here: Place, mosquitto: Mosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broker that stands for days before a dead centre must not reset the backoff."""
    stood = noted(monkeypatch)
    async with here.unit.online(mosquitto.port):
        await until(lambda: len(stood) == 2, "two attempts")
    assert stood == [0.0, 0.0]


async def test_a_route_that_comes_up_ends_the_waiting(
    here: Place, mosquitto: Mosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backoff.Backoff, "wait", lambda *_: 3600.0)
    came = asyncio.Event()

    async def route() -> None:
        await came.wait()
        came.clear()

    with here.centre.receiving(mosquitto.port):
        async with Relay(mosquitto.port) as relay, here.unit.online(relay.port, route=route) as up:
            await until(lambda: up.state.state == "connected", "a connection")
            await relay.cut()
            await until(lambda: up.state.state == "waiting", "the loss")
            await relay.restore()
            await here.unit.record()
            came.set()
            await here.unit.settled()


async def test_an_uplink_that_is_cancelled_leaves_no_task_and_no_thread(
    here: Place, mosquitto: Mosquitto
) -> None:
    tasks = asyncio.all_tasks()
    async with here.unit.online(mosquitto.port) as up:
        await until(lambda: up.state.state == "greeting", "a hello")
    await until(lambda: not paho_threads(), "the end of paho's thread")
    assert asyncio.all_tasks() == tasks


async def test_the_words_for_people_prefer_a_refusal_to_what_came_with_it() -> None:
    group = ExceptionGroup("", [LinkLost("lost"), ExceptionGroup("", [LinkRefused("refused")])])
    try:
        raise group
    except* LinkLost as lost:
        words = uplink._words(lost)
    assert words == "refused"
