"""Bonds as the radio sees them: which device may be connected to, and which needs a person."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from drivers.errors import Unavailable
from drivers.ladder import Bond, Bonds
from drivers.links.stack import NeedsPairing

if TYPE_CHECKING:
    from drivers.links.stack import AskPasskey, Stack

PAIRING_PATIENCE = 60.0
"""Seconds that a pairing may take: Bluetooth itself gives each of its steps thirty."""
REFUSED = "pairing refused"
"""What a visit ended in where the device wanted to be paired and nobody did."""
_UNBONDED = (
    REFUSED,
    "Insufficient Authentication",
    "Insufficient Encryption",
    "NotPaired",
    "NotPermitted",
)
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

    def __init__(self, stack: Stack | None) -> None:
        self._stack = stack
        self._bonds = Bonds()
        self._mending: set[str] = set()
        self.lost: set[str] = set()
        """Devices that are not connected to before a person has paired them."""

    def mending(self, address: str) -> bool:
        """Whether the next connection has to pair as well."""
        return address in self._mending

    def answering(self, address: str) -> AbstractAsyncContextManager[None]:
        """Answer the stack for a device that is being mended; for others it gets no answer."""
        if self._stack is None or address not in self._mending:
            return nullcontext()
        return self._stack.expecting(address, None)

    async def failed(self, address: str, error: str) -> str | None:
        """A visit ended in the stack's `error`; a sentence where now a person is needed."""
        if self._stack is None:
            return None
        if address in self._mending:
            return self._give_up(address, _AGAIN) if "Authentication" in error else None
        bonded = await self._stack.bonded(address)
        unbonded = any(words in error for words in _UNBONDED)
        if not bonded:
            return self._give_up(address, _NEVER) if unbonded else None
        verdict = self._bonds.failed(
            address, "org.bluez.Error.AuthenticationFailed" if unbonded else error
        )
        if verdict is Bond.LOST:
            return self._give_up(address, _AGAIN)
        if verdict is Bond.STALE:
            await self._stack.forget(address)
            self._mending.add(address)
        return None

    def worked(self, address: str) -> None:
        """A visit brought something: its bond is sound."""
        self._bonds.worked(address)
        self._mending.discard(address)
        self.lost.discard(address)

    def _give_up(self, address: str, why: str) -> str:
        self._mending.discard(address)
        self.lost.add(address)
        return f"{why}: start its pairing, then `qafila devices pair {address}`"


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
