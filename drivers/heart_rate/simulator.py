"""Frames of a heart rate sensor that never was: 2A37 as GSS lays it out. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

from drivers.heart_rate.codec import TICKS, Flag

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

_NARROWEST = 0xFF


@dataclass(frozen=True, slots=True)
class Beat:
    """What the sensor is to say; `contact` None: it can't tell. `intervals` in 1/1024 s."""

    rate: int
    contact: bool | None = None
    energy: int | None = None
    intervals: tuple[int, ...] = ()


def encode(beat: Beat) -> bytes:
    """The 2A37 of a beat; OverflowError where a number does not fit."""
    wide = beat.rate > _NARROWEST
    flags = Flag.WIDE if wide else Flag(0)
    frame = beat.rate.to_bytes(2 if wide else 1, "little")
    if beat.contact is not None:
        flags |= Flag.CONTACT_KNOWN | (Flag.CONTACT if beat.contact else Flag(0))
    if beat.energy is not None:
        flags |= Flag.ENERGY
        frame += beat.energy.to_bytes(2, "little")
    if beat.intervals:
        flags |= Flag.INTERVALS
        frame += b"".join(each.to_bytes(2, "little") for each in beat.intervals)
    return bytes([flags]) + frame


def frames(*, seed: int, start: datetime) -> Iterator[bytes]:
    """An endless rest: one plausible 2A37 a second that hardly changes; it knows no time."""
    del start
    chance = Random(seed)  # noqa: S311 - a simulation has nothing to keep secret
    while True:
        rate = chance.randint(70, 73)
        yield encode(Beat(rate=rate, contact=True, intervals=(60 * TICKS // rate,)))
