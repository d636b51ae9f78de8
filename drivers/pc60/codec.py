"""Packets of a PC-60 clip (PC-60F, PC-60FW, PC-60NW). Pure.

0xAA 0x55, a family, the length of what follows with the checksum, a function, content, and
CRC-8/MAXIM of all before. Function 1 of family 0x0F has the saturation, the pulse rate (u16
little-endian), ten times the perfusion index, and the status: bit 1 no finger, bit 2 the pulse
is searched (sza2/viatom_pc60fw; Lepu's PC-60 protocol). Its last octet, a battery by that
protocol, differs between models and is not read.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Final

from drivers.clip import Silence, decode_packets, oximetry
from drivers.errors import ProtocolFault
from drivers.packets import Layout, PacketFramer, crc8_maxim

if TYPE_CHECKING:
    from drivers.base import Measurement, Outcome

START: Final = b"\xaa\x55"
VALUES: Final = b"\xaa\x55\x0f\x08\x01"
NO_FINGER: Final = 0x02
SEARCHING: Final = 0x04

_HEADER = 4
_LONGEST = 64


def _size(header: bytes) -> int | None:
    return _HEADER + header[3] if 2 <= header[3] <= _LONGEST else None  # noqa: PLR2004


LAYOUT: Final = Layout(
    start=START, header=_HEADER, size=_size, sound=lambda raw: crc8_maxim(raw[:-1]) == raw[-1]
)


class Framer(PacketFramer):
    """Finds the packets in what the radio cuts into notifications."""

    def __init__(self) -> None:
        super().__init__(LAYOUT)


def packet(head: bytes, content: bytes) -> bytes:
    """A whole packet from its start to its function, its content, and the checksum."""
    return head + content + bytes([crc8_maxim(head + content)])


def values(saturation: int, pulse: int, perfusion_tenths: int, status: int = 0) -> bytes:
    """The packet of a value: the inverse, for simulators and tests."""
    said = bytes([saturation]) + pulse.to_bytes(2, "little")
    return packet(VALUES, said + bytes([perfusion_tenths, status, 0xC0]))


def decode(raw: bytes, *, name: str | None = None) -> Outcome:
    """Decode whole packets; see `drivers.clip.decode_packets`."""
    del name
    return decode_packets(Framer(), raw, said)


def said(raw: bytes) -> Measurement | Silence:
    """What one sound packet says; `ProtocolFault` where no clip can have measured it."""
    if not raw.startswith(VALUES):
        return Silence.BESIDE
    saturation, pulse = raw[5], int.from_bytes(raw[6:8], "little")
    perfusion, status = Decimal(raw[8]).scaleb(-1), raw[9]
    if status & NO_FINGER:
        return Silence.NO_FINGER
    if status & SEARCHING or saturation == 0 or pulse == 0:
        return Silence.NO_VALUE
    if status:
        raise ProtocolFault("The clip says something of its value that is not known.", 9)
    return oximetry(raw, saturation, pulse, perfusion)
