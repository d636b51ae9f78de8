"""Frames of a Yonker cuff that never was. Pure."""

from __future__ import annotations

from datetime import timedelta
from random import Random
from typing import TYPE_CHECKING

from drivers.yonker.codec import encode

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime


def frames(*, seed: int, start: datetime) -> Iterator[bytes]:
    """An endless day at the cuff: one plausible reading every three minutes, from `start` on."""
    chance = Random(seed)  # noqa: S311 - a simulation has nothing to keep secret
    when = start
    while True:
        diastolic = chance.randint(55, 100)
        numbers = (diastolic + chance.randint(25, 70), diastolic, chance.randint(50, 110))
        yield encode(numbers, (when.year, when.month, when.day, when.hour, when.minute))
        when += timedelta(minutes=3)
