"""Bonds as the radio sees them: which device may be connected to, and which needs a person."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from drivers.bonds import Bond
from drivers.errors import Unavailable
from drivers.links.stack import NeedsPairing

if TYPE_CHECKING:
    from drivers.bonds import Bonds
    from drivers.links.stack import AskPasskey, Stack

PAIRING_PATIENCE = 60.0
"""Seconds that a pairing may take: Bluetooth itself gives each of its steps thirty."""
_AGAIN = "the device and this computer no longer agree"
_NEVER = "the device speaks only to a computer that it is paired with"


@dataclass(slots=True)
class Wanted:
    """A pairing that a person has asked for. `heard`: it calls, or all is over; `done`: how."""

    address: str
    ask: AskPasskey
    heard: asyncio.Event = field(default_factory=asyncio.Event)
    done: asyncio.Future[None] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )
    tries: int = 0

    def end(self, error: Exception | None = None) -> None:
        """Tell whoever waits, once."""
        self.heard.set()
        if self.done.done():
            return
        if error is None:
            self.done.set_result(None)
        else:
            self.done.set_exception(error)


class Bonding:
    """Mends a stale bond once by itself, without a passkey; after that only a person can."""

    def __init__(self, stack: Stack | None, bonds: Bonds) -> None:
        self._stack = stack
        self._bonds = bonds

    def needs_person(self, address: str) -> str | None:
        """A sentence where a device is not connected to before a person has paired it."""
        return self._bonds.lost.get(address)

    def mending(self, address: str) -> bool:
        """Whether the next connection has to pair as well."""
        return address in self._bonds.mending

    def answering(self, address: str) -> AbstractAsyncContextManager[None]:
        """Answer the stack for a device that is being mended; for others it gets no answer."""
        if self._stack is None or not self.mending(address):
            return nullcontext()
        return self._stack.expecting(address, None)

    async def failed(self, address: str, error: str, aborted: int) -> None:
        """A visit ended in the stack's `error`, after so many connections that were `aborted`.

        `Unavailable` where the stack is gone by now: what was seen is kept for `settle`.
        """
        if not self.mending(address):
            self._bonds.failed(address, error, aborted)
            await self.settle()
        elif "Authentication" in error:
            self._give_up(address, _AGAIN)

    async def settle(self) -> None:
        """Do what the failures seen so far ask for, those of an earlier life of the stack too."""
        if self._stack is None:
            return
        for address in self._bonds.suspects:
            verdict = self._bonds.judge(address, bonded=await self._stack.bonded(address))
            if verdict is Bond.STALE:
                await self._stack.forget(address)
                self._bonds.mend(address)
            elif verdict is Bond.SOUND:
                self._bonds.acquit(address)
            else:
                self._give_up(address, _AGAIN if verdict is Bond.LOST else _NEVER)

    def worked(self, address: str) -> None:
        """A visit brought something: its bond is sound."""
        self._bonds.worked(address)

    def _give_up(self, address: str, why: str) -> None:
        remedy = f"start its pairing, then `qafila devices pair {address}`"
        self._bonds.give_up(address, f"{why}: {remedy}")


async def begin(stack: Stack | None, address: str, ask: AskPasskey) -> Wanted:
    """A pairing begins anew: whatever bond there was goes first. `Unavailable`."""
    if stack is None:
        raise Unavailable("Bluetooth", "nothing can be paired over this radio")
    await stack.forget(address)
    return Wanted(address, ask)


async def retry(stack: Stack, wanted: Wanted, error: Exception) -> None:
    """A pairing was refused: forget what is left of it and wait once more, then give up."""
    await stack.forget(wanted.address)
    wanted.tries += 1
    if wanted.tries > 1:
        words = "the device refuses to be paired: start its pairing, and look at its display"
        refused = NeedsPairing(words)
        refused.__cause__ = error
        wanted.end(refused)
