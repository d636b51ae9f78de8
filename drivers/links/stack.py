"""What a Bluetooth stack does beside scanning and connecting; the radio's other seam.

`BluezStack` does it over D-Bus, the laboratory's with bumble.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from drivers.bonds import Bonds
from drivers.errors import DriverError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection
    from contextlib import AbstractAsyncContextManager

    from drivers.ladder import Step

    AskPasskey = Callable[[], Awaitable[int]]


class NotPossible(DriverError):  # noqa: N818 - a state of the machine, not a mistake
    """A step of recovery can't be done here; `remedy` is what a person can do instead."""

    def __init__(self, remedy: str) -> None:
        super().__init__(remedy)
        self.remedy = remedy


class NeedsPairing(DriverError):  # noqa: N818 - a state of the device, not a mistake
    """The bond with a device is gone or was refused: a person has to pair it."""


@dataclass(slots=True)
class Kept:
    """What outlives the service and our connection.

    `address`: the adapter that is kept to; `bonds`: what is known of those with devices.
    """

    address: str | None = None
    bonds: Bonds = field(default_factory=Bonds)


class Stack(Protocol):
    """The stack of the one adapter that the radio uses. Every coroutine may raise `Unavailable`."""

    async def adapter(self) -> str | None:
        """What the stack calls the adapter now (`hci1`), found again by its address.

        None where the stack can have but one, or has none. The first one found is kept to; where
        it is away, another one stands in until it is back.
        """

    def expecting(self, address: str, ask: AskPasskey | None) -> AbstractAsyncContextManager[None]:
        """Answer the stack's questions about pairing the device at `address` meanwhile.

        Outside of it every question is answered with no. `ask` gives the passkey that the
        device shows (0 to 999999); without it such a pairing is refused.
        """

    def refused(self, address: str) -> bool:
        """Whether a device asked to be paired just now, and got a no; told once.

        A stack that fails the visit in its own words need not know.
        """

    async def bonded(self, address: str) -> bool:
        """Whether the stack keeps a bond with a device."""

    async def forget(self, address: str) -> None:
        """Remove a device and its bond; harmless where there is none."""

    async def let_go(self, addresses: Collection[str]) -> tuple[str, ...]:
        """Disconnect those of `addresses` that are connected, and say which they were."""

    async def climb(self, step: Step) -> None:
        """Take one step of the ladder; `NotPossible` where it can't be taken."""
