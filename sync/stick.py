"""A folder of a stick, for both sides: whole files by number, and nothing is followed.

A stick may be hostile: links, pipes, devices, ten thousand files, a terabyte of nothing. Folders
are opened one below the other, files only where they are regular and within bounds; what is
written is whole or not there (contract, part 10). Messages name no file.
"""

from __future__ import annotations

import fcntl
import os
import re
import stat
from collections import Counter
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from errno import EACCES, EAGAIN, EDQUOT, EIO, ELOOP, ENODEV, ENOENT, ENOSPC, ENOTDIR, EPERM, EROFS
from itertools import islice
from typing import TYPE_CHECKING, Final, Self

from sync.contract.entries import FILE_MAX

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

MOST_ENTRIES: Final = 10_000
"""How many entries of one folder are looked at."""
MOST_FILES: Final = 4096
"""How many files of one folder are taken, those of the lowest numbers."""
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
_FOLDER = _READ | os.O_DIRECTORY
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_NAME = re.compile(r"(\d{10})\.([a-z]+)")
_DRAFT = re.compile(r"\.\d{10}\.[a-z]+\.part")
_PIECE = 1 << 20
_NO_FOLDER = "a folder is a link or a file, and links are not followed: name the folder itself"
_REASONS = {
    ENOENT: "it is not there: plug it in, or name the folder where it is mounted",
    ENOTDIR: _NO_FOLDER,
    ELOOP: _NO_FOLDER,
    EACCES: "this program has no right to it: mount it so that this user may use it",
    EPERM: "this program has no right to it: mount it so that this user may use it",
    EROFS: "it can't be written: set its switch, have it checked (fsck), or use another stick",
    ENOSPC: "it is full: make room on it, or use another stick",
    EDQUOT: "it is full: make room on it, or use another stick",
    EIO: "it was pulled out, or is damaged: plug it in again, or use another stick",
    ENODEV: "it was pulled out: plug it in again",
}
_LEFT_OUT = {
    "beyond": f"more than {MOST_ENTRIES} entries: what stands behind them was not looked at",
    "many": f"more than {MOST_FILES} files: the lowest numbers were taken, repeat for the others",
    "linked": "links, which are not followed",
    "odd": "entries that are neither files nor folders",
    "large": f"files of more than {FILE_MAX >> 20} MiB",
    "unreadable": "entries that can't be read",
}


class StickFault(Exception):  # noqa: N818 - a state of the world, not a mistake
    """A stick can't be used as it is; one plain sentence with the remedy. `code` is an errno."""

    def __init__(self, what: str, code: int, reason: str = "") -> None:
        known = reason or _REASONS.get(code) or f"{os.strerror(code)}: use another stick"
        super().__init__(f"{what} can't be used: {known}")
        self.code = code


@dataclass(frozen=True, slots=True)
class Listing:
    """The numbers of the files in order, and plain words for what was left out."""

    numbers: tuple[int, ...]
    left_out: tuple[str, ...] = ()


