"""The MQTT link against a broker by hand: every refusal, every silence, every limit."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from functools import partial
from typing import TYPE_CHECKING

import pytest
from paho.mqtt.enums import MQTTProtocolVersion

from sync import mqtt
from sync.mqtt import Broker, MqttLink, Will, connect
from sync.outbox import LinkLost, LinkRefused, TakenOver

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

    def holds(count: int) -> bool:
        return len(held) >= count

    broker.answer = hold
    async with connect(at(broker.port), BIRTH, WILL) as link:
        assert link.room == room
        sending = [asyncio.ensure_future(link.publish("up/chunk", b"x")) for _ in range(10)]
        for done in range(10):
            fits = min(room, 10 - done)
            await until(partial(holds, fits), "what fits")
            await asyncio.sleep(0.02)
            assert len(held) == fits
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

        def hand(*arguments: object, **_: object) -> None:
            handed.append(arguments)

        # What paho would be handed is kept here instead, and answered with nothing.
        link._wire.publish = hand  # type: ignore[method-assign,assignment]
        for _ in range(3):
            with pytest.raises(LinkLost, match="lost"):
                await link.publish("up/chunk", b"x")
        assert handed == []
        with pytest.raises(LinkLost, match="lost"):
            await link.receive()


async def test_a_place_that_another_has_taken_is_told_apart(broker: FakeBroker) -> None:
    """MQTT 5, 3.14.2.1: reason 0x8E; another reason is a lost link like any."""
    for code, kind in ((0x8E, TakenOver), (0x8B, LinkLost)):
        async with connect(at(broker.port), BIRTH, WILL) as link:
            broker.writers[-1].write(bytes([0xE0, 2, code, 0]))
            with pytest.raises(LinkLost) as caught:
                await link.receive()
        assert type(caught.value) is kind


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
