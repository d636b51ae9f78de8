"""The MQTT link against a broker by hand: every refusal, every silence, every limit."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import random
import socket
import struct
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from paho.mqtt.enums import MQTTProtocolVersion

from sync import mqtt, wire
from sync.mqtt import Broker, MqttLink, Will, connect
from sync.outbox import LinkLost, LinkRefused

from .fake_broker import (
    DISCONNECT,
    SUBSCRIBE,
    V5,
    V311,
    FakeBroker,
    connack,
    puback,
    suback,
    version,
)
from .relay import CONNECT, PINGREQ, PUBLISH, Packet
from .rig import HOST, ROOT, UNIT, paho_threads, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from typing import Any

BIRTH, WILL = Will("up/state", b"online"), Will("up/state", b"offline")
RECEIVE_MAXIMUM, MAXIMUM_PACKET_SIZE = b"\x21", b"\x27"


@pytest.fixture
async def broker() -> AsyncIterator[FakeBroker]:
    async with FakeBroker() as fake:
        yield fake


def at(port: int, keepalive: int = 30) -> Broker:
    return Broker(HOST, port, UNIT, ROOT, keepalive=keepalive)


async def refusal(place: Broker) -> LinkLost:
    """Try once; give how it was refused."""
    with pytest.raises(LinkLost) as caught:
        async with connect(place, BIRTH, WILL):
            pass
    return caught.value


async def test_birth_will_and_farewell_are_retained_and_of_one_channel(broker: FakeBroker) -> None:
    """C-3.5: who leaves says so; the last will is for who can't."""
    async with connect(at(broker.port), BIRTH, WILL):
        assert [each.channel for each in broker.published()] == ["up/state"]
    await until(lambda: broker.heard[-1].kind == DISCONNECT, "the goodbye")
    said = [each.content for each in broker.published()]
    assert [each.endswith(word) for each, word in zip(said, (b"online", b"offline"), strict=True)]
    assert all(each[0] == 0x33 for each in said)  # PUBLISH, QoS 1, retained
    hello = next(each for each in broker.heard if each.kind == CONNECT).content
    assert f"{ROOT}/up/state".encode() in hello
    assert hello.endswith(b"offline")


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (0x87, "the broker refuses this unit: Not authorized"),
        (0x86, "the broker refuses this unit: Bad user name or password"),
        (0x85, "the broker refuses this unit: Client identifier not valid"),
        (0x88, "the broker refuses this unit: Server unavailable"),
        (0x8A, "the broker refuses this unit: Banned"),
        (0x97, "the broker refuses this unit: Quota exceeded"),
    ],
)
async def test_a_refused_connection_is_told_in_words(
    code: int, words: str, broker: FakeBroker
) -> None:
    broker.connack = connack(code)
    ended = await refusal(at(broker.port))
    assert isinstance(ended, LinkRefused)
    assert str(ended) == words


async def test_a_refused_subscription_and_a_refused_message_are_told_in_words(
    broker: FakeBroker,
) -> None:
    broker.answer = lambda packet: (
        suback(packet, 0x87) if packet.kind == SUBSCRIBE else broker.politely(packet)
    )
    ended = await refusal(at(broker.port))
    assert isinstance(ended, LinkRefused)
    assert "subscription" in str(ended)
    broker.answer = lambda packet: (
        puback(packet, 0x87) if packet.kind == PUBLISH else broker.politely(packet)
    )
    ended = await refusal(at(broker.port))
    assert isinstance(ended, LinkRefused)
    assert "access list" in str(ended)


async def test_a_name_that_is_not_found_and_a_closed_port_are_told_apart() -> None:
    nowhere = Broker("broker.invalid", 1883, UNIT, ROOT)
    assert str(await refusal(nowhere)).startswith("the name broker.invalid is not found")
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        ended = await refusal(at(taken.getsockname()[1]))
    assert str(ended) == "the broker can't be reached: Connection refused"


