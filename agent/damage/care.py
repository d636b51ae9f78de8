"""What goes on beside the unit's work: salvage what was set aside, then look for new damage."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from agent.damage.cipher import PAGE, PageKey
from agent.damage.examine import acquit
from agent.damage.image import Image
from agent.damage.salvage import Salvor
from agent.errors import StoreDamaged
from agent.store.connection import FILE

if TYPE_CHECKING:
    from agent.damage.salvage import Told
    from agent.store.store import Store

EVERY = 24 * 3600.0
"""Seconds between two looks at every page."""
_PAGES, _PAUSE = 256, 0.05
"""A megabyte at a time, and a rest of some ten times as long."""
_LOOKS, _BETWEEN = 3, 1.0


class Care:
    """Salvages once, then reads every page once a day."""

    def __init__(self, store: Store, destination: str, told: Told) -> None:
        self._store = store
        self._salvor = Salvor(store, destination, told)

    async def run(self) -> None:
        """Go on until cancelled; StoreDamaged for a page that can't be read, StoreBroken."""
        await self._salvor.run()
        while True:
            await scrub(self._store)
            await asyncio.sleep(EVERY)


async def scrub(store: Store) -> None:
    """Read every page of the database file, slowly; StoreDamaged where one can't be read.

    A page may be half written just now, or about to be written from the log: what looks damaged
    is looked at again.
    """
    bad = await _suspects(store)
    for _ in range(_LOOKS):
        bad = await asyncio.to_thread(_still_bad, store, bad)
        if not bad:
            acquit(store.folder)
            return
        await asyncio.sleep(_BETWEEN)
    raise StoreDamaged(
        f"{len(bad)} pages of the database can't be read any more, the first is {bad[0]}: "
        "it is set aside at the next start, and what is readable is salvaged"
    )


async def _suspects(store: Store) -> list[int]:
    key = PageKey(store.key)
    bad: list[int] = []
    number, found = 1, _PAGES
    while found == _PAGES:
        found, wrong = await asyncio.to_thread(_look, store, key, number)
        bad += wrong
        number += found
        await asyncio.sleep(_PAUSE)
    return bad


def _look(store: Store, key: PageKey, first: int) -> tuple[int, list[int]]:
    """How many pages there were to look at, and which of them don't read as they should."""
    with (store.folder / FILE).open("rb", buffering=0) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
        piece = os.pread(file.fileno(), _PAGES * PAGE, (first - 1) * PAGE)
    pages = [piece[at : at + PAGE] for at in range(0, len(piece), PAGE)]
    wrong = [number for number, page in enumerate(pages, first) if not key.sound(number, page)]
    return len(pages), wrong


def _still_bad(store: Store, pages: list[int]) -> list[int]:
    with Image(store.folder, store.key, committed=True) as image:
        return [
            each
            for each in pages
            if each <= image.count and not image.sound(each) and not image.unused(each)
        ]
