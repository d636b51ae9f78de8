"""What drivers of folders share: each file is recorded once, and what is not one is set aside.

The medium is only read: nothing on it is acknowledged, moved or removed. A file that was
recorded and is met again, on this stick or after a restart, is the same reading by its bytes.
"""

from __future__ import annotations

import asyncio
from hashlib import sha256
from typing import TYPE_CHECKING, cast

from drivers.base import RawFrame
from drivers.errors import ProtocolFault, Unavailable
from drivers.links.files import Scan

if TYPE_CHECKING:
    from collections.abc import Callable

    from drivers.base import Measurement, Sink
    from drivers.links.files import Folder

REMEMBERED = 10_000
"""How many files are known again by their hash without asking the store."""


class Importer:
    """Reads the files of one folder in one box. `run` may be called again after it has ended.

    `develop` makes the measurement of one file's bytes, or raises `ProtocolFault`; it runs in
    a thread of its own.
    """

    def __init__(self, source: str, develop: Callable[[bytes], Measurement]) -> None:
        self._source = source
        self._develop = develop
        self._known: dict[bytes, None] = {}

    async def run(self, link: object, sink: Sink) -> None:
        """Take in files (`drivers.links.files.Folder`) until the folder goes; close the link.

        Raises `Unavailable` where the folder goes, and whatever the sink raises.
        """
        folder = cast("Folder", link)
        sink.report("waiting", "It looks for new files.")
        try:
            while True:
                found = await folder.next()
                if isinstance(found, Scan):
                    _say(found, sink)
                else:
                    await self._take(found, sink)
        except Unavailable as gone:
            sink.report("unavailable", gone.reason)
            raise
        finally:
            folder.close()

    async def _take(self, raw: bytes, sink: Sink) -> None:
        known = sha256(raw).digest()
        if known in self._known:
            return
        sink.report("importing")
        try:
            measurement = await asyncio.to_thread(self._develop, raw)
        except ProtocolFault as fault:
            await sink.quarantine(RawFrame(self._source, raw), fault.reason)
        else:
            await sink.record(measurement)
        self._remember(known)

    def _remember(self, known: bytes) -> None:
        """Called once the file is on disk here: before that it is to be met again."""
        if len(self._known) >= REMEMBERED:
            del self._known[next(iter(self._known))]
        self._known[known] = None


def _say(scan: Scan, sink: Sink) -> None:
    sink.report("connected", "Every file of the medium that is ours has been taken in.")
    sink.note("folder", " ".join(scan.remarks))
