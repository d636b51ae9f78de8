"""A link that sees every MQTT packet: it counts, delays, drops, swallows, and breaks.

`mind` is asked of each packet, in order, and gives what goes on in its stead.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from dataclasses import dataclass
from enum import Enum
from math import inf
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable

LOOPBACK = "127.0.0.1"
_SEGMENT = 1460
CONNECT, CONNACK, PUBLISH, PUBACK, PINGREQ, PINGRESP = 1, 2, 3, 4, 12, 13


class Way(Enum):
    """Which way a packet goes."""

    UP = "unit to broker"
    DOWN = "broker to unit"


@dataclass(frozen=True)
class Packet:
    """One MQTT packet; `topic` is empty but for PUBLISH."""

    way: Way
    kind: int
    topic: str
    content: bytes

    @property
    def channel(self) -> str:
        """The topic below the unit's root."""
        return "/".join(self.topic.split("/")[3:])


class Relay:
    """Relays to a port until it is cut. Use as `async with`; it is cut at the end."""

    def __init__(
        self, broker: int, latency: float = 0.0, rate: float = inf, loss: float = 0.0
    ) -> None:
        """`latency` in seconds one way, `rate` in bytes a second, `loss` of 1460-byte segments."""
        self.port = 0
        self.seen: list[Packet] = []
        self.connections = 0
        self.swallowing = False
        self.mind: Callable[[Packet], bytes] = lambda packet: packet.content
        self._broker = broker
        self._latency = latency
        self._rate = rate
        self._loss = loss
        self._chance = random.Random(38)
        self.taken = {Way.UP: 0, Way.DOWN: 0}
        self.forwarded = {Way.UP: 0, Way.DOWN: 0}
        self._left: float = inf
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Self:
        await self.restore()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.cut()

    @property
    def broken(self) -> bool:
        return self._server is None

    def up(self, kind: int = PUBLISH) -> list[Packet]:
        return [each for each in self.seen if each.way is Way.UP and each.kind == kind]

    def down(self, kind: int = PUBLISH) -> list[Packet]:
        return [each for each in self.seen if each.way is Way.DOWN and each.kind == kind]

    async def restore(self, cut_after: float = inf) -> None:
        """Relay again on the same port; break by itself after so many bytes."""
        self._left, self.swallowing = cut_after, False
        self._server = await asyncio.start_server(self._accept, LOOPBACK, self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def cut(self) -> None:
        """Break every connection and refuse new ones."""
        self._break()
        tasks = {each for each in self._tasks if each is not asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _break(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in self._writers:
            writer.transport.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        self._writers.add(writer)
        self.connections += 1
        try:
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await self._relay(reader, writer)
        finally:
            self._tasks.discard(task)
            self._drop(writer)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(LOOPBACK, self._broker)
        self._writers.add(far_writer)
        pumps = [
            asyncio.ensure_future(self._pump(Way.UP, reader, far_writer)),
            asyncio.ensure_future(self._pump(Way.DOWN, far_reader, writer)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in pumps:
                each.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            self._drop(far_writer)

    async def _pump(
        self, way: Way, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        late: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        sender = asyncio.ensure_future(self._send(way, late, writer))
        try:
            with contextlib.suppress(OSError):
                await self._read(way, reader, late)
            sent = asyncio.ensure_future(late.join())
            try:
                await asyncio.wait({sent, sender}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                sent.cancel()
            if self._left < 0:
                self._break()
        finally:
            sender.cancel()

    async def _read(
        self, way: Way, reader: asyncio.StreamReader, late: asyncio.Queue[tuple[float, bytes]]
    ) -> None:
        """Read until the end, or until the cut: then the last packet goes on torn."""
        buffer, clock = bytearray(), asyncio.get_running_loop().time
        while piece := await reader.read(1 << 14):
            self._left -= len(piece)
            buffer += piece if self._left >= 0 else piece[: int(self._left)]
            while not self.swallowing and (packet := take(way, buffer)):
                self.seen.append(packet)
                self.taken[way] += len(packet.content)
                late.put_nowait((clock() + self._latency, self.mind(packet)))
            if self._left < 0:
                late.put_nowait((clock(), bytes(buffer)))
                return

    def _stall(self, size: int) -> float:
        """Seconds for which TCP waits for segments that were lost: a round trip each."""
        segments = -(-size // _SEGMENT) if self._loss else 0
        lost = sum(self._chance.random() < self._loss for _ in range(segments))
        return lost * 2 * self._latency

    async def _send(
        self, way: Way, late: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter
    ) -> None:
        clock = asyncio.get_running_loop().time
        with contextlib.suppress(OSError):
            while True:
                due, content = await late.get()
                size = len(content)
                await asyncio.sleep(due - clock())
                await asyncio.sleep(size / self._rate + self._stall(size))
                writer.write(content)
                self.forwarded[way] += size
                await writer.drain()
                late.task_done()

    def _drop(self, writer: asyncio.StreamWriter) -> None:
        self._writers.discard(writer)
        writer.transport.abort()


def take(way: Way, buffer: bytearray) -> Packet | None:
    """Cut the first whole packet off a stream (MQTT 5, 2.1: a variable byte integer)."""
    length, shift, at = 0, 0, 1
    while True:
        if at >= len(buffer):
            return None
        length |= (buffer[at] & 0x7F) << shift
        shift += 7
        at += 1
        if not buffer[at - 1] & 0x80:
            break
    if len(buffer) < at + length:
        return None
    content = bytes(buffer[: at + length])
    del buffer[: at + length]
    kind, topic = content[0] >> 4, ""
    if kind == PUBLISH:
        size = int.from_bytes(content[at : at + 2])
        topic = content[at + 2 : at + 2 + size].decode()
    return Packet(way, kind, topic, content)


def payload_at(publish: bytes, *, has_properties: bool) -> int:
    """Where the payload of a PUBLISH begins; MQTT 5 has properties before it (MQTT 5, 3.3)."""
    at = 1 + _length_of_varint(publish[1:])
    at += 2 + int.from_bytes(publish[at : at + 2])
    at += 2 if publish[0] & 0x06 else 0
    if has_properties:
        size = publish[at]  # ours are short: one byte holds their length
        at += 1 + size
    return at


def _length_of_varint(content: bytes) -> int:
    return next(at + 1 for at, byte in enumerate(content) if not byte & 0x80)
