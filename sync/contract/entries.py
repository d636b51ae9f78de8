"""Messages one behind the other, as a file carries them (contract, part 10).

channel length u8 | channel | frame length u32 | frame | … | zeros
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sync.contract.errors import ContractFault

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

RECEIPTS_MAGIC = b"QFLD"
FILE_MAX = 2 << 20
"""The most bytes of a file on a stick, of either kind (C-10.2)."""
_CHANNEL = re.compile(rb"[a-z/-]{1,64}")
_LENGTH = struct.Struct(">I")


@dataclass(frozen=True, slots=True)
class Entry:
    """A message, and the channel (C-3.3) on which it would have travelled."""

    channel: str
    frame: bytes = field(repr=False)

    @property
    def size(self) -> int:
        """The bytes that it takes in a file."""
        return 1 + len(self.channel) + _LENGTH.size + len(self.frame)


def pack(entries: Iterable[Entry]) -> bytes:
    """The entries as bytes."""
    return b"".join(
        bytes([len(each.channel)])
        + each.channel.encode("ascii")
        + _LENGTH.pack(len(each.frame))
        + each.frame
        for each in entries
    )


def unpack(content: bytes) -> tuple[Entry, ...]:
    """Take the bytes apart; ContractFault `entries` where they are not whole."""
    return tuple(_read(content))


def encode_receipts(frames: Iterable[bytes]) -> bytes:
    """A file of receipts, not sealed: each frame carries the centre's signature (C-10.9)."""
    return RECEIPTS_MAGIC + pack(Entry("down/receipt", frame) for frame in frames)


def decode_receipts(content: bytes) -> tuple[bytes, ...]:
    """The frames of a file of receipts, unverified; ContractFault `magic` or `entries`."""
    if content[:4] != RECEIPTS_MAGIC:
        raise ContractFault("magic", "the file is no file of receipts")
    return tuple(each.frame for each in unpack(content[4:]) if each.channel == "down/receipt")


def _read(content: bytes) -> Iterator[Entry]:
    at = 0
    while at < len(content) and content[at]:
        start = at + 1 + content[at]
        channel, begin = content[at + 1 : start], start + _LENGTH.size
        if len(content) < begin or not _CHANNEL.fullmatch(channel):
            raise ContractFault("entries", "an entry is torn, or has no channel")
        (length,) = _LENGTH.unpack_from(content, start)
        at = begin + length
        if not length or at > len(content):
            raise ContractFault("entries", "an entry is torn")
        yield Entry(channel.decode("ascii"), content[begin:at])
    if content[at:].strip(b"\0"):
        raise ContractFault("entries", "something stands behind the last entry")
