"""The write-ahead log and its index as files: what they hold, and what they prove was there.

Format: sqlite.org/fileformat2.html, part 4, and sqlite.org/walformat.html. Nothing is changed.
"""

from __future__ import annotations

import os
import struct
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agent.damage.cipher import PAGE

if TYPE_CHECKING:
    from pathlib import Path

    from agent.damage.cipher import PageKey

_HEADER, _FRAME = 32, 24
STEP = _FRAME + PAGE
_ORDERS = {b"\x37\x7f\x06\x82": "<", b"\x37\x7f\x06\x83": ">"}
"""The log's mark says in which order of bytes its checksums count."""
_INDEX_HEADER = 48
_BACKFILL = 96


@dataclass(frozen=True, slots=True)
class Frame:
    """One page in the log: where it begins, its number, and the size at a commit (else 0)."""

    offset: int
    page: int
    commit: int
    salts: bytes

    @property
    def number(self) -> int:
        """Its place in the log, counted from 1."""
        return (self.offset - _HEADER - _FRAME) // STEP + 1


@dataclass(frozen=True, slots=True)
class Index:
    """What the shared index says of the log: frames committed, frames copied, and which log.

    SQLite writes it after the log was fsynced, so what it counts was durable (wal.c,
    walIndexWriteHdr after walFrames).
    """

    frames: int
    copied: int
    salts: bytes


class LogFile:
    """The frames of the log's present generation, in order, up to its last commit.

    `whole` says that the log's own head is sound; `beyond` are frames of the same generation
    behind the last commit.
    """

    def __init__(self, path: Path, key: PageKey) -> None:
        self._file = os.open(path, os.O_RDONLY) if path.exists() else None
        frames, self.whole, self.salts = _frames(self._file, key)
        last = max((at for at, frame in enumerate(frames) if frame.commit), default=-1)
        self.all = frames
        self.frames = frames[: last + 1]

    def proven(self, key: PageKey, known: int) -> int:
        """The number of the last commit up to which nothing is missing and all can be read.

        That so many are `known` to have been committed is not looked at again. SQLite reads no
        further (part 4.4): what a power cut left of a commit that was under way may hold its last
        frame and not those before.
        """
        last = known
        behind = [each for each in self.all if each.number > known]
        for number, frame in enumerate(behind, known + 1):
            if frame.number != number or not key.sound(frame.page, self.page(frame)):
                break
            last = number if frame.commit else last
        return last

    def page(self, frame: Frame) -> bytes:
        """The page that a frame holds, as it lies there."""
        return b"" if self._file is None else os.pread(self._file, PAGE, frame.offset)

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            os.close(self._file)


def read_index(path: Path) -> Index | None:
    """What the index proves; None where there is none or it is not sound."""
    try:
        head = path.read_bytes()[: _BACKFILL + 4]
    except FileNotFoundError:
        return None
    copy = head[_INDEX_HEADER : 2 * _INDEX_HEADER]
    if len(head) < _BACKFILL + 4 or head[:_INDEX_HEADER] != copy:
        return None
    if not any(copy) or not _summed(copy, "<" if sys.byteorder == "little" else ">"):
        return None
    (frames,) = struct.unpack_from("=I", copy, 16)
    (copied,) = struct.unpack_from("=I", head, _BACKFILL)
    return Index(frames, min(copied, frames), copy[32:40])


def _summed(content: bytes, order: str) -> bool:
    """Whether 32-bit words end with their own checksum (sqlite.org/fileformat2.html, 4.2)."""
    words = struct.unpack(f"{order}{len(content) // 4}I", content)
    first = second = 0
    for at in range(0, len(words) - 2, 2):
        first = first + words[at] + second & 0xFFFFFFFF
        second = second + words[at + 1] + first & 0xFFFFFFFF
    return (first, second) == words[-2:]


def _is_whole(head: bytes) -> bool:
    """Whether the log's head is sound. Its own sums are big-endian, whatever they count in."""
    order = _ORDERS.get(head[:4])
    if order is None or len(head) < _HEADER:
        return False
    said = struct.unpack(">2I", head[24:])
    return _summed(head[:24] + struct.pack(f"{order}2I", *said), order)


def _frames(file: int | None, key: PageKey) -> tuple[list[Frame], bool, bytes]:
    if file is None:
        return [], True, b""
    head = os.pread(file, _HEADER, 0)
    whole = _is_whole(head)
    found = []
    for offset in range(_HEADER, os.fstat(file).st_size - STEP + 1, STEP):
        page, commit, salts = struct.unpack(">II8s8x", os.pread(file, _FRAME, offset))
        found.append(Frame(offset + _FRAME, page, commit, salts))
    salts = head[16:24] if whole else _guess(file, found, key)
    return [each for each in found if each.salts == salts], whole, salts


def _guess(file: int, frames: list[Frame], key: PageKey) -> bytes:
    """The generation of a log without a head: that of its first sound frame."""
    for each in frames:
        if key.sound(each.page, os.pread(file, PAGE, each.offset)):
            return each.salts
    return b""
