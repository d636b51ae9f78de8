"""Blood Pressure Measurement (2A35) of Bluetooth GSS: one indication, one reading. Pure.

Intermediate Cuff Pressure (2A36) is shown while the cuff works, and never stored.
"""

from __future__ import annotations

from dataclasses import replace
from enum import IntFlag
from typing import TYPE_CHECKING

from drivers.base import Decoded, NoReading, Outcome, Value
from drivers.card import card
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
    from decimal import Decimal

    from drivers.base import DecodeFunction
    from drivers.medfloat import Order

KIND = "blood-pressure"

SYSTOLIC = "150021"
DIASTOLIC = "150022"
MEAN = "150023"
PULSE = "149546"
CUFF = "150300"

UNKNOWN_USER = 0xFF
INCOMPLETE = "incomplete"


class Flag(IntFlag):
    """Octet 0 of 2A35. Bits 5 to 7 are reserved, set by real cuffs, and ignored."""

    KPA = 0x01
    TIME = 0x02
    PULSE = 0x04
    USER = 0x08
    STATUS = 0x10


# IEC 80601-2-30 lets no cuff press harder than 300 mmHg; twice that is no pressure of an arm.
_BOUNDS = {
    "mm[Hg]": Bounds(plausible=(30, 300), possible=(0, 600)),
    "kPa": Bounds(plausible=(4, 40), possible=(0, 80)),
    "/min": Bounds(plausible=(30, 300), possible=(0, 600)),
}

_STATUS = {
    0x0001: "body-movement",
    0x0002: "cuff-too-loose",
    0x0004: "irregular-pulse",
    0x0008: "pulse-above-range",
    0x0010: "pulse-below-range",
    0x0020: "improper-position",
}
_PULSE_RANGE = 0x0018


def decode(raw: bytes, *, name: str | None = None) -> Outcome:
    """Decode one 2A35 of a cuff called `name`; `ProtocolFault` where the frame breaks GSS.

    Pressures keep the unit sent (`mm[Hg]` or `kPa`). A cuff without a systolic pressure
    reports a failed measurement: `NoReading` with that report. The name chooses the quirks of
    the card.
    """
    quirks = deviations(card("blood-pressure").quirks, name)
    reader = Reader(raw)
    flags = Flag(reader.unsigned(1) & 0x1F)
    pressures = [reader.sfloat() for _ in (SYSTOLIC, DIASTOLIC, MEAN)]
    clock = read_clock(reader, present=Flag.TIME in flags, quirks=quirks)
    pulse = reader.sfloat(_order("big-endian-pulse", quirks)) if Flag.PULSE in flags else None
    with_user = Flag.USER in flags or "hidden-user" in quirks
    user = reader.unsigned(1) if with_user else UNKNOWN_USER
    order = _order("big-endian-status", quirks)
    status = reader.unsigned(2, order) if Flag.STATUS in flags else 0
    reader.end()
    about = replace(
        dated(KIND, raw, clock),
        user_slot=None if user == UNKNOWN_USER else user,
        status=_status(status),
    )
    systolic, diastolic, mean = pressures
    if isinstance(systolic, Special):
        return failure("The cuff reports that it could not measure.", about, systolic)
    if mean == 0 and "zero-mean-is-absent" in quirks:
        mean = Special.NAN
    values, quality = _judge(systolic, diastolic, mean, pulse, flags)
    return Decoded((replace(about, values=values, quality=(*quality, *about.quality)),))


def decode_intermediate(raw: bytes, *, name: str | None = None) -> Outcome:
    """Decode one 2A36, the pressure in a cuff at work: never a reading, so `NoReading`.

    Laid out as 2A35, with the pressure where the systolic one stands. `ProtocolFault` as there.
    """
    outcome = decode(raw, name=name)
    live: tuple[Value, ...] = ()
    if isinstance(outcome, Decoded):
        pressure = outcome.readings[0].values[0]
        live = (Value(CUFF, pressure.value, pressure.unit),)
    return NoReading("The cuff is still measuring.", live)


DECODERS: Mapping[str, DecodeFunction] = {"2A35": decode, "2A36": decode_intermediate}


def _order(quirk: str, quirks: frozenset[str]) -> Order:
    return "big" if quirk in quirks else "little"


def _judge(
    systolic: Decimal,
    diastolic: Decimal | Special,
    mean: Decimal | Special,
    pulse: Decimal | Special | None,
    flags: Flag,
) -> tuple[tuple[Value, ...], tuple[str, ...]]:
    pressure = "kPa" if Flag.KPA in flags else "mm[Hg]"
    said = (
        (SYSTOLIC, "systolic pressure", systolic, pressure),
        (DIASTOLIC, "diastolic pressure", diastolic, pressure),
        (MEAN, "mean pressure", mean, pressure),
        (PULSE, "pulse rate", pulse, "/min"),
    )
    values = []
    plausible = isinstance(diastolic, Special) or systolic > diastolic
    for code, what, number, unit in said:
        if number is None or isinstance(number, Special):
            continue
        plausible &= is_plausible(number, _BOUNDS[unit], what)
        values.append(Value(code, written_out(number, what), unit))
    incomplete = (INCOMPLETE,) if isinstance(diastolic, Special) else ()
    return tuple(values), incomplete + (() if plausible else (IMPLAUSIBLE,))


def _status(word: int) -> tuple[str, ...]:
    if word & _PULSE_RANGE == _PULSE_RANGE:
        word &= ~_PULSE_RANGE  # the two bits are one number, and 3 is reserved
    return tuple(name for bit, name in _STATUS.items() if word & bit)
