"""How the memory of an Omron cuff is asked for, and what it answers. Pure.

A frame is its own length in one octet, what it is in two, an address in two (highest first), the
size of its data in one, the data, a result (0 for well done), and an octet that makes the
exclusive or of all of them zero. It travels in pieces of 16 octets, the last filled up with
zeros, or whole where the cuff takes longer ones (userx14/omblepy, README.md at 0f1f0ba;
eigger/hass-omron, memory_protocol.py at 4671dac).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import reduce
from operator import xor
from typing import Final

from drivers.errors import ProtocolFault

READ: Final = b"\x01\x00"
READ_ANSWER: Final = b"\x81\x00"
START_ANSWER: Final = b"\x80\x00"
END_ANSWER: Final = b"\x8f\x00"
ANSWERS: Final = frozenset({READ_ANSWER, START_ANSWER, END_ANSWER})

PIECE: Final = 16
_HEAD: Final = 6
_TAIL: Final = 2


@dataclass(frozen=True, slots=True)
class Answer:
    """One whole answer. `code` is 0 where the cuff did what it was told."""

    kind: bytes
    address: int
    code: int
    data: bytes = field(repr=False)


class Assembler:
    """Puts the pieces of one visit together: a cuff speaks only when it is asked.

    So no piece of a frame is followed by one of another, whichever of them is lost.
    """

    def __init__(self) -> None:
        self._held = b""

    def feed(self, piece: bytes) -> bytes | None:
        """Take a piece; give the frame that it completes, without what fills its last piece."""
        self._held += piece
        size = self._held[0] if self._held else 0
        if len(self._held) < size:
            return None
        frame, self._held = self._held[:size], b""
        return frame


def frame(kind: bytes, address: int, size: int, data: bytes = b"", code: int = 0) -> bytes:
    """A whole frame; `size` is that of the data it carries or asks for, in octets."""
    head = kind + address.to_bytes(2, "big") + bytes([size]) + data + bytes([code])
    length = bytes([len(head) + 2])
    return length + head + bytes([reduce(xor, length + head)])


def read(address: int, size: int) -> bytes:
    """The question for `size` octets from `address` on: `080100026026004d` for 38 at 0260."""
    return frame(READ, address, size)


START: Final = frame(b"\x00\x00", 0, PIECE)
"""Begins a talk; nothing in the cuff changes. `0800000000100018` (omblepy)."""

END: Final = frame(b"\x0f\x00", 0, 0)
"""Ends a talk; the cuff keeps its records. `080f000000000007` (omblepy)."""


def parse(whole: bytes) -> Answer:
    """Read an answer; `ProtocolFault` where it is not exactly one sound answer."""
    if len(whole) < _HEAD + _TAIL or whole[0] != len(whole):
        raise ProtocolFault("The answer has the wrong length.", 0)
    if reduce(xor, whole):
        raise ProtocolFault("The answer has a wrong checksum.", len(whole) - 1)
    kind, data = whole[1:3], whole[_HEAD:-_TAIL]
    if kind not in ANSWERS:
        raise ProtocolFault("The answer is of no kind that is known.", 1)
    answer = Answer(kind, int.from_bytes(whole[3:5], "big"), whole[-_TAIL], data)
    if whole[5] != len(data) and not (answer.code or kind == END_ANSWER):
        raise ProtocolFault("The answer has less data than it says.", 5)
    return answer


def pieces(whole: bytes) -> list[bytes]:
    """A frame as a cuff of four channels sends it."""
    return [whole[at : at + PIECE].ljust(PIECE, b"\0") for at in range(0, len(whole), PIECE)]
