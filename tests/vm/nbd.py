"""A disk with a volatile write cache, which a machine reaches over NBD; its power can be cut.

What was written since the last flush is in memory only. A cut keeps of each such sector a random
one of the contents that it had, or the one on the platter: the writes are torn, and reordered.
A disk that lies says that it has flushed, and has not. Facts: NBD `doc/proto.md`.
"""

from __future__ import annotations

import asyncio
import errno
import os
import struct
import threading
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from pathlib import Path

SECTOR = 512
_MAGIC, _OPTION, _REPLY = 0x4E42444D41474943, 0x49484156454F5054, 0x0003E889045565A9
_SIMPLE_REPLY = 0x67446698
_FIXED_NEWSTYLE, _NO_ZEROES = 1, 2
_EXPORT_NAME, _INFO, _GO = 1, 6, 7
_ACK, _INFO_REPLY, _UNSUPPORTED = 1, 3, 0x80000001
_FLAGS = 0b1101  # there are flags, it knows FLUSH, it knows FUA
_READ, _WRITE, _DISCONNECT, _FLUSH = range(4)
_FUA = 1
_LIMIT = 1 << 26


@dataclass
class Platter:
    """What is durable (`file`), and what each sector has held since the last flush, in order."""

    file: int
    lies: bool = False
    unflushed: dict[int, list[bytes]] = field(default_factory=dict)
    flushes: int = 0

    def read(self, offset: int, length: int) -> bytes:
        """What the machine sees: whole sectors."""
        found = bytearray(os.pread(self.file, length, offset))
        first = offset // SECTOR
        for sector in range(first, first + length // SECTOR):
            if held := self.unflushed.get(sector):
                at = (sector - first) * SECTOR
                found[at : at + SECTOR] = held[-1]
        return bytes(found)

    def write(self, offset: int, content: bytes) -> None:
        """Take whole sectors into the cache."""
        first = offset // SECTOR
        for number in range(len(content) // SECTOR):
            piece = content[number * SECTOR : (number + 1) * SECTOR]
            self.unflushed.setdefault(first + number, []).append(piece)

    def flush(self) -> None:
        """Make everything durable, or say so."""
        self.flushes += 1
        if self.lies:
            return
        for sector, held in self.unflushed.items():
            os.pwrite(self.file, held[-1], sector * SECTOR)
        self.unflushed.clear()

    def cut(self, chance: Random) -> tuple[int, int]:
        """Take the power away; how many sectors were unflushed, and how many were kept."""
        kept = 0
        for sector, held in self.unflushed.items():
            version = chance.randint(0, len(held))
            if version:
                os.pwrite(self.file, held[version - 1], sector * SECTOR)
                kept += 1
        lost = len(self.unflushed)
        self.unflushed.clear()
        return lost, kept


class VolatileDisk:
    """Serves an image at a Unix socket, to one machine after the other, on a thread of its own."""

    def __init__(self, image: Path, socket: Path, *, lies: bool = False) -> None:
        self.drive = f"file=nbd+unix:///?socket={socket},format=raw"
        self._file = os.open(image, os.O_RDWR)
        self._size = os.fstat(self._file).st_size
        self._socket = socket
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="disk", daemon=True)
        self.platter = Platter(self._file, lies)
        self.dark = threading.Event()
        self._restored = asyncio.Event()
        self._left: int | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        serving = asyncio.start_unix_server(self._serve, str(self._socket), limit=_LIMIT)
        self._server = asyncio.run_coroutine_threadsafe(serving, self._loop).result(30)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._server.close)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(30)
        self._loop.close()
        os.close(self._file)

    def darken(self, after: int) -> None:
        """Answer nothing any more after so many further writes; `dark` says when that is."""
        self._left = after

    def cut(self, seed: int) -> tuple[int, int]:
        """See `Platter.cut`; whoever was connected has to be dead by then. It answers again."""

        async def on_loop() -> tuple[int, int]:
            self._left = None
            self.dark.clear()
            self._restored.set()
            self._restored = asyncio.Event()
            return self.platter.cut(Random(seed))

        return asyncio.run_coroutine_threadsafe(on_loop(), self._loop).result(60)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._agree(reader, writer)
            while await self._answer(reader, writer):
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the machine was killed, as it is to be
        finally:
            writer.close()

    async def _agree(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """The handshake: there is one export, whatever its name."""
        writer.write(struct.pack(">QQH", _MAGIC, _OPTION, _FIXED_NEWSTYLE | _NO_ZEROES))
        await reader.readexactly(4)
        while True:
            _, option, length = struct.unpack(">QII", await reader.readexactly(16))
            await reader.readexactly(length)
            if option == _EXPORT_NAME:
                writer.write(struct.pack(">QH", self._size, _FLAGS))
                return
            if option not in {_INFO, _GO}:
                writer.write(struct.pack(">QIII", _REPLY, option, _UNSUPPORTED, 0))
                continue
            export = struct.pack(">HQH", 0, self._size, _FLAGS)
            block = struct.pack(">HIII", 3, SECTOR, 4096, 1 << 25)
            for info in (export, block):
                writer.write(struct.pack(">QIII", _REPLY, option, _INFO_REPLY, len(info)) + info)
            writer.write(struct.pack(">QIII", _REPLY, option, _ACK, 0))
            if option == _GO:
                return

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Do one request; whether there may be another."""
        header = await reader.readexactly(28)
        if self.dark.is_set():
            await self._restored.wait()  # whoever asked is dead by then
            return False
        _, flags, kind, handle, offset, length = struct.unpack(">IHHQQI", header)
        error, found = 0, b""
        if kind == _READ:
            found = self.platter.read(offset, length)
        elif kind == _WRITE:
            self.platter.write(offset, await reader.readexactly(length))
            if self._goes_dark():
                return True
            if flags & _FUA:
                self.platter.flush()
        elif kind == _FLUSH:
            self.platter.flush()
        elif kind == _DISCONNECT:
            return False
        else:
            error = errno.EINVAL
        writer.write(struct.pack(">IIQ", _SIMPLE_REPLY, error, handle) + found)
        return True

    def _goes_dark(self) -> bool:
        """Whether the write that was just taken is the last one."""
        if self._left is not None:
            self._left -= 1
            if self._left <= 0:
                self.dark.set()
        return self.dark.is_set()
