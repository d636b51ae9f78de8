"""The memory of a Microlife cuff that never was, and its answers. Pure."""

from __future__ import annotations

from datetime import timedelta
from random import Random
from typing import TYPE_CHECKING

from drivers.microlife.codec import ANSWER, CENTURY, DONE, FIRST_RECORD, packet

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

PIECE = 20
"""Octets of one notification."""


def record(numbers: tuple[int, int, int], when: datetime) -> bytes:
    """Ten octets of memory."""
    stamp = (when.year - CENTURY, when.month, when.day, when.hour, when.minute)
    return bytes([*numbers, *stamp, 0, 0])


def answer(records: Sequence[bytes]) -> bytes:
    """The packet that tells a memory."""
    return packet(ANSWER, bytes(FIRST_RECORD) + b"".join(records))


def acknowledgement() -> bytes:
    """The packet that says that a command was done."""
    return packet(ANSWER, DONE)


def pieces(whole: bytes) -> list[bytes]:
    """A packet as the radio cuts it."""
    return [whole[start : start + PIECE] for start in range(0, len(whole), PIECE)]


def frames(*, seed: int, start: datetime) -> Iterator[bytes]:
    """An endless day: the answer of the cuff after each measurement, three minutes apart."""
    chance = Random(seed)  # noqa: S311 - a simulation has nothing to keep secret
    when = start
    memory: list[bytes] = []
    while True:
        diastolic = chance.randint(55, 100)
        systolic = diastolic + chance.randint(25, 70)
        memory = [*memory, record((systolic, diastolic, chance.randint(50, 110)), when)][-99:]
        yield answer(memory)
        when += timedelta(minutes=3)