@pytest.mark.parametrize("how", ["in words", "closing", "silent"])
async def test_a_broker_that_speaks_only_311_is_spoken_to_in_311(
    how: str, broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C-1.3: whether it refuses MQTT 5 in words, by closing the socket, or says nothing."""
    monkeypatch.setattr(mqtt, "CONNECT_TIMEOUT", 0.5)
    refusing = {"in words": connack(1, v5=False), "closing": None, "silent": b""}[how]
    broker.answer = lambda packet: (
        refusing if packet.kind == CONNECT and version(packet) == V5 else broker.politely(packet)
    )
    place = at(broker.port)
    await refusal(place)
    async with connect(place, BIRTH, WILL) as link:
        await link.publish("up/hello", b"x")
    assert broker.connects() == [V5, V311]


async def test_a_broker_of_today_that_was_cut_off_once_is_spoken_to_in_5_again(
    broker: FakeBroker,
) -> None:
    """Else a flapping link would cost the limits that only MQTT 5 tells."""
    silent = [True]
    broker.answer = lambda packet: None if silent else broker.politely(packet)
    place = at(broker.port)
    await refusal(place)
    silent.clear()
    for _ in range(2):
        async with connect(place, BIRTH, WILL):
            pass
    assert broker.connects() == [V5, V311, V5]


async def test_a_broker_that_refused_5_in_words_is_not_asked_again(broker: FakeBroker) -> None:
    broker.answer = lambda packet: (
        connack(1, v5=False)
        if packet.kind == CONNECT and version(packet) == V5
        else broker.politely(packet)
    )
    place = at(broker.port)
    await refusal(place)
    for _ in range(2):
        async with connect(place, BIRTH, WILL):
            pass
    assert broker.connects() == [V5, V311, V311]
    assert place.version is MQTTProtocolVersion.MQTTv311


async def test_a_broker_that_never_acknowledges_is_given_up_though_it_lives(
    broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mqtt, "PUBACK_TIMEOUT", 0.5)
    broker.answer = lambda packet: b"" if packet.kind == PUBLISH else broker.politely(packet)
    assert str(await refusal(at(broker.port))) == "the broker has stopped acknowledging"


@pytest.mark.parametrize("room", [1, 3])
async def test_no_more_is_under_way_than_the_broker_receives_at_once(
    room: int, broker: FakeBroker
) -> None:
    """T25: counted on the wire, in order of arrival."""
    broker.connack = connack(properties=RECEIVE_MAXIMUM + struct.pack(">H", room))
    held: list[Packet] = []
    highest = 0

    def hold(packet: Packet) -> bytes:
        nonlocal highest
        if packet.kind != PUBLISH or packet.channel == "up/state":
            return broker.politely(packet)
        held.append(packet)
        highest = max(highest, len(held))
        return b""

    broker.answer = hold
    async with connect(at(broker.port), BIRTH, WILL) as link:
        assert link.room == room
        sending = [asyncio.ensure_future(link.publish("up/chunk", b"x")) for _ in range(10)]
        for done in range(10):
            await until(lambda done=done: len(held) >= min(room, 10 - done), "what fits")
            await asyncio.sleep(0.02)
            assert len(held) == min(room, 10 - done)
            # The link hears the PUBACK as from the wire: through paho's own thread.
            broker.writers[-1].write(puback(held.pop(0)))
        await asyncio.gather(*sending)
    assert highest == room


async def test_nothing_larger_than_the_brokers_packets_is_published(broker: FakeBroker) -> None:
    """T24: it would close the connection, and so for ever."""
    broker.connack = connack(properties=MAXIMUM_PACKET_SIZE + struct.pack(">I", 2000))
    async with connect(at(broker.port), BIRTH, WILL) as link:
        await link.publish("up/chunk", bytes(link.packet_max))
        with pytest.raises(LinkRefused, match="at most"):
            await link.publish("up/chunk", bytes(link.packet_max + 1))
    assert max(len(each.content) for each in broker.heard) <= 2000


async def test_nothing_is_handed_to_paho_once_the_link_is_gone(broker: FakeBroker) -> None:
    """T40: what paho queues while disconnected would be sent behind our back, or be lost."""
    async with connect(at(broker.port), BIRTH, WILL) as link:
        broker.answer = lambda packet: None if packet.kind == PUBLISH else b""
        with pytest.raises(LinkLost):
            await link.publish("up/hello", b"last words")
        handed: list[object] = []
        link._wire.publish = lambda *args, **_: handed.append(args)  # type: ignore[method-assign, assignment]
        for _ in range(3):
            with pytest.raises(LinkLost, match="lost"):
                await link.publish("up/chunk", b"x")
        assert handed == []
        with pytest.raises(LinkLost, match="lost"):
            await link.receive()


async def test_a_broker_that_swallows_everything_is_left_within_two_keepalives(
    broker: FakeBroker,
) -> None:
    """T19: no FIN, no RST; the PINGRESP that does not come is the only sign."""
    async with connect(at(broker.port, keepalive=1), BIRTH, WILL) as link:
        broker.answer = lambda _: b""
        with pytest.raises(LinkLost, match="Keep alive timeout"):
            await link.receive()
    assert sum(each.kind == PINGREQ for each in broker.heard) == 1


@pytest.mark.parametrize(
    "noise",
    [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x20\x03\x00\x00\x7f", b"\x30\xff\xff\xff\xff\x7f"],
)
async def test_what_is_no_broker_ends_the_attempt_and_its_thread(
    noise: bytes, broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mqtt, "CONNECT_TIMEOUT", 1.0)
    broker.answer = lambda _: noise
    await refusal(at(broker.port))
    await until(lambda: not paho_threads(), "the end of paho's thread")


CALLBACKS = ("_on_connect", "_on_subscribe", "_on_publish", "_on_message", "_on_disconnect")


async def speak(broker: FakeBroker, answer: Callable[[Packet], bytes | None]) -> None:
    """Say something and listen, until the link is lost."""
    async with connect(at(broker.port), BIRTH, WILL) as link:
        broker.answer = answer
        sending = asyncio.ensure_future(link.publish("up/hello", b"x"))
        try:
            await link.receive()
        finally:
            sending.cancel()
            with contextlib.suppress(asyncio.CancelledError, LinkLost):
                await sending


@pytest.mark.parametrize("name", CALLBACKS)
async def test_an_exception_in_a_callback_ends_the_link_and_nothing_else(
    name: str, broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """T34: paho's thread dies of it; whoever waits hears of it; the next link is a new one."""
    whole = getattr(MqttLink, name)

    def fail(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(MqttLink, name, fail)
    down = b"\x30\x10\x00\x0d" + b"qafila/v1/x/d" + b"\x00"
    with pytest.raises(LinkLost):
        await speak(
            broker,
            lambda packet: None if name == "_on_disconnect" else down + broker.politely(packet),
        )
    monkeypatch.setattr(MqttLink, name, whole)
    broker.answer = broker.politely
    async with connect(at(broker.port), BIRTH, WILL) as link:
        await link.publish("up/hello", b"x")


async def test_leaving_while_the_connection_is_being_made_leaves_no_thread(
    broker: FakeBroker,
) -> None:
    broker.answer = lambda _: b""
    before = asyncio.all_tasks()
    place = at(broker.port)

    async def attempt() -> None:
        async with connect(place, BIRTH, WILL):
            pass

    task = asyncio.create_task(attempt())
    await until(lambda: broker.heard, "a CONNECT")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until(lambda: not paho_threads(), "the end of paho's thread")
    assert asyncio.all_tasks() == before


async def test_a_thread_that_could_not_be_interrupted_ends_by_itself(
    broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DNS or a TLS handshake can't be interrupted: what stands too late is not taken up."""
    monkeypatch.setattr(mqtt, "_GOODBYE", 0.1)
    slow = threading.Event()
    connecting = wire.Wire.connect

    def late(self: wire.Wire, *args: Any) -> Any:
        slow.wait(30)
        return connecting(self, *args)

    monkeypatch.setattr(wire.Wire, "connect", late)
    task = asyncio.create_task(refusal(at(broker.port)))
    await until(paho_threads, "paho's thread")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    slow.set()
    await until(lambda: not paho_threads(), "the end of paho's thread")
    assert broker.published() == []


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_two_hundred_connections_leave_threads_and_descriptors_as_they_were(
    broker: FakeBroker,
) -> None:
    """T36: also while the collector of cycles is off: nothing waits for it."""
    place = at(broker.port)

    async def cycle(number: int) -> None:
        broker.answer = (
            broker.politely
            if number % 2
            else lambda packet: None if packet.kind == PUBLISH else broker.politely(packet)
        )
        with contextlib.suppress(LinkLost):
            async with connect(place, BIRTH, WILL) as link:
                await link.publish("up/hello", b"x")

    async def still() -> tuple[int, int, int]:
        await until(lambda: not paho_threads(), "the end of paho's threads")
        await until(lambda: not broker.writers, "the end of every connection")
        return threading.active_count(), descriptors(), len(asyncio.all_tasks())

    await cycle(0)
    before = await still()
    gc.disable()
    try:
        for number in range(200):
            await cycle(number)
        assert await still() == before
    finally:
        gc.enable()


async def test_a_flood_from_the_broker_fills_no_memory(broker: FakeBroker) -> None:
    """The newest messages are kept; a receipt that was dropped is asked for by time-out."""
    flood = 3 * mqtt._INBOUND_MAX
    topic = f"{ROOT}/down/receipt".encode()

    def message(number: int, size: int = 0) -> bytes:
        body = struct.pack(">H", len(topic)) + topic + b"\x00" + b"%06d" % number + bytes(size)
        length, head = len(body), bytearray([0x30])
        while True:
            head.append((length & 0x7F) | (0x80 if length > 0x7F else 0))
            length >>= 7
            if not length:
                return bytes(head) + body

    def flooding(packet: Packet) -> bytes:
        more = b"".join(map(message, range(flood))) if packet.kind == PUBLISH else b""
        huge = message(999_999, 1 << 20) if packet.kind == PUBLISH else b""
        return huge + more + broker.politely(packet)

    broker.answer = flooding
    async with connect(at(broker.port), BIRTH, WILL) as link:
        assert len(link._inbound) <= mqtt._INBOUND_MAX
        got = [await link.receive() for _ in range(mqtt._INBOUND_MAX)]
    assert [each.payload for each in got][-1] == b"%06d" % (flood - 1)
    assert max(len(each.payload) for each in got) == 6


async def test_only_pahos_own_thread_writes_to_the_socket(
    broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two writers would mix their packets where a socket takes a part of one and blocks."""
    payloads = [random.Random(n).randbytes(70_000) for n in range(60)]
    writers: set[int] = set()
    sending = wire.Wire._sock_send

    def noted(self: wire.Wire, content: Any) -> int:
        writers.add(threading.get_ident())
        return sending(self, content)

    monkeypatch.setattr(wire.Wire, "_sock_send", noted)
    async with connect(at(broker.port), BIRTH, WILL) as link:
        await asyncio.gather(*(link.publish("up/chunk", each) for each in payloads))
    assert len(writers) == 1
    assert threading.get_ident() not in writers
    got = [each.content[-70_000:] for each in broker.published() if each.channel == "up/chunk"]
    assert got == payloads
