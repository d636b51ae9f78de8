"""Ninety days without a link and with a power cut every evening (T15, T32, T35)."""

from __future__ import annotations

import asyncio
import time

from bench.table import show
from tests.faults.disk import why_not
from tests.faults.voyage import travel

DAYS = 90


def main(days: int = DAYS) -> None:
    """The days are simulated; the store, its disk and the cuts are not."""
    if reason := why_not():
        show(("days",), [(reason,)])
        return
    begun = time.perf_counter()
    voyage = asyncio.run(travel(days, seed=2026))
    saved, there = voyage.acknowledged, voyage.at_centre
    lost = sum(each not in set(there) for each in saved)
    row = (days, len(saved), lost, len(there) - len(set(there)), time.perf_counter() - begun)
    show(("days and power cuts", "acknowledged", "lost", "doubled", "seconds"), [row])
