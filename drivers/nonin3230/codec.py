"""The ten octets of a Nonin 3230: one notification a second. Pure.

Length, status, battery in tenths of a volt, perfusion in hundredths of a percent (u16), seconds
since it was switched on (u16), saturation (127: none), pulse rate (u16, 511: none); numbers are
big-endian. Status: bit 1 weak signal, 2 SmartPoint, 3 searching, 4 finger in place, 5 low
battery, 6 encrypted (Nonin's sample PulseOximeterClass.m).
"""

from __future__ import annotations

from decimal import Decimal
from enum import IntFlag
from typing import Final

from drivers.base import Decoded, Measurement, NoReading, Outcome
from drivers.clip import SETTLED, Meaning, Silence, oximetry
from drivers.errors import ProtocolFault

SIZE: Final = 10
NO_SATURATION: Final = 127
NO_PULSE: Final = 511


class Status(IntFlag):
    """Octet 1. Bit 0 says that the display shows the same; bit 7 is not known and ignored."""

    WEAK = 0x02
    SMART_POINT = 0x04
    SEARCHING = 0x08
    ATTACHED = 0x10
    LOW_BATTERY = 0x20
    ENCRYPTED = 0x40


def decode(raw: bytes, *, name: str | None = None) -> Outcome:
    """Decode one frame; `ProtocolFault` where it is not one.

    Its counter starts again with every use, so equal frames are not the same reading. Each
    value is a reading here; which of them is stored, the talk decides (`drivers.clip`).
    """
    del name
    said = _values(raw)
    return NoReading(said.value) if isinstance(said, Silence) else Decoded((said,))


def meaning(raw: bytes) -> Meaning:
    """What one frame says; a fault is given, not raised."""
    try:
        return _values(raw)
    except ProtocolFault as fault:
        return fault


def encode(
    status: Status,
    saturation: int = NO_SATURATION,
    pulse: int = NO_PULSE,
    *,
    perfusion: int = 0,
    counter: int = 0,
) -> bytes:
    """One frame, with a full battery: the inverse, for simulators and tests."""
    head = bytes([SIZE, status, 30]) + perfusion.to_bytes(2, "big") + counter.to_bytes(2, "big")
    return head + bytes([saturation]) + pulse.to_bytes(2, "big")


def _values(raw: bytes) -> Measurement | Silence:
    if len(raw) != SIZE or raw[0] != SIZE:
        raise ProtocolFault("The frame has the wrong length.", 0)
    status = Status(raw[1] & 0x7E)
    if Status.ENCRYPTED in status:
        raise ProtocolFault("The clip tells its values in a secret code.", 1)
    if Status.ATTACHED not in status:
        return Silence.NO_FINGER
    saturation, pulse = raw[7], int.from_bytes(raw[8:10], "big")
    searching = Status.SEARCHING in status
    if searching or saturation == NO_SATURATION or pulse == NO_PULSE:
        return Silence.NO_VALUE
    perfusion = Decimal(int.from_bytes(raw[3:5], "big")).scaleb(-2)
    settled = (SETTLED,) if Status.SMART_POINT in status else ()
    battery = ("battery-low",) if Status.LOW_BATTERY in status else ()
    weak = ("weak-signal",) if Status.WEAK in status else ()
    return oximetry(raw, saturation, pulse, perfusion, status=settled + battery, quality=weak)
