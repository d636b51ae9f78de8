"""What a connection leaves behind: no thread, no task, no descriptor, no heap, no torn packet."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import random
import struct
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sync import mqtt, wire
from sync.mqtt import Broker, Will, connect
from sync.outbox import LinkLost

from .fake_broker import FakeBroker
from .relay import PUBLISH, Packet
from .rig import HOST, ROOT, UNIT, paho_threads, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from typing import Any

BIRTH, WILL = Will("up/state", b"online"), Will("up/state", b"offline")


@pytest.fixture
async def broker() -> AsyncIterator[FakeBroker]:
    async with FakeBroker() as fake:
        yield fake


def at(port: int) -> Broker:
    return Broker(HOST, port, UNIT, ROOT)


async def attempt(place: Broker) -> None:
    """Connect and leave."""
    async with connect(place, BIRTH, WILL):
        pass


async def test_leaving_while_the_connection_is_being_made_leaves_no_thread(
    broker: FakeBroker,
) -> None:
    broker.answer = lambda _: b""
    before = asyncio.all_tasks()
    task = asyncio.create_task(attempt(at(broker.port)))
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
    task = asyncio.create_task(attempt(at(broker.port)))
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
    """T13, T36: also while the collector of cycles is off: nothing waits for it."""
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
