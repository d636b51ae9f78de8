"""Weight (2A9D) and Body Composition (2A9C) Measurement of Bluetooth GSS. Pure."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from enum import IntFlag
from typing import TYPE_CHECKING

from drivers.base import Decoded, Measurement, NoReading, Outcome, Value
from drivers.card import card
from drivers.medfloat import Reader, Special
from drivers.spot import (
    IMPLAUSIBLE,
    Bounds,
    Clock,
    dated,
    deviations,
    failure,
    is_plausible,
    read_clock,
)
from drivers.weight_scale.xiaomi import decode_xiaomi

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from drivers.base import DecodeFunction

KIND = "body-weight"

WEIGHT = "188736"
HEIGHT = "188740"
BODY_FAT = "188748"
MASS_INDEX = "188752"
FAT_FREE_MASS = "188756"
SOFT_LEAN_MASS = "188760"
WATER_MASS = "188764"

UNSUCCESSFUL = 0xFFFF
UNKNOWN_USER = 0xFF
_FAILED = "The scale reports that it could not weigh."
_NOTHING = NoReading("The scale weighed nothing.")


class WeightFlag(IntFlag):
    """Octet 0 of 2A9D. Bits 4 to 7 are reserved and ignored."""

    IMPERIAL = 0x01
    TIME = 0x02
    USER = 0x04
    INDEX_AND_HEIGHT = 0x08


class CompositionFlag(IntFlag):
    """Octets 0 and 1 of 2A9C. Bits 13 to 15 are reserved and ignored."""

    IMPERIAL = 0x0001
    TIME = 0x0002
    USER = 0x0004
    METABOLISM = 0x0008
    MUSCLE_SHARE = 0x0010
    MUSCLE_MASS = 0x0020
    FAT_FREE_MASS = 0x0040
    SOFT_LEAN_MASS = 0x0080
    WATER_MASS = 0x0100
    IMPEDANCE = 0x0200
    WEIGHT = 0x0400
    HEIGHT = 0x0800
    MULTIPLE_PACKET = 0x1000


_BOUNDS = {
    "kg": Bounds(plausible=(0, 300), possible=(0, 500)),
    "[lb_av]": Bounds(plausible=(0, 661), possible=(0, 1000)),
    "cm": Bounds(plausible=(20, 272), possible=(0, 400)),
    "[in_i]": Bounds(plausible=(8, 107), possible=(0, 200)),
    "kg/m2": Bounds(plausible=(5, 100), possible=(0, 1000)),
    "%": Bounds(plausible=(1, 90), possible=(0, 100)),
}
# Resolution of a unit: how many of the last decimal one count is, and how many decimals.
_SCALES = {
    "kg": (5, 3),
    "[lb_av]": (1, 2),
    "cm": (1, 1),
    "[in_i]": (1, 1),
    "kg/m2": (1, 1),
    "%": (1, 1),
}
_NAMES = {
    WEIGHT: "weight",
    HEIGHT: "height",
    MASS_INDEX: "body mass index",
    BODY_FAT: "body fat",
    FAT_FREE_MASS: "fat free mass",
    SOFT_LEAN_MASS: "soft lean mass",
    WATER_MASS: "body water",
}
_MASSES = {
    CompositionFlag.FAT_FREE_MASS: FAT_FREE_MASS,
    CompositionFlag.SOFT_LEAN_MASS: SOFT_LEAN_MASS,
    CompositionFlag.WATER_MASS: WATER_MASS,
}


def decode(raw: bytes, *, name: str | None = None) -> Outcome:
    """Decode one 2A9D of a scale that shows itself as `name`; `ProtocolFault` where it breaks GSS.

    Weight is in `kg` or `[lb_av]`, height in `cm` or `[in_i]`, with every digit of the scale's
    resolution. A weighing that failed is `NoReading` with that report, one of nothing without.
    An index or a height of 0 is one that the scale does not know.
    """
    quirks = deviations(card("weight-scale").quirks, name)
    reader = Reader(raw)
    flags = WeightFlag(reader.unsigned(1) & 0x0F)
    imperial = WeightFlag.IMPERIAL in flags
    weight = reader.unsigned(2)
    clock = read_clock(reader, present=WeightFlag.TIME in flags, quirks=quirks)
    user = reader.unsigned(1) if WeightFlag.USER in flags else UNKNOWN_USER
    said = [(WEIGHT, weight, _mass(imperial))]
    if WeightFlag.INDEX_AND_HEIGHT in flags:
        said += [(MASS_INDEX, reader.unsigned(2), "kg/m2")]
        said += [(HEIGHT, reader.unsigned(2), _length(imperial))]
    reader.end()
    if weight == 0:
        return _NOTHING
    about = _about(raw, clock, user)
    if weight == UNSUCCESSFUL:
        return failure(_FAILED, about, Special.NAN)
    return _decoded(about, said)


def decode_composition(raw: bytes, *, name: str | None = None) -> Outcome:
    """Decode one 2A9C; as `decode`. A Xiaomi scale sends a layout of its own here.

    Basal metabolism, muscle and impedance are read over: scales estimate them, each in its own
    way. A measurement spread over several packets is refused: no single part is a reading.
    """
    quirks = deviations(card("weight-scale").quirks, name)
    if "xiaomi-layout" in quirks:
        return decode_xiaomi(raw, quirks)
    reader = Reader(raw)
    flags = CompositionFlag(reader.unsigned(2) & 0x1FFF)
    imperial = CompositionFlag.IMPERIAL in flags
    fat = reader.unsigned(2)
    clock = read_clock(reader, present=CompositionFlag.TIME in flags, quirks=quirks)
    user = reader.unsigned(1) if CompositionFlag.USER in flags else UNKNOWN_USER
    said = [(BODY_FAT, fat, "%")]
    said += _rest_of_composition(reader, flags, _mass(imperial), _length(imperial))
    reader.end()
    if CompositionFlag.MULTIPLE_PACKET in flags:
        return NoReading("This is a part of a body composition that came in several pieces.")
    if not any(count for _, count, _ in said):
        return _NOTHING
    about = _about(raw, clock, user)
    if fat == UNSUCCESSFUL:
        return failure(_FAILED, about, Special.NAN)
    return _decoded(about, said)


DECODERS: Mapping[str, DecodeFunction] = {"2A9D": decode, "2A9C": decode_composition}


def _rest_of_composition(
    reader: Reader, flags: CompositionFlag, mass: str, length: str
) -> Iterable[tuple[str, int, str]]:
    for flag in (
        CompositionFlag.METABOLISM,
        CompositionFlag.MUSCLE_SHARE,
        CompositionFlag.MUSCLE_MASS,
    ):
        if flag in flags:
            reader.take(2)
    for flag, code in _MASSES.items():
        if flag in flags:
            yield code, reader.unsigned(2), mass
    if CompositionFlag.IMPEDANCE in flags:
        reader.take(2)
    if CompositionFlag.WEIGHT in flags:
        yield WEIGHT, reader.unsigned(2), mass
    if CompositionFlag.HEIGHT in flags:
        yield HEIGHT, reader.unsigned(2), length


def _mass(imperial: bool) -> str:  # noqa: FBT001 - a bit of the frame
    return "[lb_av]" if imperial else "kg"


def _length(imperial: bool) -> str:  # noqa: FBT001 - a bit of the frame
    return "[in_i]" if imperial else "cm"


def _about(raw: bytes, clock: Clock, user: int) -> Measurement:
    return replace(dated(KIND, raw, clock), user_slot=None if user == UNKNOWN_USER else user)


def _decoded(about: Measurement, said: Iterable[tuple[str, int, str]]) -> Decoded:
    values = []
    plausible = True
    for code, count, unit in said:
        if not count:
            continue
        step, decimals = _SCALES[unit]
        number = Decimal(count * step).scaleb(-decimals)
        plausible &= is_plausible(number, _BOUNDS[unit], _NAMES[code])
        values.append(Value(code, number, unit))
    quality = () if plausible else (IMPLAUSIBLE,)
    return Decoded((replace(about, values=tuple(values), quality=quality + about.quality),))
