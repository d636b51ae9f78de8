"""Heart Rate Measurement (2A37) of Bluetooth GSS. Pure.

A sensor repeats its frame about once a second: the session shows each, and stores the one at
which the rate had settled (`drivers.settled`), with the beat-to-beat intervals of that frame.
An unbroken series of intervals is a recording and no reading; this driver makes none.
"""

from __future__ import annotations

from decimal import Decimal
from enum import IntFlag

from drivers.base import Decoded, Measurement, NoReading, Outcome, Value
from drivers.medfloat import Reader
from drivers.spot import IMPLAUSIBLE, Bounds, is_plausible

KIND = "heart-rate"
RATE = "147842"
INTERVAL = "147240"
NO_CONTACT = "no-contact"

TICKS = 1024
"""Intervals count in 1/1024 s."""


class Flag(IntFlag):
    """Octet 0 of 2A37. Bits 5 to 7 are reserved and ignored."""

    WIDE = 0x01
    CONTACT = 0x02
    CONTACT_KNOWN = 0x04
    ENERGY = 0x08
    INTERVALS = 0x10


_RATE = Bounds(plausible=(25, 300), possible=(1, 600))


def decode(raw: bytes, *, name: str | None = None) -> Outcome:
    """Decode one 2A37; `ProtocolFault` where it breaks GSS.

    The rate is in `/min`, each interval in `s`, both exact. A rate of 0 is a sensor that finds
    no beat: `NoReading`. Energy expended is read over: it is an estimate, not a measurement.
    """
    del name  # no model is known to deviate
    reader = Reader(raw)
    flags = Flag(reader.unsigned(1) & 0x1F)
    rate = Decimal(reader.unsigned(2 if Flag.WIDE in flags else 1))
    if Flag.ENERGY in flags:
        reader.take(2)
    intervals = []
    while Flag.INTERVALS in flags and reader.offset < len(raw):
        intervals.append(Value(INTERVAL, Decimal(reader.unsigned(2)) / TICKS, "s"))
    reader.end()
    if not rate:
        return NoReading("The sensor finds no heart beat.")
    implausible = () if is_plausible(rate, _RATE, "heart rate") else (IMPLAUSIBLE,)
    off = Flag.CONTACT_KNOWN in flags and Flag.CONTACT not in flags
    quality = (*implausible, NO_CONTACT) if off else implausible
    values = (Value(RATE, rate, "/min"), *intervals)
    return Decoded((Measurement(kind=KIND, raw=raw, values=values, quality=quality),))
