"""Thermometers that say a temperature otherwise than by 2A1C. Pure.

The patch Temp Sitter (iRULU) notifies eight octets on FFE1: 0xAA, 6, 0x11, 0, the temperature in
hundredths of a degree (u16, little-endian), 0, and the sum of octets 1 to 6 (posted captures).
FreeTec PX-1737 connects to nobody: it calls its temperature out, a FLOAT as service data of 1809.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from drivers.base import Decoded, Measurement, NoReading, Outcome, Value
from drivers.errors import ProtocolFault
from drivers.medfloat import Reader, Special
from drivers.packets import sum8
from drivers.spot import IMPLAUSIBLE, Bounds, is_plausible, written_out

KIND: Final = "body-temperature"
TEMPERATURE: Final = "150364"
CELSIUS: Final = Bounds(plausible=(30, 45), possible=(0, 100))
"""Beyond the freezing and boiling of water no body was measured, nor the room around it."""

FAILED: Final = "The thermometer reports that it could not measure."

PATCH: Final = b"\xaa\x06\x11\x00"
PATCH_SIZE: Final = 8


def decode_patch(raw: bytes, *, name: str | None = None) -> Outcome:
    """Decode one FFE1 of a patch; `ProtocolFault` where it is not exactly one."""
    del name
    if len(raw) != PATCH_SIZE:
        raise ProtocolFault("The frame has the wrong length.", min(len(raw), PATCH_SIZE))
    if not raw.startswith(PATCH):
        raise ProtocolFault("The frame is not one of a temperature.", 0)
    if sum8(raw[1:-1]) != raw[-1]:
        raise ProtocolFault("The frame has a wrong checksum.", PATCH_SIZE - 1)
    return _celsius(raw, Decimal(int.from_bytes(raw[4:6], "little")).scaleb(-2))


def encode_patch(hundredths: int) -> bytes:
    """The frame of a temperature: the inverse, for simulators."""
    body = PATCH + hundredths.to_bytes(2, "little") + b"\0"
    return body + bytes([sum8(body[1:])])


def decode_called(raw: bytes, *, name: str | None = None) -> Outcome:
    """Decode the service data of 1809; `ProtocolFault` where it is not one FLOAT."""
    del name
    reader = Reader(raw)
    temperature = reader.float()
    reader.end()
    if isinstance(temperature, Special):
        return NoReading(FAILED)  # it calls again every second: no report of its own
    return _celsius(raw, temperature)


def _celsius(raw: bytes, number: Decimal) -> Decoded:
    quality = () if is_plausible(number, CELSIUS, "temperature") else (IMPLAUSIBLE,)
    value = Value(TEMPERATURE, written_out(number, "temperature"), "Cel")
    return Decoded((Measurement(KIND, raw, (value,), quality=quality),))
