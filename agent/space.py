"""Room on the disk: a ballast that is let go of when it is full, and who may use what is left.

On a full disk not even a receipt can be settled, so nothing could ever be let go of again. The
ballast keeps room for that: while it is released, new readings are refused aloud.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog

if TYPE_CHECKING:
    from pathlib import Path

    from agent.store.store import Store

NAME = "ballast"
EVERY = 1.0
"""Seconds between two looks, monotonic: so soon after there is room readings are taken again."""
_BALLAST, _BALLAST_PART = 64 << 20, 16
"""Bytes of the ballast, and the part of a small disk that it has at most: one in so many."""
_SCARCE, _SCARCE_PART = 64 << 20, 100
"""Bytes left below which what is in a backup of the centre may go at once; likewise."""
_MARGIN, _MARGIN_PART = 8 << 20, 256
"""Bytes beyond the ballast that have to be there before readings are taken again; likewise."""
_LAST, _LAST_PART = 1 << 20, 1024
"""Bytes left below which the ballast goes before anything has failed; likewise."""
_BLOCK = 4096
_LOG = structlog.get_logger("qafila.space")


@dataclass(frozen=True, slots=True)
class Room:
    """Bytes and files (inodes) of a disk: what we may still use, and what it has.

    `files` is 0 where the file system doesn't count them.
    """

    free: int
    size: int
    files_free: int
    files: int

    @classmethod
    def of(cls, folder: Path) -> Room:
        """Ask the file system; OSError."""
        found = os.statvfs(folder)
        return cls(
            found.f_bavail * found.f_frsize,
            found.f_blocks * found.f_frsize,
            found.f_favail,
            found.f_files,
        )

    def part(self, most: int, one_in: int) -> int:
        """An amount in bytes, and a part of the disk where that is less."""
        return min(most, self.size // one_in)

    @property
    def scarce(self) -> bool:
        """Whether the disk is all but full."""
        return self.free < self.part(_SCARCE, _SCARCE_PART)

    @property
    def full(self) -> bool:
        """Whether next to nothing is left, so that not even `status.json` may find room."""
        return self.free < self.part(_LAST, _LAST_PART)


class Ballast:
    """A file that holds room: real blocks, never a sparse file. Its content is nothing.

    Nothing of it has to outlive a power cut: whatever lies there at the next start is held, or
    made anew where it is not whole.
    """

    def __init__(self, folder: Path, size: int | None = None) -> None:
        self._path = folder / NAME
        whole = Room.of(folder).part(_BALLAST, _BALLAST_PART) if size is None else size
        self.size = whole // _BLOCK * _BLOCK

    @property
    def held(self) -> bool:
        """Whether it is there, whole."""
        try:
            found = self._path.stat()
        except FileNotFoundError:
            return False
        return found.st_size == self.size and found.st_blocks * 512 >= self.size

    def hold(self) -> bool:
        """Make it, where the disk has room; whether it is held then."""
        try:
            number = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.ftruncate(number, 0)
                os.posix_fallocate(number, 0, max(self.size, 1))
            finally:
                os.close(number)
        except OSError:
            self.release()
            return False
        return True

    def release(self) -> None:
        """Let the room go."""
        self._path.unlink(missing_ok=True)


class Space:
    """Watches the disk of a store, holds the ballast, and opens and closes the store."""

    def __init__(self, store: Store, ballast: Ballast) -> None:
        self._store = store
        self._ballast = ballast
        self._refusals = store.writer.refusals

    @property
    def scarce(self) -> bool:
        """Whether the unit should let go of what it can, at once."""
        return self._store.refuses or Room.of(self._store.folder).scarce

    async def run(self) -> None:
        """Look every second until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(EVERY)

    async def look(self) -> None:
        """Release the ballast on a full disk; hold it again, and take readings, with room."""
        room = Room.of(self._store.folder)
        refused = self._store.writer.refusals > self._refusals
        self._refusals = self._store.writer.refusals
        if refused or room.full:
            self._close(room)
        elif self._fits(room) and await asyncio.to_thread(self._ballast.hold):
            self._open(room)

    def shown(self) -> dict[str, Any]:
        """The disk as `status.json` carries it."""
        room = Room.of(self._store.folder)
        return {
            "free": room.free,
            "size": room.size,
            "files_free": room.files_free,
            "files": room.files,
            "ballast": "held" if self._ballast.held else "released",
            "ballast_size": self._ballast.size,
            "accepts": not self._store.refuses,
        }

    def _close(self, room: Room) -> None:
        self._ballast.release()
        if not self._store.refuses:
            self._store.refuses = True
            _LOG.error("disk-full", free=room.free, remedy="free some space: readings are refused")

    def _open(self, room: Room) -> None:
        if self._store.refuses:
            self._store.refuses = False
            _LOG.info("disk-has-room", free=room.free)

    def _fits(self, room: Room) -> bool:
        """Whether the ballast is missing, and there is room for more than it."""
        margin = room.part(_MARGIN, _MARGIN_PART)
        return not self._ballast.held and room.free >= self._ballast.size + margin


def make_room_to_open(folder: Path) -> None:
    """Before the store is opened: on a full disk it can't be, unless the ballast goes first."""
    if folder.is_dir() and Room.of(folder).full:
        Ballast(folder).release()
