"""A serial port as an asyncio link. The only module that imports pyserial."""

from __future__ import annotations

import asyncio
import errno
import os
import termios
from contextlib import suppress

from serial import Serial

from drivers.errors import Unavailable

_READ = 4096
_HELD = 256 * 1024
_FULL_S = 0.02
_GONE = "the device was unplugged"
_CLOSED = "the port was closed"
_NOT_OPENED: dict[int | None, str] = {
    errno.ENOENT: "nothing is plugged in here",
    errno.ENODEV: "nothing is plugged in here",
    errno.ENXIO: "nothing is plugged in here",
    errno.EIO: _GONE,
    errno.EACCES: "this program has no right to open it",
    errno.EPERM: "this program has no right to open it",
    errno.EBUSY: "another program has it open",
    errno.EWOULDBLOCK: "another program has it open",
}


class SerialLink:
    """An open port. Bytes are taken from the kernel as they come, at most `_HELD` ahead.

    Beyond that the kernel's buffer fills and the device is held up or drops by its own rules:
    memory stays bounded. DTR and RTS are both raised while the port is open, as the kernel does
    by itself: the HealthyPi 6 sends only to a host that raises DTR, and boards that reset
    themselves by modem lines do so where the two differ. A port without modem lines (a
    pseudo-terminal) is opened all the same.
    """

    def __init__(self, port: Serial, name: str) -> None:
        self.name = name
        self._port = port
        self._loop = asyncio.get_running_loop()
        self._held = bytearray()
        self._stirred = asyncio.Event()
        self._ended: str | None = None
        self._listening = False
        self._listen()

    @classmethod
    def open(cls, path: str, baud: int) -> SerialLink:
        """Open a port for this process alone; call it from a running loop.

        Raises `Unavailable` where it is absent, forbidden, or open elsewhere.
        """
        try:
            port = Serial(path, baud, timeout=0, exclusive=True)
        except (OSError, termios.error) as error:
            reason = _NOT_OPENED.get(getattr(error, "errno", None), "it can't be opened")
            raise Unavailable(path, reason) from error
        return cls(port, path)

    async def read(self) -> bytes:
        """Wait for bytes and give all there are, in order.

        Raises `Unavailable` once the port is gone and everything it gave was read. Cancelling it
        loses nothing.
        """
        while not self._held:
            if self._ended is not None:
                raise Unavailable(self.name, self._ended)
            self._stirred.clear()
            await self._stirred.wait()
        taken = bytes(self._held)
        self._held.clear()
        if self._ended is None:
            self._listen()
        return taken

    async def write(self, content: bytes) -> None:
        """Say all of `content` to the device, waiting while it takes no more.

        Raises `Unavailable` once the port is gone. Cancelling it may leave the rest unsaid.
        """
        rest = memoryview(content)
        while rest:
            if self._ended is not None:
                raise Unavailable(self.name, self._ended)
            try:
                rest = rest[os.write(self._port.fileno(), rest) :]
            except BlockingIOError:
                await asyncio.sleep(_FULL_S)
            except OSError:
                self._end(_GONE)

    def retune(self, baud: int) -> None:
        """Go on at another rate without touching the modem lines, dropping what was not read.

        Raises `Unavailable` where the port is gone or knows no such rate.
        """
        try:
            self._port.baudrate = baud
            self._port.reset_input_buffer()
        except (OSError, termios.error, ValueError) as error:
            raise Unavailable(self.name, f"it can't be set to {baud} baud") from error
        self._held.clear()

    def close(self) -> None:
        """Let go of the port, dropping what was not read; a waiting `read` raises."""
        self._held.clear()
        self._end(_CLOSED)

    def _listen(self) -> None:
        if not self._listening:
            self._loop.add_reader(self._port.fileno(), self._take)
            self._listening = True

    def _pause(self) -> None:
        if self._listening:
            self._loop.remove_reader(self._port.fileno())
            self._listening = False

    def _take(self) -> None:
        try:
            self._held += self._port.read(_READ)
        except OSError:
            self._end(_GONE)
        if len(self._held) >= _HELD:
            self._pause()
        self._stirred.set()

    def _end(self, why: str) -> None:
        if self._ended is None:
            self._ended = why
            self._pause()
            # A port whose device is gone may fail to close; its descriptor is freed all the same.
            with suppress(OSError):
                self._port.close()
        self._stirred.set()
