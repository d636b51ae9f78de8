"""The unit's clocks: what time it is, since when it counts, and how far to believe it."""

from __future__ import annotations

import ctypes
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Literal

Quality = Literal["synchronised", "unsynchronised", "implausible"]
PROJECT_BORN = datetime(2026, 1, 1, tzinfo=UTC)
"""No reading of this program can be older; a clock that says so has lost its battery."""
_TIME_ERROR = 5
_TIMEX_SIZE = 256


@dataclass(frozen=True, slots=True)
class Stamp:
    """One moment: boot id, nanoseconds since that boot, wall time (aware), clock quality."""

    boot: str
    mono_ns: int
    wall: datetime
    clock: Quality

    @property
    def offset_min(self) -> int:
        """Minutes east of UTC that the unit's zone stood at."""
        offset = self.wall.utcoffset()
        return int(offset.total_seconds() // 60) if offset else 0


def now() -> Stamp:
    """Stamp the present moment."""
    wall = datetime.now().astimezone()
    mono = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    return Stamp(boot_id(), mono, wall, quality(wall))


@cache
def boot_id() -> str:
    """The kernel's id of this boot."""
    return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()


def quality(wall: datetime) -> Quality:
    """How far to believe the wall clock: the kernel's own word (adjtimex(2)), and plausibility."""
    if wall < PROJECT_BORN:
        return "implausible"
    timex = ctypes.create_string_buffer(_TIMEX_SIZE)  # modes = 0: ask, change nothing
    state = _libc().adjtimex(timex)
    return "unsynchronised" if state in {-1, _TIME_ERROR} else "synchronised"


def utc_text(moment: datetime) -> str:
    """UTC in ISO 8601 with milliseconds, as it is stored and sent."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
