"""An Omron cuff that never was: records in both layouts, and the memory that gives them. Pure."""

from __future__ import annotations

from datetime import timedelta
from random import Random
from typing import TYPE_CHECKING

from drivers.omron_memory import wire
from drivers.omron_memory.codec import CENTURY, LEAST_SYSTOLIC
from drivers.omron_memory.models import RECORD, Lock
from drivers.omron_memory.talk import LEARN, LEARNED, OPEN, OPENED, TEACH, TEACHABLE, TOKEN

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from drivers.omron_memory.models import Memory

EMPTY = b"\xff" * RECORD
REFUSED = 0x04
SHUT = b"\x0f\x00"


class Cuff:
    """The memory of a cuff, and what it answers to each word.

    `records` are those of each of its users, oldest first. `pairing` is while P flashes: only
    then does it learn a key. `written` counts words that would have changed the memory.
    """

    def __init__(self, memory: Memory, *records: Sequence[bytes], pairing: bool = True) -> None:
        self.memory = memory
        self.pairing = pairing
        self.written = 0
        self._users = dict(zip(memory.users, records, strict=False))
        self._key = b""
        self._open = False

    def answers(self, word: bytes) -> bytes:
        """What it says to a word, whole; nothing while its memory is shut."""
        if word[:1] != wire.START[:1]:
            return self._unlock(word)
        if not self._open:
            return b""
        kind, address, size = word[1:3], int.from_bytes(word[3:5], "big"), word[5]
        if kind == wire.READ:
            return self._give(address, size)
        self.written += kind not in {wire.START[1:3], wire.END[1:3]}
        known = wire.START_ANSWER if kind == wire.START[1:3] else wire.END_ANSWER
        return wire.frame(known, 0, size, bytes(size))

    def _unlock(self, word: bytes) -> bytes:
        if self.memory.lock is Lock.TOKEN:
            self._open = word[:1] == TOKEN[:1]
            return b"\x91\x00" + word[1:5] if self._open else SHUT
        if word[:1] == OPEN[:1] and word[1:] == self._key:
            self._open = True
            return bytes([OPENED, 0])
        if word == TEACH and self.pairing:
            return bytes([TEACHABLE, 0x0F])
        if word[:1] == LEARN[:1] and self.pairing:
            self._key, self._open = word[1:], True
            return bytes([LEARNED, 0])
        return SHUT

    def _give(self, address: int, size: int) -> bytes:
        start = max((each for each in self.memory.users if each <= address), default=0)
        if start not in self._users:
            return wire.frame(wire.READ_ANSWER, address, size, code=REFUSED)
        whole = b"".join(self._users[start]).ljust(self.memory.records * RECORD, b"\xff")
        at = address - start
        return wire.frame(wire.READ_ANSWER, address, size, whole[at : at + size])


def little_endian(numbers: tuple[int, int, int], when: datetime, flags: int = 0) -> bytes:
    """A record of a HEM-7142T2; bit 0 of `flags` is an irregular pulse, bit 1 movement."""
    systolic, diastolic, pulse = numbers
    first = _date(when) | flags << 14
    words = first.to_bytes(2, "little") + _time(when).to_bytes(2, "little")
    head = bytes([systolic - LEAST_SYSTOLIC, diastolic, pulse, when.year - CENTURY])
    return head + words + bytes(6)


def bit_packed(numbers: tuple[int, int, int], when: datetime, flags: int = 0) -> bytes:
    """A record of a HEM-7600T; `flags` as above."""
    systolic, diastolic, pulse = numbers
    first = _date(when) | flags << 14
    words = first.to_bytes(2, "big") + _time(when).to_bytes(2, "big")
    head = bytes([diastolic, systolic - LEAST_SYSTOLIC, when.year - CENTURY, pulse])
    return head + words + bytes(6)


def frames(*, seed: int, start: datetime) -> Iterator[bytes]:
    """An endless memory, little-endian: a plausible reading every three minutes."""
    chance = Random(seed)  # noqa: S311 - a simulation has nothing to keep secret
    when = start
    while True:
        diastolic = chance.randint(55, 100)
        numbers = (diastolic + chance.randint(25, 70), diastolic, chance.randint(50, 110))
        yield little_endian(numbers, when)
        when += timedelta(minutes=3)


def _date(when: datetime) -> int:
    return when.hour | when.day << 5 | when.month << 10


def _time(when: datetime) -> int:
    return when.second | when.minute << 6
