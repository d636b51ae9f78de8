"""Frames of an oximeter that never was: 2A5E and 2A5F as GSS lays them out. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from random import Random
from typing import TYPE_CHECKING

from drivers.medfloat import encode_date_time, encode_sfloat
from drivers.pulse_oximeter.codec import ContinuousFlag, SpotFlag

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from drivers.medfloat import Special


@dataclass(frozen=True, slots=True)
class SpotCheck:
    """What the oximeter is to say once; an optional field that is None is left out."""

    saturation: Decimal | Special
    pulse: Decimal | Special
    time: datetime | None = None
    status: int | None = None
    sensor: int | None = None
    amplitude: Decimal | Special | None = None
    clock_not_set: bool = False


@dataclass(frozen=True, slots=True)
class Instant:
    """What the oximeter is to say this second; `fast` and `slow` are saturation and pulse."""

    saturation: Decimal | Special
    pulse: Decimal | Special
    fast: tuple[Decimal | Special, Decimal | Special] | None = None
    slow: tuple[Decimal | Special, Decimal | Special] | None = None
    status: int | None = None
    sensor: int | None = None
    amplitude: Decimal | Special | None = None


def encode(spot: SpotCheck) -> bytes:
    """The 2A5E of a spot check; ValueError where a number has no exact SFLOAT."""
    flags = SpotFlag.CLOCK_NOT_SET if spot.clock_not_set else SpotFlag(0)
    frame = _sfloat(spot.saturation) + _sfloat(spot.pulse)
    if spot.time is not None:
        flags |= SpotFlag.TIME
        frame += encode_date_time(spot.time)
    if spot.status is not None:
        flags |= SpotFlag.STATUS
        frame += spot.status.to_bytes(2, "little")
    if spot.sensor is not None:
        flags |= SpotFlag.SENSOR
        frame += spot.sensor.to_bytes(3, "little")
    if spot.amplitude is not None:
        flags |= SpotFlag.AMPLITUDE
        frame += _sfloat(spot.amplitude)
    return bytes([flags]) + frame


def encode_continuous(instant: Instant) -> bytes:
    """The 2A5F of an instant; ValueError where a number has no exact SFLOAT."""
    flags = ContinuousFlag(0)
    frame = _sfloat(instant.saturation) + _sfloat(instant.pulse)
    for flag, pair in ((ContinuousFlag.FAST, instant.fast), (ContinuousFlag.SLOW, instant.slow)):
        if pair is not None:
            flags |= flag
            frame += _sfloat(pair[0]) + _sfloat(pair[1])
    if instant.status is not None:
        flags |= ContinuousFlag.STATUS
        frame += instant.status.to_bytes(2, "little")
    if instant.sensor is not None:
        flags |= ContinuousFlag.SENSOR
        frame += instant.sensor.to_bytes(3, "little")
    if instant.amplitude is not None:
        flags |= ContinuousFlag.AMPLITUDE
        frame += _sfloat(instant.amplitude)
    return bytes([flags]) + frame


def frames(*, seed: int, start: datetime) -> Iterator[bytes]:
    """An endless day at the finger: one plausible spot check every two minutes."""
    chance = Random(seed)  # noqa: S311 - a simulation has nothing to keep secret
    when = start
    while True:
        yield encode(
            SpotCheck(
                saturation=Decimal(chance.randint(92, 100)),
                pulse=Decimal(chance.randint(50, 110)),
                time=when,
                status=0x0100,
                sensor=0,
            )
        )
        when += timedelta(minutes=2)


def stream(*, seed: int) -> Iterator[bytes]:
    """An endless finger in the oximeter: one plausible 2A5F a second that hardly changes."""
    chance = Random(seed)  # noqa: S311 - a simulation has nothing to keep secret
    while True:
        yield encode_continuous(
            Instant(
                saturation=Decimal(chance.randint(97, 98)), pulse=Decimal(chance.randint(70, 73))
            )
        )


def _sfloat(number: Decimal | Special) -> bytes:
    return encode_sfloat(number).to_bytes(2, "little")
