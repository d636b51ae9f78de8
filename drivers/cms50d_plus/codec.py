"""Packets of a Contec CMS50D+ clip (firmware 4.6) on its serial cable. Pure.

Nine octets: 0x01, then seven bits each with the highest set. Octet 1 carries the highest bits of
the others: bit 0 says that there is a pulse wave only, bit 1 that there
is nothing (headrotor/contec_data, stream_data.py), bit 3 is the highest of the pulse rate in octet
5. Octet 6 is the saturation, and the last two are 0xFF. There is no checksum, so a packet is one
only with all of that in place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from drivers.clip import Silence, decode_packets, oximetry
from drivers.errors import ProtocolFault
from drivers.packets import Layout, PacketFramer

if TYPE_CHECKING:
    from drivers.base import Measurement, Outcome

START: Final = b"\x01"
SIZE: Final = 9
HIGH: Final = 0x80
FULL: Final = 0xE0
"""The bits of octet 1 that are always set: the last two octets are 0xFF."""
WAVE_ONLY, NOTHING, UNKNOWN, FAST, BEYOND = 0x01, 0x02, 0x04, 0x08, 0x10
TAIL: Final = b"\xff\xff"
INVALID: Final = 0x7F


def _sound(raw: bytes) -> bool:
    return all(octet & HIGH for octet in raw[1:]) and raw[1] & FULL == FULL and raw.endswith(TAIL)


class Framer(PacketFramer):
    """Finds the packets in the stream."""

    def __init__(self) -> None:
        super().__init__(Layout(START, len(START), lambda _: SIZE, _sound))


def values(saturation: int, pulse: int, flags: int = 0, wave: int = 0x33) -> bytes:
    """The packet of a value: the inverse, for simulators and tests."""
    said = bytes([0x05, wave & INVALID, 0x16, pulse, saturation])
    flags |= FAST if pulse & HIGH else 0
    return START + bytes([FULL | flags]) + bytes(octet | HIGH for octet in said) + TAIL


def decode(raw: bytes, *, name: str | None = None) -> Outcome:
    """Decode whole packets; see `drivers.clip.decode_packets`."""
    del name
    return decode_packets(Framer(), raw, said)


def said(raw: bytes) -> Measurement | Silence:
    """What one sound packet says; `ProtocolFault` where no clip can have measured it."""
    if raw[1] & NOTHING:
        return Silence.NO_FINGER
    pulse, saturation = raw[5] & ~HIGH, raw[6] & ~HIGH
    if raw[1] & WAVE_ONLY or {pulse, saturation} & {0, INVALID}:
        return Silence.NO_VALUE
    if raw[1] & (UNKNOWN | BEYOND):
        raise ProtocolFault("The clip says something of its value that is not known.", 1)
    pulse |= HIGH if raw[1] & FAST else 0
    return oximetry(raw, saturation, pulse)
