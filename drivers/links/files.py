"""A folder as a device: a mass-storage device that is mounted, or any folder people copy into.

It is looked at again and again; a file is taken when two looks in a row found it the same, so
that one that is still being copied is left until it is whole. All of it happens in a thread
that is a daemon: a kernel that waits for a bad stick may hold it, but never the agent's end.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from errno import EACCES, EIO, ELOOP, ENODEV, ENOENT, ENOMEDIUM, ENOTDIR, EPERM
from typing import TYPE_CHECKING, Final, Protocol, Self, TypeVar

from drivers.errors import Misconfigured, Unavailable
from drivers.links.medium import Look, look, read

if TYPE_CHECKING:
    from collections.abc import Callable

    from drivers.links.medium import Path, Stamp

EVERY_S: Final = 2.0
"""Seconds between two looks."""

STALL_S: Final = 30.0
"""How long a medium may take for one look or one file before it counts as gone, in seconds."""

_Result = TypeVar("_Result")
_HELD: set[str] = set()
_UNREADABLE = "Some files or folders can't be read."
_REASONS = {
    ENOENT: "it is not plugged in",
    ENODEV: "it was unplugged",
    ENOMEDIUM: "it holds no medium",
    EIO: "it was unplugged, or is damaged",
    ENOTDIR: "it is no folder",
    ELOOP: "it is a link; name the folder itself",
    EACCES: "this program may not read it",
    EPERM: "this program may not read it",
}


@dataclass(frozen=True, slots=True)
class Scan:
    """Nothing is left to take. `remarks` are plain sentences on what was left out, and why."""

    entries: int
    remarks: tuple[str, ...] = ()


class Folder(Protocol):
    """What a driver of files asks of its link."""

    async def next(self) -> bytes | Scan:
        """Wait for the next file's content, or for the news that all have been given.

        Raises `Unavailable` once the folder is gone.
        """

    def close(self) -> None:
        """Let go of the folder; may be called again."""


class FolderLink:
    """One folder, read by one task. Memory is bounded by one file and the names of a look."""

    def __init__(self, at: str, suffixes: tuple[str, ...]) -> None:
        self._at = at
        self._suffixes = suffixes
        self._root: tuple[int, int] | None = None
        self._before: dict[Path, Stamp] = {}
        self._given: dict[Path, Stamp] = {}
        self._unreadable: set[Path] = set()
        self._due: deque[Path] = deque()
        self._said: Scan | None = None
        self._latest: Look | None = None

    @classmethod
    async def open(cls, at: str, suffixes: tuple[str, ...]) -> Self:
        """Look at a folder for the first time; files are those that end in one of `suffixes`.

        Raises `Unavailable` where it is not there, `Misconfigured` where it can't be one.
        """
        if not at.startswith("/"):
            raise Misconfigured(f"folder {at}", "name a folder by its whole path: /run/…")
        link = cls(at, suffixes)
        await link._look()
        return link

    async def next(self) -> bytes | Scan:
        """See `Folder.next`."""
        while True:
            while self._due:
                content = await self._read(self._due.popleft())
                if content is not None:
                    self._said = None
                    return content
            news = self._news()
            if news is not None:
                self._said = news
                return news
            await asyncio.sleep(EVERY_S)
            await self._look()

    def close(self) -> None:
        """See `Folder.close`: nothing is held open between two looks."""
        self._due.clear()

    def _news(self) -> Scan | None:
        found = self._latest
        if found is None or found.files.keys() - self._given.keys() - self._unreadable:
            return None
        extra = (_UNREADABLE,) if self._unreadable and _UNREADABLE not in found.remarks else ()
        scan = Scan(found.entries, (*found.remarks, *extra))
        return None if scan == self._said else scan

    async def _look(self) -> None:
        found = await self._apart(lambda: look(self._at, self._suffixes))
        if found.root != self._root:
            self._root = found.root
            self._before, self._given, self._unreadable = {}, {}, set()
        self._given = {
            path: stamp for path, stamp in self._given.items() if found.files.get(path) == stamp
        }
        self._unreadable &= {p for p, stamp in found.files.items() if self._before.get(p) == stamp}
        self._due.extend(
            path
            for path, stamp in sorted(found.files.items())
            if self._before.get(path) == stamp
            and path not in self._given
            and path not in self._unreadable
        )
        self._before, self._latest = found.files, found

    async def _read(self, path: Path) -> bytes | None:
        stamp = self._before[path]
        content = await self._apart(lambda: _content(self._at, path, stamp))
        if content is None:
            self._unreadable.add(path)  # until a look finds it changed
        else:
            self._given[path] = stamp
        return content

    async def _apart(self, work: Callable[[], _Result]) -> _Result:
        """Do what may block for long in a thread of its own, one at a time for one folder."""
        if self._at in _HELD:
            raise Unavailable(f"folder {self._at}", "it does not answer")
        _HELD.add(self._at)
        loop = asyncio.get_running_loop()
        done: asyncio.Future[_Result] = loop.create_future()
        threading.Thread(
            target=_work, args=(self._at, work, loop, done), name="folder", daemon=True
        ).start()
        try:
            async with asyncio.timeout(STALL_S):
                return await done
        except TimeoutError:
            raise Unavailable(f"folder {self._at}", "it does not answer") from None
        except OSError as error:
            reason = _REASONS.get(error.errno or 0, "it can't be read")
            raise Unavailable(f"folder {self._at}", reason) from None


def _content(at: str, path: Path, stamp: Stamp) -> bytes | None:
    """One file that can't be read says nothing of the others."""
    try:
        return read(at, path, stamp)
    except OSError:
        return None


def _work(
    at: str,
    work: Callable[[], _Result],
    loop: asyncio.AbstractEventLoop,
    done: asyncio.Future[_Result],
) -> None:
    """Run in the thread. The folder is free again before anybody hears of the result."""
    tell: Callable[[], None]
    try:
        result = work()
    except Exception as error:  # noqa: BLE001 - raised where it is awaited, not lost here
        _HELD.discard(at)
        fault = error
        tell = lambda: None if done.done() else done.set_exception(fault)  # noqa: E731
    else:
        _HELD.discard(at)
        tell = lambda: None if done.done() else done.set_result(result)  # noqa: E731
    with suppress(RuntimeError):  # the loop is closed: nobody is left to tell
        loop.call_soon_threadsafe(tell)
