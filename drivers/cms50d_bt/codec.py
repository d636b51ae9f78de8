"""Packets of a Contec CMS50D-BT clip, and of others of its protocol. Pure.

0xEB, a kind, content, and the last seven bits of the sum of all before. Kind 1 has eight octets:
whether a finger is in, pulse rate, saturation, 0x7F and 0. Kind 0, six octets, is the pulse wave.
A clip without a finger says 4, one with a finger 6 (OxiVis issue 2) or, of another make, 5.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from drivers.clip import Silence, decode_packets, oximetry
from drivers.errors import ProtocolFault
from drivers.packets import Layout, PacketFramer

if TYPE_CHECKING:
    from drivers.base import Measurement, Outcome

START: Final = b"\xeb"
VALUES: Final = b"\xeb\x01"
NO_FINGER: Final = 4
FINGER: Final = frozenset({5, 6})
INVALID: Final = 0x7F

_SIZES: Final = {0: 6, 1: 8}


def checksum(octets: bytes) -> int:
    """The last seven bits of the sum."""
    return sum(octets) & 0x7F


class Framer(PacketFramer):
    """Finds the packets in what the radio cuts into notifications."""

    def __init__(self) -> None:
        super().__init__(
            Layout(
                start=START,
                header=len(VALUES),
                size=lambda header: _SIZES.get(header[1]),
                sound=lambda raw: checksum(raw[:-1]) == raw[-1],
            )
        )


def values(saturation: int, pulse: int, finger: int = 6) -> bytes:
    """The packet of a value: the inverse, for simulators and tests."""
    body = VALUES + bytes([finger, pulse, saturation, INVALID, 0])
    return body + bytes([checksum(body)])


def decode(raw: bytes, *, name: str | None = None) -> Outcome:
    """Decode whole packets; see `drivers.clip.decode_packets`."""
    del name
    return decode_packets(Framer(), raw, said)


def said(raw: bytes) -> Measurement | Silence:
    """What one sound packet says; `ProtocolFault` where no clip can have measured it."""
    if not raw.startswith(VALUES):
        return Silence.BESIDE
    finger, pulse, saturation = raw[2:5]
    if finger == NO_FINGER:
        return Silence.NO_FINGER
    if finger not in FINGER:
        raise ProtocolFault("The clip says something of its value that is not known.", 2)
    if {pulse, saturation} & {0, INVALID}:
        return Silence.NO_VALUE
    return oximetry(raw, saturation, pulse)
