"""Frames of a thermometer that never was: 2A1C as GSS lays it out. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from random import Random
from typing import TYPE_CHECKING

from drivers.medfloat import encode_date_time, encode_float
from drivers.thermometer.codec import SITES, Flag

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from drivers.medfloat import Special

_SITE_NUMBER = {site: number for number, site in SITES.items()}


@dataclass(frozen=True, slots=True)
class Reading:
    """What the thermometer is to say; an optional field that is None is left out."""

    temperature: Decimal | Special
    time: datetime | None = None
    site: str | None = None
    fahrenheit: bool = False


def encode(reading: Reading) -> bytes:
    """The 2A1C of a reading; ValueError where the temperature has no exact FLOAT."""
    flags = Flag.FAHRENHEIT if reading.fahrenheit else Flag(0)
    frame = encode_float(reading.temperature).to_bytes(4, "little")
    if reading.time is not None:
        flags |= Flag.TIME
        frame += encode_date_time(reading.time)
    if reading.site is not None:
        flags |= Flag.SITE
        frame += bytes([_SITE_NUMBER[reading.site]])
    return bytes([flags]) + frame


def frames(*, seed: int, start: datetime) -> Iterator[bytes]:
    """An endless day at the ear: one plausible reading every two minutes, from `start` on."""
    chance = Random(seed)  # noqa: S311 - a simulation has nothing to keep secret
    when = start
    while True:
        tenths = Decimal(chance.randint(355, 395))
        yield encode(Reading(temperature=tenths.scaleb(-1), time=when, site="ear"))
        when += timedelta(minutes=2)
