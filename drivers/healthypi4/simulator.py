"""A HealthyPi v4 that is none: its stream as (second, bytes), the same for the same call."""

from __future__ import annotations

import struct
from math import exp
from typing import TYPE_CHECKING

from drivers.bench.layout import HEALTHYPI4

if TYPE_CHECKING:
    from collections.abc import Iterator

_PAYLOAD = struct.Struct("<2h2iH6B")
_BEAT_S = 60 / 72
_FIRST_TEMPERATURE_S = 10.0


def encode(
    *,
    ecg: int = 0,
    heart_rate: int = 0,
    respiratory_rate: int = 0,
    saturation: int = 0,
    temperature: int = 0,
    status: int = 0,
) -> bytes:
    """One frame; 0 is nothing, the temperature in hundredths of a degree.

    Where a blood pressure would stand it says 80 and 120, as every such board always does.
    """
    numbers = respiratory_rate, saturation, heart_rate, 80, 120, status
    payload = _PAYLOAD.pack(ecg, 0, 83000, 61000, temperature, *numbers)
    return HEALTHYPI4.sync + payload + bytes([0x00, 0x0B])


def simulate(seconds: float) -> Iterator[tuple[float, bytes]]:
    """The stream for some seconds: when (s from the start) and what."""
    for number in range(int(seconds * HEALTHYPI4.rate_hz)):
        second = number / HEALTHYPI4.rate_hz
        yield (
            second,
            encode(
                ecg=round(900 * exp(-0.5 * ((second % _BEAT_S - 0.3) / 0.011) ** 2)),
                heart_rate=72,
                respiratory_rate=15,
                saturation=97,
                temperature=3350 if second >= _FIRST_TEMPERATURE_S else 0,
            ),
        )
