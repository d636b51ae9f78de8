"""Frames of a cuff that never was: 2A35 as GSS lays it out. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from random import Random
from typing import TYPE_CHECKING

from drivers.blood_pressure.codec import Flag
from drivers.medfloat import encode_date_time, encode_sfloat

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from drivers.medfloat import Special


@dataclass(frozen=True, slots=True)
class Reading:
    """What the cuff is to say; an optional field that is None is left out of the frame."""

    systolic: Decimal | Special
    diastolic: Decimal | Special
    mean: Decimal | Special
    pulse: Decimal | Special | None = None
    time: datetime | None = None
    user: int | None = None
    status: int | None = None
    kpa: bool = False


def encode(reading: Reading) -> bytes:
    """The 2A35 of a reading; ValueError where a number has no exact SFLOAT."""
    flags = Flag.KPA if reading.kpa else Flag(0)
    frame = b"".join(map(_sfloat, (reading.systolic, reading.diastolic, reading.mean)))
    if reading.time is not None:
        flags |= Flag.TIME
        frame += encode_date_time(reading.time)
    if reading.pulse is not None:
        flags |= Flag.PULSE
        frame += _sfloat(reading.pulse)
    if reading.user is not None:
        flags |= Flag.USER
        frame += reading.user.to_bytes(1, "little")
    if reading.status is not None:
        flags |= Flag.STATUS
        frame += reading.status.to_bytes(2, "little")
    return bytes([flags]) + frame


def frames(*, seed: int, start: datetime) -> Iterator[bytes]:
    """An endless day at the cuff: one plausible reading every three minutes, from `start` on."""
    chance = Random(seed)  # noqa: S311 - a simulation has nothing to keep secret
    when = start
    while True:
        diastolic = chance.randint(55, 100)
        systolic = diastolic + chance.randint(25, 70)
        yield encode(
            Reading(
                systolic=Decimal(systolic),
                diastolic=Decimal(diastolic),
                mean=Decimal(diastolic + (systolic - diastolic) // 3),
                pulse=Decimal(chance.randint(50, 110)),
                time=when,
                user=1,
                status=0,
            )
        )
        when += timedelta(minutes=3)


def _sfloat(number: Decimal | Special) -> bytes:
    return encode_sfloat(number).to_bytes(2, "little")
