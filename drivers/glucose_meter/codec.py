"""Glucose Measurement (2A18) and its Context (2A34) of Bluetooth GSS. Pure.

A record is one 2A18; where it says so, a 2A34 with the same sequence number follows it and
tells what was eaten, done or taken (see `context`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from enum import IntFlag
from typing import TYPE_CHECKING

from drivers.base import Decoded, NoReading, Outcome, Value
from drivers.card import card
from drivers.errors import ProtocolFault
from drivers.glucose_meter.context import decode_context
from drivers.medfloat import Reader, Special
from drivers.spot import (
    IMPLAUSIBLE,
    Bounds,
    dated,
    deviations,
    failure,
    is_plausible,
    read_clock,
    written_out,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from decimal import Decimal

    from drivers.base import DecodeFunction

KIND = "glucose"
WHAT = "glucose concentration"
_EMPTY = "The record holds no glucose concentration."
CONTROL_SOLUTION = 10
_OFFSET_RAN_OVER = frozenset({0x7FFF, 0x8000})


class Flag(IntFlag):
    """Octet 0 of 2A18. Bits 5 to 7 are reserved and ignored."""

    OFFSET = 0x01
    CONCENTRATION = 0x02
    MOLES = 0x04
    STATUS = 0x08
    CONTEXT = 0x10


# Type, GSS 2A18, to MDC (IEEE 11073-10417). What a meter leaves undetermined, and a type that
# is reserved, is taken for undetermined plasma: meters report plasma equivalents.
_UNDETERMINED = "160368"
TYPES = {
    1: "160184",
    2: "160188",
    3: "160192",
    4: "160196",
    5: "160200",
    6: "160204",
    7: "160364",
    8: _UNDETERMINED,
    9: "160212",
}
SITES = {1: "finger", 2: "alternate-site", 3: "earlobe", 4: "control-solution"}

# What meters display: 10 to 600 mg/dL, some to 900. Ten times that is no blood.
_BOUNDS = {
    "mg/dL": Bounds(plausible=(10, 900), possible=(0, 9000)),
    "mmol/L": Bounds(plausible=(1, 50), possible=(0, 500)),
}
# kg/L is 10^5 mg/dL, mol/L is 10^3 mmol/L: powers of ten, so that no digit changes.
_SHIFT = {"mg/dL": 5, "mmol/L": 3}

_STATUS = {0x0001: "battery-low"}
_DOUBTS = {
    0x0002: "sensor-malfunction",
    0x0004: "sample-insufficient",
    0x0008: "strip-insertion-error",
    0x0010: "strip-type-incorrect",
    0x0020: "above-range",
    0x0040: "below-range",
    0x0080: "temperature-too-high",
    0x0100: "temperature-too-low",
    0x0200: "strip-pulled-too-soon",
    0x0400: "device-fault",
    0x0800: "time-fault",
}


@dataclass(frozen=True, slots=True)
class Header:
    """What makes a record findable: its number, and whether a context follows it."""

    sequence: int
    context_follows: bool


def header(raw: bytes) -> Header:
    """The header of a 2A18; `ProtocolFault` where it is too short."""
    reader = Reader(raw)
    flags = Flag(reader.unsigned(1) & 0x1F)
    return Header(reader.unsigned(2), Flag.CONTEXT in flags)


def decode(raw: bytes, *, name: str | None = None) -> Outcome:
    """Decode one 2A18 of a meter that shows itself as `name`; `ProtocolFault` where it can't be.

    The concentration is in `mg/dL` or `mmol/L`, as the meter counts. A record without one, with
    a negative one (some meters store ketones so), and one of control solution is `NoReading`; one
    with a special value is so too, with that report. The sequence number makes every record
    repeatable.
    """
    reader = Reader(raw)
    flags = Flag(reader.unsigned(1) & 0x1F)
    reader.unsigned(2)
    quirks = deviations(card("glucose-meter").quirks, name)
    clock = read_clock(reader, present=True, quirks=quirks)
    when = _moved(clock.time, reader.unsigned(2)) if Flag.OFFSET in flags else clock.time
    concentration: Decimal | Special | None = None
    kind = place = 0
    if Flag.CONCENTRATION in flags:
        concentration = reader.sfloat()
        kind, place = _nibbles(reader.unsigned(1))
    status = reader.unsigned(2) if Flag.STATUS in flags else 0
    reader.end()
    if kind == CONTROL_SOLUTION or SITES.get(place) == "control-solution":
        return NoReading("The record is a test of the meter with control solution.")
    if concentration is None:
        return NoReading(_EMPTY)
    about = replace(
        dated(KIND, raw, clock),
        repeatable=True,
        device_time=when,
        clock_trusted=clock.trusted and when is not None,
        site=SITES.get(place),
        status=tuple(word for bit, word in _STATUS.items() if status & bit),
        quality=(*_doubts(status), *clock.quality),
        from_memory=True,
    )
    if isinstance(concentration, Special):
        return failure(_EMPTY, about, concentration)
    if concentration < 0:
        return NoReading(_EMPTY)
    value, quality = _judge(concentration, "mmol/L" if Flag.MOLES in flags else "mg/dL", kind)
    return Decoded((replace(about, values=(value,), quality=(*quality, *about.quality)),))


def decode_context_frame(raw: bytes, *, name: str | None = None) -> Outcome:
    """Check one 2A34: by itself it is no reading, the session joins it to its record."""
    del name
    decode_context(raw)
    return NoReading("This tells what went with a glucose record, and is no reading by itself.")


DECODERS: Mapping[str, DecodeFunction] = {"2A18": decode, "2A34": decode_context_frame}


def _judge(number: Decimal, unit: str, kind: int) -> tuple[Value, tuple[str, ...]]:
    shifted = number.scaleb(_SHIFT[unit])
    plausible = is_plausible(shifted, _BOUNDS[unit], WHAT)
    value = Value(TYPES.get(kind, _UNDETERMINED), written_out(shifted, WHAT), unit)
    return value, () if plausible else (IMPLAUSIBLE,)


def _doubts(status: int) -> tuple[str, ...]:
    return tuple(word for bit, word in _DOUBTS.items() if status & bit)


def _nibbles(octet: int) -> tuple[int, int]:
    return octet & 0x0F, octet >> 4


def _moved(base: datetime | None, offset: int) -> datetime | None:
    """Base Time moved by Time Offset, in signed minutes; None where that ran over."""
    if offset in _OFFSET_RAN_OVER:
        return None
    minutes = offset - 0x10000 if offset & 0x8000 else offset
    try:
        return base and base + timedelta(minutes=minutes)
    except OverflowError:
        raise ProtocolFault("The meter sent a date or time that cannot be.") from None
