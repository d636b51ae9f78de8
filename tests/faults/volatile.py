"""What a disk holds, and what of it outlives a power cut: pure, no file system beneath.

POSIX promises no more than this: bytes are durable once fsync of their file returned, a name once
fsync of its folder did. Of all else the cut keeps a random part: 4 KiB pages, lengths, names.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from random import Random

PAGE = 4096
_HALF = 0.5


@dataclass(slots=True)
class File:
    """A file as programs see it (`live`) and as it lies on the platter (`durable`)."""

    live: bytearray = field(default_factory=bytearray)
    durable: bytearray = field(default_factory=bytearray)
    dirty: set[int] = field(default_factory=set)
    resized: bool = False
    mode: int = 0o644

    def write(self, content: bytes, offset: int) -> None:
        """Change bytes, and the length where they reach beyond the end."""
        end = offset + len(content)
        if offset > len(self.live):
            self.resize(offset)
        self.resized |= end > len(self.live)
        self.live[offset:end] = content
        self.dirty.update(range(offset // PAGE, (end - 1) // PAGE + 1))

    def resize(self, length: int) -> None:
        """Cut off, or fill up with zeros."""
        self.resized |= length != len(self.live)
        grown = length - len(self.live)
        if grown > 0:
            first = len(self.live) // PAGE
            self.live.extend(bytes(grown))
            self.dirty.update(range(first, (length - 1) // PAGE + 1))
        else:
            del self.live[length:]
            self.dirty = {page for page in self.dirty if page * PAGE < length}

    def sync(self) -> None:
        """Make what programs see durable."""
        self._resize_durable()
        for page in self.dirty:
            self._keep(page)
        self.forget()

    def forget(self) -> None:
        """Take everything for written: what Linux does with the pages of a failed fsync."""
        self.dirty.clear()
        self.resized = False

    def cut(self, chance: Random) -> tuple[bytes, int, int]:
        """What the next boot finds, and how many unsynced pages were kept and lost."""
        kept = {page for page in sorted(self.dirty) if chance.random() < _HALF}
        if self.resized and chance.random() < _HALF:
            self._resize_durable()
        for page in sorted(kept):
            self._keep(page)
        return bytes(self.durable), len(kept), len(self.dirty) - len(kept)

    def _resize_durable(self) -> None:
        length = len(self.live)
        del self.durable[length:]
        self.durable.extend(bytes(length - len(self.durable)))

    def _keep(self, page: int) -> None:
        start = page * PAGE
        content = self.live[start : start + PAGE]
        if start > len(self.durable):
            self.durable.extend(bytes(start - len(self.durable)))
        self.durable[start : start + len(content)] = content


class Disk:
    """Folders are durable at once; files by their own fsync and that of their folder."""

    def __init__(self, files: Mapping[str, tuple[bytes, int]], folders: set[str]) -> None:
        self.folders = {"/", *folders}
        self.names = {
            path: File(bytearray(content), bytearray(content), mode=mode)
            for path, (content, mode) in files.items()
        }
        self._durable_names = dict(self.names)

    def create(self, path: str, mode: int) -> None:
        """Give a new, empty file a name."""
        self.names[path] = File(mode=mode)

    def remove(self, path: str) -> None:
        """Take a name away."""
        del self.names[path]

    def rename(self, old: str, new: str) -> None:
        """Give a file another name, which may have been another's."""
        self.names[new] = self.names.pop(old)

    def sync_folder(self, folder: str) -> None:
        """Make the names in a folder durable."""
        gone = [path for path in self._durable_names if parent(path) == folder]
        for path in gone:
            del self._durable_names[path]
        self._durable_names |= {
            path: file for path, file in self.names.items() if parent(path) == folder
        }

    def used(self) -> int:
        """Bytes that all files have."""
        return sum(len(file.live) for file in self.names.values())

    def cut(self, chance: Random) -> Iterator[tuple[str, bytes, int, int, int]]:
        """Each file that the next boot finds: path, content, mode, pages kept and lost."""
        found = dict(self._durable_names)
        for path in sorted(self.names.keys() | self._durable_names.keys()):
            old, new = self._durable_names.get(path), self.names.get(path)
            if old is not new and chance.random() < _HALF:
                found.pop(path, None)
                if new is not None:
                    found[path] = new
        for path, file in sorted(found.items()):
            content, kept, lost = file.cut(chance)
            yield path, content, file.mode, kept, lost


def parent(path: str) -> str:
    """The folder that a path is in."""
    return path.rpartition("/")[0] or "/"
