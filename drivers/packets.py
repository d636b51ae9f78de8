"""Packets with a start, a length and a checksum, found in whatever pieces they come. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from drivers.framing import Skipped

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


class PacketFramer:
    """Finds packets in a stream; holds less than one packet between two calls.

    A failed packet costs one octet: the search goes on at its second, so that a packet hidden
    behind a false start is still found. Every octet fed leaves in exactly one event.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._buffer = bytearray()

    @property
    def holds(self) -> bool:
        """Whether the beginning of a packet waits for the rest."""
        return bool(self._buffer)

    def feed(self, chunk: bytes) -> list[Event]:
        """Take octets as they came; give what they completed, in order. Raises nothing."""
        self._buffer += chunk
        return self._scan(ended=False)

    def close(self) -> list[Event]:
        """No more octets belong to what came before: give what hid behind a cut packet."""
        return self._scan(ended=True)

    def _scan(self, *, ended: bool) -> list[Event]:
        events: list[Event] = []
        at = skipped_from = 0
        reason = ""
        while at < len(self._buffer):
            found = self._judge(at)
            if found is None and not ended:
                break
            if isinstance(found, Packet):
                events += self._skipped(skipped_from, at, reason)
                events.append(found)
                at = skipped_from = at + len(found.raw)
                reason = ""
            else:
                reason = reason or found or CUT
                at += 1
        events += self._skipped(skipped_from, at, reason)
        del self._buffer[:at]
        return events

    def _judge(self, at: int) -> Packet | str | None:
        """The packet that begins at `at`, why there is none, or None while octets are missing."""
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

    def _skipped(self, start: int, end: int, reason: str) -> list[Event]:
        return [Skipped(bytes(self._buffer[start:end]), reason)] if end > start else []


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
