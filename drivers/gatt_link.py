"""The link of every Bluetooth driver: a connected device, its services already discovered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable


class GattLink(Protocol):
    """Characteristics are named as in cards: `2A35`, or 128 bits in full.

    Every coroutine raises `Unavailable` where the device is gone or does not answer, and
    `ProtocolFault` where it lacks the characteristic or refuses what is asked of it.
    """

    @property
    def name(self) -> str | None:
        """What the device calls itself, if it does."""

    @property
    def companies(self) -> tuple[int, ...]:
        """The manufacturer ids of its advertisement."""

    def has(self, characteristic: str) -> bool:
        """Whether the device offers a characteristic."""

    async def subscribe(self, characteristic: str, hear: Callable[[bytes], None]) -> None:
        """Turn indications on, or notifications where it knows no others.

        `hear` gets each frame at once, in order, on the loop.
        """

    async def read(self, characteristic: str) -> bytes:
        """Read a characteristic once."""

    async def write(self, characteristic: str, content: bytes) -> None:
        """Write a characteristic, and wait until the device has said that it took it."""

    async def wait_closed(self) -> None:
        """Return when the device has hung up, or `close` has been called."""

    async def close(self) -> None:
        """Hang up and let the stack forget the subscriptions; harmless to call again."""
