"""`DBLK` framing: bytes in, blocks out, every other byte accounted for.

HP6_DATA_FORMAT.md section 3, all little-endian: `DBLK`, total length u32, seq u32, t_ms u64,
channel u8, flags u8, sample count u16, reserved u32, payload, CRC-32 of all before it.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field
from enum import StrEnum

from drivers.framing import Skipped, StreamFramer

MAGIC = b"DBLK"
OVERHEAD = 32
LONGEST = 65536

_HEADER = struct.Struct("<4sIIQBBHI")
_CHECKSUM = struct.Struct("<I")
_LENGTH_END = 8


class Reason(StrEnum):
    """Why bytes were skipped, each a sentence for a technician."""

    NO_MAGIC = "bytes that begin no block"
    LENGTH = "a block with an impossible length"
    CHECKSUM = "a block with a wrong checksum"
    CUT = "a block that is cut short"


@dataclass(frozen=True, slots=True)
class Block:
    """One whole block whose checksum holds. `t_ms` is uptime at its first sample."""

    seq: int
    t_ms: int
    channel: int
    flags: int
    count: int
    raw: bytes = field(repr=False)

    @property
    def payload(self) -> bytes:
        """The samples, `count` times the size of the channel's sample."""
        return self.raw[_HEADER.size : -_CHECKSUM.size]


Event = Block | Skipped


def encode(seq: int, t_ms: int, channel: int, payload: bytes, count: int, flags: int = 0) -> bytes:
    """Build one block, checksum included: the inverse of `Framer` for simulators and tests."""
    length = OVERHEAD + len(payload)
    head = _HEADER.pack(MAGIC, length, seq, t_ms, channel, flags, count, 0)
    return head + payload + _CHECKSUM.pack(zlib.crc32(head + payload))


class Framer(StreamFramer[Block]):
    """Finds blocks in a stream. Holds less than `LONGEST` bytes between two calls.

    After a failed block the search goes on at its second byte.
    """

    CUT = Reason.CUT

    def _judge(self, at: int) -> Block | str | None:
        left = len(self._buffer) - at
        if self._buffer[at : at + len(MAGIC)] != MAGIC[:left]:
            return Reason.NO_MAGIC
        if left < _LENGTH_END:
            return None
        length = int.from_bytes(self._buffer[at + len(MAGIC) : at + _LENGTH_END], "little")
        if not OVERHEAD <= length <= LONGEST:
            return Reason.LENGTH
        if left < length:
            return None
        return _checked(bytes(self._buffer[at : at + length]))

    def _next_start(self, at: int) -> int:
        """The next place behind `at` where a block may begin, be it only its first byte."""
        found = self._buffer.find(MAGIC, at + 1)
        if found >= 0:
            return found
        for kept in range(len(MAGIC) - 1, 0, -1):
            if len(self._buffer) - kept > at and self._buffer.endswith(MAGIC[:kept]):
                return len(self._buffer) - kept
        return len(self._buffer)


def _checked(raw: bytes) -> Block | Reason:
    (checksum,) = _CHECKSUM.unpack_from(raw, len(raw) - _CHECKSUM.size)
    if zlib.crc32(memoryview(raw)[: -_CHECKSUM.size]) != checksum:
        return Reason.CHECKSUM
    _, _, seq, t_ms, channel, flags, count, _ = _HEADER.unpack_from(raw)
    return Block(seq, t_ms, channel, flags, count, raw)
