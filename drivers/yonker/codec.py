"""The 15 octets of a Yonker cuff: one notification, one reading. Pure.

Octet 0 is 0x81, then systolic, diastolic and pulse; 6 day, 7 month, 8 year of the century,
9 hour, 10 minute (derdilla, issue 615). The others are not known and not read.
"""

from __future__ import annotations

from typing import Final

from drivers.base import Decoded, Outcome
from drivers.cuff import clock_of, pressure
from drivers.errors import ProtocolFault

SIZE: Final = 15
MARK: Final = 0x81
CENTURY: Final = 2000


def decode(raw: bytes, *, name: str | None = None) -> Outcome:
    """Decode one frame; `ProtocolFault` where it is not one.

    The device's time is kept and never trusted: a cuff said 2024 in 2025.
    """
    del name
    if len(raw) != SIZE:
        raise ProtocolFault("The frame has the wrong length.", min(len(raw), SIZE))
    if raw[0] != MARK:
        raise ProtocolFault("The frame is not one of a measurement.", 0)
    day, month, year, hour, minute = raw[6:11]
    stamp = (CENTURY + year if year else 0, month, day, hour, minute, 0)
    clock = clock_of(stamp, trusted=False)
    return Decoded((pressure(raw, (raw[1], raw[2], raw[3]), clock),))


def encode(numbers: tuple[int, int, int], stamp: tuple[int, int, int, int, int]) -> bytes:
    """The frame of a pressure at (year, month, day, hour, minute): the inverse, for simulators."""
    year, month, day, hour, minute = stamp
    when = bytes([day, month, year - CENTURY, hour, minute])
    return bytes([MARK, *numbers, 0, 0]) + when + bytes(4)
