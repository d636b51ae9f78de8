"""A hostile medium, looked at and read from: bounded, without following anything.

A stick may hold symlinks, pipes, devices, ten thousand files, a file of a terabyte of nothing,
names that climb. Only regular files of wanted suffixes are opened, for reading, by way of
directories opened one below the other; messages hold no file names, which may be people's.
"""

from __future__ import annotations

import os
import stat
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST_ENTRIES: Final = 2000
"""How many entries of a medium are looked at; what stands behind them is said, not read."""

DEEPEST: Final = 4
"""How many folders below the first one are entered, one inside the other."""

LARGEST: Final = 32 * 1024 * 1024
"""The largest file read, in bytes."""

_ONLY_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
_FOLDER = _ONLY_READ | os.O_DIRECTORY
_WORDS = {
    "beyond": f"The folder holds more than {MOST_ENTRIES} entries: the others are not looked at.",
    "deep": f"Folders more than {DEEPEST} deep are not looked at.",
    "linked": "Links are not followed.",
    "odd": "Entries that are neither files nor folders are not opened.",
    "name": "Entries with impossible names are not opened.",
    "elsewhere": "Folders of another medium are not entered.",
    "large": f"Files of more than {LARGEST // 2**20} MiB are not read.",
    "unreadable": "Some files or folders can't be read.",
}


@dataclass(frozen=True, slots=True)
class Stamp:
    """What a file is known by between two looks: its place on the medium, size and time."""

    device: int
    inode: int
    size: int
    mtime_ns: int

    @classmethod
    def of(cls, found: os.stat_result) -> Stamp:
        """The stamp of a file."""
        return cls(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)


Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Look:
    """What one look found: wanted files by their path below the root, and what was left out.

    `root` tells one medium from the next in the same place.
    """

    root: tuple[int, int]
    files: dict[Path, Stamp]
    entries: int
    remarks: tuple[str, ...]


def look(root: str, suffixes: tuple[str, ...]) -> Look:
    """Look at a medium once. `suffixes` are in small letters, with their dot. OSError."""
    with ExitStack() as opened:
        top = os.open(root, _FOLDER)
        opened.callback(os.close, top)
        about = os.fstat(top)
        walk = _Walk(suffixes, about.st_dev)
        walk.enter(top, ())
        remarks = tuple(words for kind, words in _WORDS.items() if walk.left_out[kind])
        return Look((about.st_dev, about.st_ino), walk.files, walk.entries, remarks)


def read(root: str, path: Path, stamp: Stamp) -> bytes | None:
    """The whole content of a file, None where it is not, or no longer, what was seen. OSError."""
    with ExitStack() as opened:
        above = os.open(root, _FOLDER)
        opened.callback(os.close, above)
        for name in path[:-1]:
            above = os.open(name, _FOLDER, dir_fd=above)
            opened.callback(os.close, above)
        file = os.open(path[-1], _ONLY_READ, dir_fd=above)
        opened.callback(os.close, file)
        found = os.fstat(file)
        if not stat.S_ISREG(found.st_mode) or Stamp.of(found) != stamp or stamp.size > LARGEST:
            return None
        content = b"".join(_pieces(file, stamp.size))
        return content if len(content) == stamp.size else None


def acceptable(name: str) -> bool:
    """Whether a name stays in its folder, whatever a damaged file system says."""
    return name not in {"", ".", ".."} and "/" not in name and "\0" not in name


def _pieces(file: int, size: int) -> Iterator[bytes]:
    """At most one byte more than `size`, which shows a file that grew."""
    left = size + 1
    while left and (piece := os.read(file, min(left, 1 << 20))):
        left -= len(piece)
        yield piece


@dataclass(slots=True)
class _Walk:
    suffixes: tuple[str, ...]
    device: int
    entries: int = 0
    files: dict[Path, Stamp] = field(default_factory=dict)
    left_out: Counter[str] = field(default_factory=Counter)

    def enter(self, folder: int, path: Path) -> None:
        with os.scandir(folder) as listed:
            for entry in listed:
                if self.entries >= MOST_ENTRIES:
                    self.left_out["beyond"] += 1
                    return
                self.entries += 1
                try:
                    self._meet(entry, folder, path)
                except OSError:
                    self.left_out["unreadable"] += 1

    def _meet(self, entry: os.DirEntry[str], folder: int, path: Path) -> None:
        if not acceptable(entry.name):
            self.left_out["name"] += 1
            return
        if entry.name.startswith("."):
            return
        found = os.stat(entry.name, dir_fd=folder, follow_symlinks=False)
        if stat.S_ISDIR(found.st_mode):
            self._descend(entry.name, folder, path, found)
        elif stat.S_ISREG(found.st_mode):
            self._note(entry.name, path, found)
        else:
            self.left_out["linked" if stat.S_ISLNK(found.st_mode) else "odd"] += 1

    def _descend(self, name: str, folder: int, path: Path, found: os.stat_result) -> None:
        if found.st_dev != self.device or len(path) >= DEEPEST:
            self.left_out["deep" if found.st_dev == self.device else "elsewhere"] += 1
            return
        below = os.open(name, _FOLDER, dir_fd=folder)
        try:
            self.enter(below, (*path, name))
        finally:
            os.close(below)

    def _note(self, name: str, path: Path, found: os.stat_result) -> None:
        if not name.lower().endswith(self.suffixes):
            return
        if found.st_size > LARGEST:
            self.left_out["large"] += 1
            return
        self.files[(*path, name)] = Stamp.of(found)
