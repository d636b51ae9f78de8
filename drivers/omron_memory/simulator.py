"""Records of an Omron cuff that never was, in both layouts. Pure."""

from __future__ import annotations

from datetime import timedelta
from random import Random
from typing import TYPE_CHECKING

from drivers.omron_memory.codec import CENTURY, LEAST_SYSTOLIC

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime


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
