"""A plug of a simulated serial device: a real pseudo-terminal behind a path that stays.

The device's side is written as a simulator says it, at its pace; a reader that is slow holds
the simulator up, where a real device would drop blocks.
"""

from __future__ import annotations

import asyncio
import os
import pty
import select
import tty
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


class PtyHost:
    """A pseudo-terminal reachable by `path`, a symbolic link that exists while plugged in."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._ends: tuple[int, int] | None = None

    @property
    def plugged(self) -> bool:
        """Whether a reader can open `path`."""
        return self._ends is not None

    @property
    def heard(self) -> bool:
        """Whether all that was said has been read from the port; no one hears an absent device.

        What was said takes a while to come through the kernel, where no count of the port shows
        it. poll(2) moves it on before it calls a terminal empty.
        """
        if self._ends is None:
            return False
        port = select.poll()
        port.register(self._ends[1], select.POLLIN)
        return not port.poll(0)

    def plug(self) -> None:
        """Make the terminal, raw from the start so that it never echoes, and its link."""
        if self._ends is not None:
            return
        device, port = pty.openpty()
        tty.setraw(port)
        os.set_blocking(device, False)
        self._ends = device, port
        fresh = self.path.with_name(f"{self.path.name}.fresh")
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(os.ttyname(port))
        fresh.replace(self.path)

    def unplug(self) -> None:
        """Take the device away, whoever reads it; may be called again."""
        if self._ends is None:
            return
        self.path.unlink(missing_ok=True)
        ends, self._ends = self._ends, None
        for end in ends:
            os.close(end)

    async def play(self, emissions: Iterable[tuple[float, bytes]], pace: float = 1.0) -> None:
        """Say each emission when its second comes, `pace` times as fast as the simulator says.

        Ends with the emissions, or when the plug is pulled.
        """
        loop = asyncio.get_running_loop()
        start = loop.time()
        for second, raw in emissions:
            wait = start + second / pace - loop.time()
            if wait > 0:
                await asyncio.sleep(wait)
            await self.say(raw)
            if self._ends is None:
                return

    async def say(self, raw: bytes) -> None:
        """Write bytes as the device, waiting while the terminal is full; none once unplugged."""
        rest = memoryview(raw)
        while rest and self._ends is not None:
            device, _ = self._ends
            try:
                rest = rest[os.write(device, rest) :]
            except BlockingIOError:
                await self._stir(device)

    async def _stir(self, device: int) -> None:
        """Wait until the terminal takes bytes again or is unplugged: the kernel tells of both."""
        copy = os.dup(device)  # watched under its own number, whatever becomes of the plug's
        loop = asyncio.get_running_loop()
        stirred = asyncio.Event()
        loop.add_writer(copy, stirred.set)
        try:
            await stirred.wait()
        finally:
            loop.remove_writer(copy)
            os.close(copy)
