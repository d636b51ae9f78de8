"""A pairing as a person goes through it: begin, perhaps a passkey, and how it ended.

The control socket gives one answer a line, and a pairing waits for a device and for a person;
so it goes on by itself, and whoever has begun it asks how far it is.
"""

from __future__ import annotations

import asyncio
from enum import StrEnum
from typing import TYPE_CHECKING

from agent.errors import AgentError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    AskPasskey = Callable[[], Awaitable[int]]
    Pair = Callable[[str, AskPasskey], Coroutine[None, None, None]]

_TURN = 10.0
"""Seconds until an answer is given although nothing has changed."""


class Stage(StrEnum):
    """How far a pairing is."""

    WAITING = "waiting"
    PASSKEY = "passkey"
    PAIRED = "paired"


class NotPairing(AgentError):  # noqa: N818 - a state, not a mistake
    """No pairing is under way, or no passkey is wanted."""


class Pairings:
    """One pairing at a time; `pair` is the radio's."""

    def __init__(self, pair: Pair) -> None:
        self._pair = pair
        self._task: asyncio.Task[None] | None = None
        self._answer: asyncio.Future[int] | None = None
        self._asked = asyncio.Event()

    async def begin(self, address: str) -> Stage:
        """Begin to pair the device at `address`; how far it is, or what has gone wrong."""
        if self._task is not None and not self._task.done():
            raise NotPairing("another device is being paired: wait for it")
        self._asked.clear()
        self._task = asyncio.create_task(self._pair(address, self._ask))
        self._task.add_done_callback(_retrieve)
        return await self.look()

    async def look(self) -> Stage:
        """How far it is, as soon as that has changed; raises what the pairing ended in."""
        task = self._task
        if task is None:
            raise NotPairing("no pairing is under way: begin one")
        asked = asyncio.ensure_future(self._asked.wait())
        await asyncio.wait([task, asked], timeout=_TURN, return_when=asyncio.FIRST_COMPLETED)
        asked.cancel()
        if task.done():
            self._task = None
            task.result()
            return Stage.PAIRED
        return Stage.PASSKEY if self._answer is not None else Stage.WAITING

    async def give(self, passkey: int) -> Stage:
        """Give the number that the device shows; how far the pairing is then."""
        if self._answer is None:
            raise NotPairing("no passkey is wanted now")
        self._asked.clear()
        self._answer.set_result(passkey)
        self._answer = None
        return await self.look()

    async def _ask(self) -> int:
        answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._answer = answer
        self._asked.set()
        try:
            return await answer
        finally:
            if self._answer is answer:
                self._answer = None


def _retrieve(task: asyncio.Task[None]) -> None:
    """Whoever began it may never ask again how it ended."""
    if not task.cancelled():
        task.exception()
