"""Frames of a SureTemp Plus: bytes in, frames out, every other byte accounted for. Pure.

Manual 71332-0000B, «Packet Structure»: 03 02 10, command (two bytes), type (01 command, 02
done, 03 refused), size of the content (16 bits, little-endian), content, and a byte that makes
the sum of the whole frame 0 modulo 256.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum, StrEnum

from drivers.framing import Skipped, StreamFramer

PREAMBLE = b"\x03\x02\x10"
LONGEST = 256
"""No command of the manual has more content than this."""

_HEAD = 8


class Type(IntEnum):
    """What a frame is."""

    COMMAND = 1
    DONE = 2
    REFUSED = 3


class Reason(StrEnum):
    """Why bytes were skipped, each a phrase for a technician."""

    NO_PREAMBLE = "bytes that begin no frame"
    TYPE = "a frame that is neither command nor answer"
    LENGTH = "a frame with an impossible length"
    CHECKSUM = "a frame with a wrong checksum"
    CUT = "a frame that is cut short"


@dataclass(frozen=True, slots=True)
class Frame:
    """One whole frame whose checksum holds; `command` is its two bytes, `type` a `Type`."""

    command: bytes
    type: Type
    content: bytes = field(repr=False)
    raw: bytes = field(repr=False)


Event = Frame | Skipped


def encode(command: bytes, kind: Type, content: bytes = b"") -> bytes:
    """Build one frame, checksum included: the inverse of `Framer`."""
    body = PREAMBLE + command + bytes([kind]) + len(content).to_bytes(2, "little") + content
    return body + bytes([-sum(body) % 256])


class Framer(StreamFramer[Frame]):
    """Finds frames in a stream; a failed one costs one byte."""

    CUT = Reason.CUT

    def _judge(self, at: int) -> Frame | str | None:
        return _judge(bytes(self._buffer[at : at + _HEAD + LONGEST + 1]))


def _judge(window: bytes) -> Frame | Reason | None:
    """The frame that begins a window, why there is none, or None while bytes are missing."""
    if window[:3] != PREAMBLE[: len(window)]:
        return Reason.NO_PREAMBLE
    if len(window) < _HEAD:
        return None
    if window[5] not in set(Type):
        return Reason.TYPE
    size = int.from_bytes(window[6:_HEAD], "little")
    if size > LONGEST:
        return Reason.LENGTH
    return _checked(window[: _HEAD + size + 1], size)


def _checked(raw: bytes, size: int) -> Frame | Reason | None:
    if len(raw) <= _HEAD + size:
        return None
    if sum(raw) % 256:
        return Reason.CHECKSUM
    return Frame(raw[3:5], Type(raw[5]), raw[_HEAD:-1], raw)
