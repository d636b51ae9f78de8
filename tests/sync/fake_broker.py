"""A broker by hand: it answers each packet as a test says, or not at all. Loopback only."""

from __future__ import annotations

import asyncio
import contextlib
import struct
from typing import TYPE_CHECKING, Self

from .relay import CONNECT, PINGREQ, PUBLISH, Packet, Way, take

if TYPE_CHECKING:
    from collections.abc import Callable

SUBSCRIBE, DISCONNECT = 8, 14
PINGRESP = b"\xd0\x00"
V5, V311 = 5, 4


def version(connect: Packet) -> int:
    """The protocol level of a CONNECT (MQTT 5, 3.1.2.2)."""
    return connect.content[connect.content.index(b"MQTT") + 4]


def connack(code: int = 0, properties: bytes = b"", *, v5: bool = True) -> bytes:
    body = bytes([0, code]) + (bytes([len(properties)]) + properties if v5 else b"")
    return bytes([0x20, len(body)]) + body


def puback(publish: Packet, code: int = 0, *, v5: bool = True) -> bytes:
    at = 2
    while publish.content[at - 1] & 0x80:
        at += 1
    size = struct.unpack_from(">H", publish.content, at)[0]
    mid = publish.content[at + 2 + size : at + 4 + size]
    return b"\x40\x03" + mid + bytes([code]) if v5 and code else b"\x40\x02" + mid


def suback(subscribe: Packet, code: int = 1, *, v5: bool = True) -> bytes:
    mid = subscribe.content[2:4]
    body = mid + (b"\x00" if v5 else b"") + bytes([code])
    return bytes([0x90, len(body)]) + body


class FakeBroker:
    """`answer` gives the bytes for a packet, None to close the connection. Use `async with`."""

    def __init__(self) -> None:
        self.port = 0
        self.heard: list[Packet] = []
        self.answer: Callable[[Packet], bytes | None] = self.politely
        self.connack = connack()
        self.writers: list[asyncio.StreamWriter] = []
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def politely(self, packet: Packet) -> bytes:
        """As a broker of the version that was asked for."""
        v5 = version(next(each for each in reversed(self.heard) if each.kind == CONNECT)) == V5
        if packet.kind == CONNECT:
            return self.connack if v5 else connack(v5=False)
        if packet.kind == SUBSCRIBE:
            return suback(packet, v5=v5)
        if packet.kind == PUBLISH:
            return puback(packet, v5=v5)
        return PINGRESP if packet.kind == PINGREQ else b""

    def connects(self) -> list[int]:
        """The versions in which it was spoken to."""
        return [version(each) for each in self.heard if each.kind == CONNECT]

    def published(self) -> list[Packet]:
        return [each for each in self.heard if each.kind == PUBLISH]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        self.writers.append(writer)
        buffer = bytearray()
        try:
            with contextlib.suppress(OSError, asyncio.CancelledError):
                while piece := await reader.read(1 << 16):
                    buffer += piece
                    while packet := take(Way.UP, buffer):
                        self.heard.append(packet)
                        answer = self.answer(packet)
                        if answer is None:
                            return
                        writer.write(answer)
                        await writer.drain()
        finally:
            self._tasks.discard(task)
            self.writers.remove(writer)
            writer.transport.abort()
