"""Answers of a TaiDoc device that never was. Pure."""

from __future__ import annotations

from datetime import timedelta
from random import Random
from typing import TYPE_CHECKING

from drivers.taidoc import codec

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from decimal import Decimal


def answer(command: int, content: bytes) -> bytes:
    """The device's answer to a command: four octets in a frame."""
    return codec.frame(command, content, codec.FROM_DEVICE)


def time(when: datetime) -> bytes:
    """The answer that tells when it measured."""
    date = when.day | when.month << 5 | (when.year - codec.CENTURY) << 9
    clock = bytes([when.minute, when.hour])
    return answer(codec.ASK_TIME, date.to_bytes(2, "little") + clock)


def pressure(systolic: int, diastolic: int, pulse: int, command: int = codec.ASK_LATEST) -> bytes:
    """The answer of a cuff."""
    return answer(command, systolic.to_bytes(2, "little") + bytes([diastolic, pulse]))


def oximetry(saturation: int, pulse: int, command: int = codec.ASK_OXIMETRY) -> bytes:
    """The answer of a finger clip."""
    return answer(command, bytes([saturation, 0, 0, pulse]))


def temperature(degrees: Decimal) -> bytes:
    """The answer of a thermometer, in tenths."""
    tenths = int(degrees.scaleb(1))
    return answer(codec.ASK_LATEST, tenths.to_bytes(2, "little") + bytes(2))


def frames(*, seed: int, start: datetime) -> Iterator[bytes]:
    """An endless day at the cuff: time and value in one, three minutes apart, from `start` on."""
    chance = Random(seed)  # noqa: S311 - a simulation has nothing to keep secret
    when = start
    while True:
        diastolic = chance.randint(55, 100)
        systolic = diastolic + chance.randint(25, 70)
        yield time(when) + pressure(systolic, diastolic, chance.randint(50, 110))
        when += timedelta(minutes=3)
