"""Watch the unit's clock, and say in the log when it was put right; nothing is rewritten."""

from __future__ import annotations

import asyncio
import time
from datetime import datetime
from typing import TYPE_CHECKING, Any

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

    The anchor is the last adjustment of this boot, else its first record, else the last record
    of the boot before. In doubt is what came since a synchronised clock last vouched for it.
    """
    adjustments = reader.execute(
        "SELECT rowid, boot, mono_ns, wall, clock FROM record "
        "WHERE kind = 'clock-adjusted' AND boot = ? ORDER BY rowid DESC",
        (boot,),
    ).fetchall()
    vouched = next((row[0] for row in adjustments if row[-1] == "synchronised"), 0)
    doubted = reader.execute(
        "SELECT 1 FROM record WHERE clock <> 'synchronised' AND boot = ? AND rowid > ? "
        "AND kind <> ? LIMIT 1",
        (boot, vouched, KIND),
    ).fetchone()
    anchor = adjustments[0] if adjustments else _first_of(reader, boot)
    return _stamp(*anchor[1:]) if anchor else None, doubted is not None


def _first_of(reader: Connection, boot: str) -> tuple[Any, ...] | None:
    """The first record of this boot, else the last of the boot before.

    The records of a boot stand together, so that halving finds where they begin.
    """
    found: tuple[Any, ...] | None = reader.execute(
        "SELECT rowid, boot, mono_ns, wall, clock FROM record WHERE boot IS NOT NULL "
        "ORDER BY rowid DESC LIMIT 1"
    ).fetchone()
    if found is None or found[1] != boot:
        return found
    low, high = 0, found[0]
    while low < high:
        middle = (low + high) // 2
        row = reader.execute(
            "SELECT rowid, boot, mono_ns, wall, clock FROM record "
            "WHERE rowid >= ? AND boot IS NOT NULL ORDER BY rowid LIMIT 1",
            (middle,),
        ).fetchone()
        if row[1] == boot:
            found, high = row, middle
        else:
            low = row[0] + 1
    return found


def _stamp(boot: str, mono_ns: int, wall: str, clock: Quality) -> Stamp:
    return Stamp(boot, mono_ns, datetime.fromisoformat(wall), clock)