class Shelf:
    """One folder of a stick, held by its descriptor; its files have the suffix."""

    def __init__(self, what: str, folder: int, suffix: str) -> None:
        self.what = what
        self._folder = folder
        self._suffix = suffix
        self._last: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._folder)

    @property
    def identity(self) -> tuple[int, int]:
        """What tells this folder from that of another stick in the same place."""
        found = os.fstat(self._folder)
        return found.st_dev, found.st_ino

    def lock(self) -> None:
        """Be the only one who writes here, until it is closed; StickFault."""
        with naming(self.what):
            try:
                fcntl.flock(self._folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as busy:
                words = "another program is writing to it: wait for its end"
                raise StickFault(self.what, busy.errno or EAGAIN, words) from None

    def list(self) -> Listing:
        """Look at the folder once; StickFault."""
        numbers: list[int] = []
        out: Counter[str] = Counter()
        with naming(self.what), os.scandir(self._folder) as entries:
            for place, entry in enumerate(entries):
                if place >= MOST_ENTRIES:
                    out["beyond"] += 1
                    break
                match = _NAME.fullmatch(entry.name)
                if match and match[2] == self._suffix:
                    wrong = self._wrong(entry.name)
                    numbers += [] if wrong else [int(match[1])]
                    out.update([wrong] if wrong else [])
        if len(numbers) > MOST_FILES:
            out["many"] += 1
        kept = tuple(sorted(numbers)[:MOST_FILES])
        return Listing(kept, tuple(words for kind, words in _LEFT_OUT.items() if out[kind]))

    def read(self, number: int) -> bytes | None:
        """A file's content; None where it can't be read as a whole, regular file of its size."""
        try:
            file = os.open(self._name(number), _READ, dir_fd=self._folder)
        except OSError:
            return None
        try:
            found = os.fstat(file)
            if not stat.S_ISREG(found.st_mode) or found.st_size > FILE_MAX:
                return None
            content = b"".join(_pieces(file, found.st_size))
        except OSError:
            return None
        finally:
            os.close(file)
        return content if len(content) == found.st_size else None

    def write(self, content: bytes) -> int:
        """Put a file there under the next number, durable when this returns; StickFault.

        Half-written it has another name, which is taken away, now or by the next who writes.
        """
        with naming(self.what):
            number = self._last = self._newest() + 1
            name = self._name(number)
            draft = f".{name}.part"
            try:
                self._write(draft, content, name)
            except OSError:
                with suppress(OSError):
                    os.unlink(draft, dir_fd=self._folder)
                raise
            os.fsync(self._folder)
        return number

    def remove(self, number: int) -> None:
        """Take a file away; StickFault."""
        with naming(self.what), suppress(FileNotFoundError):
            os.unlink(self._name(number), dir_fd=self._folder)

    def tidy(self) -> None:
        """Take away what an earlier writer left half-written; StickFault."""
        with naming(self.what):
            for name in [each.name for each in self._entries() if _DRAFT.fullmatch(each.name)]:
                os.unlink(name, dir_fd=self._folder)

    def names(self) -> tuple[str, ...]:
        """The first names in it, sorted; StickFault."""
        with naming(self.what):
            return tuple(sorted(each.name for each in self._entries()))

    def free(self) -> int:
        """Bytes that can still be written; StickFault."""
        with naming(self.what):
            found = os.fstatvfs(self._folder)
            return found.f_bavail * found.f_frsize

    def _wrong(self, name: str) -> str:
        try:
            found = os.stat(name, dir_fd=self._folder, follow_symlinks=False)
        except OSError:
            return "unreadable"
        if not stat.S_ISREG(found.st_mode):
            return "linked" if stat.S_ISLNK(found.st_mode) else "odd"
        return "large" if found.st_size > FILE_MAX else ""

    def _newest(self) -> int:
        """The highest number, of either kind of name; counted once, since we write alone."""
        if self._last is None:
            names = [each.name for each in self._entries()]
            if len(names) > MOST_ENTRIES:
                raise OSError(ENOSPC, "too many entries")
            matches = (_NAME.fullmatch(name) for name in names)
            self._last = max((int(each[1]) for each in matches if each), default=0)
        return self._last

    def _entries(self) -> Iterator[os.DirEntry[str]]:
        with os.scandir(self._folder) as entries:
            yield from islice(entries, MOST_ENTRIES + 1)

    def _write(self, draft: str, content: bytes, name: str) -> None:
        file = os.open(draft, _WRITE, 0o644, dir_fd=self._folder)
        try:
            left = memoryview(content)
            while left:
                left = left[os.write(file, left) :]
            os.fsync(file)
            os.rename(draft, name, src_dir_fd=self._folder, dst_dir_fd=self._folder)
            # FAT enters the new name with a size of 0, until the file itself is synced once more.
            os.fsync(file)
        finally:
            os.close(file)

    def _name(self, number: int) -> str:
        return f"{number:010d}.{self._suffix}"


def open_shelf(root: Path, folders: Sequence[str], suffix: str, *, make: bool = False) -> Shelf:
    """Open a folder below a stick's first; StickFault where it isn't there, or isn't a folder."""
    what = str(root)
    with naming(what):
        below = os.open(root, _FOLDER)
        device = os.fstat(below).st_dev
        for name in folders:
            above = below
            try:
                below = _enter(above, name, make=make)
            finally:
                os.close(above)
            if os.fstat(below).st_dev != device:
                os.close(below)
                raise StickFault(what, ENOTDIR, "another medium is mounted in it: take it away")
    return Shelf(what, below, suffix)


def names_below(root: Path, folders: Sequence[str]) -> tuple[str, ...]:
    """The names in a folder of a stick, sorted; none where it isn't there. StickFault."""
    try:
        with open_shelf(root, folders, "") as shelf:
            return shelf.names()
    except StickFault as fault:
        if fault.code == ENOENT and root.is_dir():
            return ()
        raise


@contextmanager
def naming(what: str) -> Iterator[None]:
    """Say in one sentence what is wrong with a stick; StickFault for any OSError."""
    try:
        yield
    except OSError as error:
        raise StickFault(what, error.errno or EIO) from None


def _enter(above: int, name: str, *, make: bool) -> int:
    if make:
        with suppress(FileExistsError):
            os.mkdir(name, 0o755, dir_fd=above)
            os.fsync(above)
    return os.open(name, _FOLDER, dir_fd=above)


def _pieces(file: int, size: int) -> Iterator[bytes]:
    """At most one byte more than `size`, which shows a file that grew."""
    left = size + 1
    while left and (piece := os.read(file, min(left, _PIECE))):
        left -= len(piece)
        yield piece
