"""Packets with a start, a length and a checksum, found in whatever pieces they come. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from drivers.framing import Skipped, StreamFramer

if TYPE_CHECKING:
    from collections.abc import Callable

NO_START: Final = "These bytes begin no packet."
LENGTH: Final = "A packet has a length that cannot be."
CHECKSUM: Final = "A packet has a wrong checksum."
CUT: Final = "A packet is cut short."


@dataclass(frozen=True, slots=True)
class Layout:
    """How a protocol frames its packets.

    `start` are the octets each begins with. `size` gives the octets of the whole packet from
    its first `header` octets, or None where no packet begins so. `sound` checks a whole one.
    """

    start: bytes
    header: int
    size: Callable[[bytes], int | None]
    sound: Callable[[bytes], bool]


@dataclass(frozen=True, slots=True)
class Packet:
    """One whole packet whose checksum holds."""

    raw: bytes = field(repr=False)


Event = Packet | Skipped


class PacketFramer(StreamFramer[Packet]):
    """Finds packets in a stream; a failed one costs one octet."""

    CUT = CUT

    def __init__(self, layout: Layout) -> None:
        super().__init__()
        self._layout = layout

    def _judge(self, at: int) -> Packet | str | None:
        layout, left = self._layout, len(self._buffer) - at
        if self._buffer[at : at + len(layout.start)] != layout.start[:left]:
            return NO_START
        if left < layout.header:
            return None
        size = layout.size(bytes(self._buffer[at : at + layout.header]))
        if size is None:
            return LENGTH
        if left < size:
            return None
        raw = bytes(self._buffer[at : at + size])
        return Packet(raw) if layout.sound(raw) else CHECKSUM


def sum8(octets: bytes) -> int:
    """The checksum that is the last eight bits of a sum."""
    return sum(octets) & 0xFF


def crc8_maxim(octets: bytes) -> int:
    """CRC-8/MAXIM: polynomial 0x31 reflected (0x8C), initial value 0."""
    crc = 0
    for octet in octets:
        crc ^= octet
        for _ in range(8):
            crc = crc >> 1 ^ (0x8C if crc & 1 else 0)
    return crc
