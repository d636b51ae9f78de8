"""Watch the unit's clock, and say in the log when it was put right; nothing is rewritten."""

from __future__ import annotations

import asyncio
import time
from datetime import datetime
from typing import TYPE_CHECKING

import structlog

from agent.clock import Stamp, now
from agent.clock_steps import KIND, compare
from agent.event import Event

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.clock import Quality
    from agent.clock_steps import Adjustment
    from agent.store.connection import Connection
    from agent.store.store import Store

EVERY = 5.0
"""Seconds between two looks, monotonic."""
_TOGETHER_NS = 500_000_000
_LOG = structlog.get_logger("qafila.clock")


class ClockWatch:
    """Compares the clock with an anchor: the last adjustment of this boot, or its first record."""

    def __init__(self, store: Store, sample: Callable[[], Stamp] | None = None) -> None:
        self._store = store
        self._sample = sample or together
        self._anchor: Stamp | None = None
        self._clock = ""

    async def run(self) -> None:
        """Look every few seconds until cancelled; StoreFull, StoreBroken. Run again, it goes on."""
        while True:
            await self.look()
            await asyncio.sleep(EVERY)

    async def look(self) -> Adjustment | None:
        """Compare once; what was found is in the log when this returns. StoreFull, StoreBroken."""
        stamp = self._sample()
        doubted = False
        if self._anchor is None or _became_sure(self._clock, stamp):
            anchor, doubted = _history(self._store.reader, stamp.boot)
            self._anchor = self._anchor or anchor or stamp
        found = compare(self._anchor, stamp, doubted=doubted)
        if found is not None:
            await self._store.tell(Event(KIND, stamp, self._store.origin, found.said()))
            _LOG.warning("clock-adjusted", offset_ms=found.said()["offset_ms"], clock=stamp.clock)
        if found is not None or self._anchor.boot != stamp.boot:
            self._anchor = stamp
        self._clock = stamp.clock
        return found


def together() -> Stamp:
    """The present moment, with both clocks read at once: a pause between looks like a step."""
    while True:
        before = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        stamp = now()
        if stamp.mono_ns - before < _TOGETHER_NS:
            return stamp


def _became_sure(clock: str, stamp: Stamp) -> bool:
    return stamp.clock == "synchronised" and clock != "synchronised"


def _history(reader: Connection, boot: str) -> tuple[Stamp | None, bool]:
    """The anchor that the log holds, and whether this boot's times are in doubt.

    Newest first, and no further back than this boot or its last adjustment that a synchronised
    clock vouches for. Where this boot has no record, the anchor is the last of the boot before.
    """
    oldest = adjusted = None
    doubted = False
    rows = reader.execute(
        "SELECT kind, boot, mono_ns, wall, clock FROM record WHERE boot IS NOT NULL "
        "ORDER BY rowid DESC"
    )
    for kind, *of_stamp in rows:
        stamp = _stamp(*of_stamp)
        if stamp.boot != boot:
            oldest = oldest or stamp
            break
        oldest = stamp
        if kind != KIND:
            doubted = doubted or stamp.clock != "synchronised"
            continue
        adjusted = adjusted or stamp
        if stamp.clock == "synchronised":
            break
    return adjusted or oldest, doubted


def _stamp(boot: str, mono_ns: int, wall: str, clock: Quality) -> Stamp:
    return Stamp(boot, mono_ns, datetime.fromisoformat(wall), clock)
