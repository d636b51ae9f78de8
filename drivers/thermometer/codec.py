"""Temperature Measurement (2A1C) of Bluetooth GSS: one indication, one reading. Pure.

Intermediate Temperature (2A1E) is shown while the thermometer works, and never stored.
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
from drivers.thermometer.others import (
    CELSIUS,
    FAILED,
    KIND,
    TEMPERATURE,
    decode_called,
    decode_patch,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from drivers.base import DecodeFunction


class Flag(IntFlag):
    """Octet 0 of 2A1C. Bits 3 to 7 are reserved and ignored."""

    FAHRENHEIT = 0x01
    TIME = 0x02
    SITE = 0x04


_BOUNDS = {
    "Cel": CELSIUS,
    "[degF]": Bounds(plausible=(86, 113), possible=(32, 212)),
}

# Temperature Type, GSS 2A1D. FORA IR20 sends the reserved 0.
SITES = {
    1: "armpit",
    2: "body",
    3: "ear",
    4: "finger",
    5: "gastrointestinal-tract",
    6: "mouth",
    7: "rectum",
    8: "toe",
    9: "tympanum",
}


def decode(raw: bytes, *, name: str | None = None) -> Outcome:
    """Decode one 2A1C of a thermometer called `name`; `ProtocolFault` where it breaks GSS.

    The temperature keeps the unit sent (`Cel` or `[degF]`). A special value instead of a
    temperature is a failed measurement: `NoReading` with that report. A reserved site is no site.
    """
    quirks = deviations(card("thermometer").quirks, name)
    reader = Reader(raw)
    flags = Flag(reader.unsigned(1) & 0x07)
    temperature = reader.float()
    clock = read_clock(reader, present=Flag.TIME in flags, quirks=quirks)
    site = reader.unsigned(1) if Flag.SITE in flags else 0
    reader.end()
    about = replace(dated(KIND, raw, clock), site=SITES.get(site))
    if isinstance(temperature, Special):
        return failure(FAILED, about, temperature)
    unit = "[degF]" if Flag.FAHRENHEIT in flags else "Cel"
    plausible = is_plausible(temperature, _BOUNDS[unit], "temperature")
    values = (Value(TEMPERATURE, written_out(temperature, "temperature"), unit),)
    quality = () if plausible else (IMPLAUSIBLE,)
    return Decoded((replace(about, values=values, quality=quality + clock.quality),))


def decode_intermediate(raw: bytes, *, name: str | None = None) -> Outcome:
    """Decode one 2A1E, laid out as 2A1C, of a thermometer at work: never a reading.

    So it is `NoReading`, with what may be shown; `ProtocolFault` as for 2A1C.
    """
    outcome = decode(raw, name=name)
    live = outcome.readings[0].values if isinstance(outcome, Decoded) else ()
    return NoReading("The thermometer is still measuring.", live)


DECODERS: Mapping[str, DecodeFunction] = {
    "2A1C": decode,
    "2A1E": decode_intermediate,
    "FFE1": decode_patch,
    "1809": decode_called,
}
