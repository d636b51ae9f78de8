"""Where which model keeps its records, and how its memory is opened. Pure data.

After eigger/hass-omron, device_catalog.py at b4fccbb, and userx14/omblepy, deviceSpecific/ at
7b02a43 and 150e9b0. A model that is not here is not read: a guessed address would give numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

from drivers.card import card
from drivers.spot import deviations

if TYPE_CHECKING:
    from collections.abc import Iterator

RECORD: Final = 14
"""Octets of a record, in every model here."""


class Lock(Enum):
    """What opens a memory: a word that is given back, or a key that the cuff was taught."""

    TOKEN = "token"  # noqa: S105 - the name of a way, no secret
    KEY = "key"


@dataclass(frozen=True, slots=True)
class Block:
    """Some records of one user's, in a row. `user` is None where a cuff knows only one."""

    address: int
    size: int
    user: int | None


@dataclass(frozen=True, slots=True)
class Memory:
    """`users` are the addresses where each user's `records` begin; `together` are asked at once."""

    lock: Lock
    users: tuple[int, ...]
    records: int
    together: int

    def blocks(self) -> Iterator[Block]:
        """All that is asked for, in order."""
        for number, start in enumerate(self.users, start=1):
            user = number if len(self.users) > 1 else None
            for first in range(0, self.records, self.together):
                count = min(self.together, self.records - first)
                yield Block(start + first * RECORD, count * RECORD, user)

    def user_of(self, address: int) -> int | None:
        """Whose records lie at `address`, as a number from 1; None where a cuff knows only one."""
        if len(self.users) == 1:
            return None
        return sum(address >= start for start in self.users) or None


MEMORIES: Final = {
    "memory-7142": Memory(Lock.TOKEN, (0x02E8,), records=14, together=3),
    "memory-7322": Memory(Lock.KEY, (0x02AC, 0x0824), records=100, together=4),
    "memory-7511": Memory(Lock.KEY, (0x02AC, 0x0798), records=90, together=4),
    "memory-7600": Memory(Lock.KEY, (0x02AC,), records=100, together=4),
}
"""By the word that a quirk of the card applies."""


def memory_of(shown: str | None) -> Memory | None:
    """The memory of a cuff that shows itself as `shown`; None for a model that is not known."""
    words = deviations(card("omron-memory").quirks, shown)
    return next((memory for word, memory in MEMORIES.items() if word in words), None)
