"""The database as its files hold it, page by page: the newest sound version of each."""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import TYPE_CHECKING, NamedTuple

from agent.damage.cipher import PAGE, USABLE, PageKey
from agent.damage.logfile import LogFile, read_index
from agent.store.connection import FILE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import Self

    from agent.damage.logfile import Frame

_ENTRY = 5
_MAP_STEP = USABLE // _ENTRY + 1
"""A page of pointers, and the pages behind it that it speaks of."""
_LOCK_PAGE = (1 << 30) // PAGE + 1
"""SQLite locks bytes of this page and never writes it."""
_SAMPLE = 2000
FREE = 2
"""The kind of a page that belongs to nothing (sqlite.org/fileformat2.html, part 1.8)."""
ROOT = 1


class Page(NamedTuple):
    """A page's plain bytes.

    `last`: of the last version that is there; `newest`: nor is the end of the log missing.
    """

    content: bytes
    last: bool
    newest: bool


class Image:
    """The files of a folder, open for reading; nothing is changed in them.

    Of the log all that is there counts, or with `committed` what is proven to have been
    committed, as SQLite reads it: only who salvages wants the rest. `behind` says that the end of
    the log is missing: then any page may be older than it was.
    """

    def __init__(self, folder: Path, key: str, *, committed: bool = False) -> None:
        self._close = ExitStack()
        self.key = PageKey(key)
        self.log = LogFile(folder / f"{FILE}-wal", self.key)
        self._close.callback(self.log.close)
        self.index = read_index(folder / f"{FILE}-shm")
        self._file = self._open(folder / FILE)
        self.file_pages = 0 if self._file is None else os.fstat(self._file).st_size // PAGE
        frames = self._committed() if committed else self.log.frames
        sizes = (each.commit for each in reversed(frames) if each.commit)
        self.count = next(sizes, self.file_pages)
        self._copied = self._backfilled()
        self._maps: dict[int, Page | None] = {}
        self._frames: dict[int, list[Frame]] = {}
        for frame in frames:
            self._frames.setdefault(frame.page, []).append(frame)
        self.behind = self.index_frames > (self.log.frames[-1].number if self.log.frames else 0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the files."""
        self._close.close()

    @property
    def index_frames(self) -> int:
        """How many frames of this log the index proves to have been committed."""
        if self.index is None or self.log.salts not in {self.index.salts, b""}:
            return 0
        return self.index.frames

    def page(self, number: int) -> Page | None:
        """The newest version of a page that can be read; None where none can."""
        for at, raw in enumerate(self._versions(number)):
            if self.key.sound(number, raw):
                newest = at == 0 and not self.behind
                return Page(self.key.decrypt(number, raw), at == 0, newest)
        return None

    def sound(self, number: int) -> bool:
        """Whether the newest version of a page can be read."""
        return self.key.sound(number, next(self._versions(number), b""))

    def any_sound(self) -> bool:
        """Whether anything here was sealed with this key: two thousand pages are asked at most.

        A right key opens all but the damaged ones, a wrong one none.
        """
        pages = max(self.count, self.file_pages)
        step = max(1, pages // _SAMPLE)
        return any(
            self.key.sound(number, raw)
            for number in range(1, pages + 1, step)
            for raw in self._versions(number)
        ) or any(self.key.sound(each.page, self.log.page(each)) for each in self.log.all[:_SAMPLE])

    def bad(self) -> Iterator[int]:
        """Every page that can't be read and is in use. Reads the whole file."""
        for number in range(1, self.count + 1):
            if number != _LOCK_PAGE and not self.sound(number) and not self.unused(number):
                yield number

    def unused(self, number: int) -> bool:
        """Whether the pages of pointers say that a page belongs to nothing; then nobody reads it.

        SQLite may never write such a page: it then reads as zeros, or lies beyond the file's end.
        """
        found = self.pointer(number)
        return found is not None and found[0] == FREE

    def pointer(self, number: int) -> tuple[int, int] | None:
        """What a page is to which other page; None where that can't be told."""
        if number < 2 or is_map(number):  # noqa: PLR2004 - page 1 is in no map
            return None
        home = (number - 2) // _MAP_STEP * _MAP_STEP + 2
        if home not in self._maps:
            self._maps[home] = self.page(home)
        page = self._maps[home]
        if page is None:
            return None
        at = (number - home - 1) * _ENTRY
        return page.content[at], int.from_bytes(page.content[at + 1 : at + _ENTRY], "big")

    def file_page(self, number: int) -> bytes:
        """A page as the database file has it; empty beyond its end."""
        return b"" if self._file is None else os.pread(self._file, PAGE, (number - 1) * PAGE)

    def _versions(self, number: int) -> Iterator[bytes]:
        """A page's versions, newest first; what was copied into the file is older than the file."""
        frames = self._frames.get(number, [])
        yield from (self.log.page(each) for each in reversed(frames) if each.number > self._copied)
        yield self.file_page(number)
        yield from (self.log.page(each) for each in reversed(frames) if each.number <= self._copied)

    def _committed(self) -> list[Frame]:
        last = self.log.proven(self.key, self.index_frames)
        return [each for each in self.log.frames if each.number <= last]

    def _backfilled(self) -> int:
        return self.index.copied if self.index is not None and self.index_frames else 0

    def _open(self, path: Path) -> int | None:
        try:
            file = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            return None
        self._close.callback(os.close, file)
        return file


def is_map(number: int) -> bool:
    """Whether a page is one of pointers."""
    return number >= 2 and (number - 2) % _MAP_STEP == 0  # noqa: PLR2004 - the first is page 2
