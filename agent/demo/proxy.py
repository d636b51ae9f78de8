"""The link between truck and broker, as a wire that can be cut: a TCP relay on loopback."""

from __future__ import annotations

import asyncio
import contextlib
from math import inf
from typing import Self

LOOPBACK = "127.0.0.1"
_PIECE = 16 << 10


class Link:
    """Relays to a port until it is cut. `rate` bounds each direction, in bytes a second."""

    def __init__(self, broker: int, rate: float | None = None) -> None:
        self.port = 0
        self.broken = asyncio.Event()
        self._left: float = inf
        self._broker = broker
        self._rate = rate
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Self:
        await self.restore()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.cut()

    async def restore(self, cut_after: float = inf) -> None:
        """Relay again, on the same port; break by itself after so many bytes."""
        self._left = cut_after
        self.broken.clear()
        self._server = await asyncio.start_server(self._relay, LOOPBACK, self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def cut(self) -> None:
        """Break every connection and refuse new ones."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in list(self._writers):
            writer.transport.abort()
        self.broken.set()
        await asyncio.sleep(0)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            with contextlib.suppress(OSError):
                far_reader, far_writer = await asyncio.open_connection(LOOPBACK, self._broker)
                self._writers.add(far_writer)
                try:
                    await asyncio.gather(
                        self._pump(reader, far_writer), self._pump(far_reader, writer)
                    )
                finally:
                    self._close(far_writer)
        finally:
            self._close(writer)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while piece := await reader.read(_PIECE):
                if self._rate:
                    await asyncio.sleep(len(piece) / self._rate)
                self._left -= len(piece)
                if self._left < 0:
                    await self.cut()
                    return
                writer.write(piece)
                await writer.drain()
        with contextlib.suppress(OSError):
            writer.close()

    def _close(self, writer: asyncio.StreamWriter) -> None:
        self._writers.discard(writer)
        writer.transport.abort()
