"""A camera's button: presses out of the kernel's input events (struct input_event).

Press and release are events of their own; a release is not waited for, since some firmware
never sends one. The kernel reports presses only while the camera's video node is open.
"""

from __future__ import annotations

import asyncio
import os
import struct
from errno import EACCES, EPERM
from typing import Final, Self

from drivers.errors import Unavailable
from drivers.links.usb import KEY_CAMERA

QUIET_S: Final = 0.5
"""How long after a press another one is taken for its bounce, in seconds."""

_EVENT = struct.Struct("@llHHi")  # timeval of two longs, type, code, value: <linux/input.h>
_EV_KEY = 1
_PRESSED = 1
_READ = 64 * _EVENT.size


class Button:
    """One open button, read by one task. `descriptor` is owned and closed."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._partial = b""
        self._presses = 0
        self._last = float("-inf")
        self._closed = False

    @classmethod
    def open(cls, path: str) -> Self:
        """Open `/dev/input/eventN`; `Unavailable` where it can't be read."""
        try:
            return cls(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY))
        except OSError as error:
            raise _gone(error) from None

    async def pressed(self) -> None:
        """Wait for the next press; `Unavailable` once the button is gone."""
        while not self._presses:
            await self._readable()
            self._take(self._read())
        self._presses -= 1

    def close(self) -> None:
        """Let the button go; may be called again."""
        if not self._closed:
            self._closed = True
            os.close(self._descriptor)

    async def _readable(self) -> None:
        loop = asyncio.get_running_loop()
        ready: asyncio.Future[None] = loop.create_future()
        loop.add_reader(self._descriptor, _settle, ready)
        try:
            await ready
        finally:
            loop.remove_reader(self._descriptor)

    def _read(self) -> bytes:
        try:
            found = os.read(self._descriptor, _READ)
        except BlockingIOError:
            return b""
        except OSError as error:
            raise _gone(error) from None
        if not found:
            raise Unavailable("button", "it was unplugged")
        return found

    def _take(self, found: bytes) -> None:
        whole, self._partial = _whole_events(self._partial + found)
        now = asyncio.get_running_loop().time()
        for _, _, kind, code, value in _EVENT.iter_unpack(whole):
            if (kind, code, value) != (_EV_KEY, KEY_CAMERA, _PRESSED):
                continue
            if now - self._last >= QUIET_S:
                self._presses += 1
                self._last = now


def _whole_events(stream: bytes) -> tuple[bytes, bytes]:
    end = len(stream) - len(stream) % _EVENT.size
    return stream[:end], stream[end:]


def _settle(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)


def _gone(error: OSError) -> Unavailable:
    refused = error.errno in {EACCES, EPERM}
    return Unavailable("button", "this program may not read it" if refused else "it was unplugged")
