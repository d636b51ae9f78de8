"""Whether the unit's clock was put right, from pairs of boot time and wall time: pure.

The kernel slews CLOCK_BOOTTIME together with the wall clock, so that the two drift apart by steps
alone (clock_gettime(2), adjtimex(2)). A zone's offset is of neither: Ramadan changes nothing here.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, timedelta
from typing import TYPE_CHECKING, Any

from agent.clock import utc_text

if TYPE_CHECKING:
    from datetime import datetime

    from agent.clock import Stamp

KIND = "clock-adjusted"
STEP = timedelta(seconds=2)
"""What the wall clock may gain or lose against the boot's before it is said."""


_MILLISECOND = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class Adjustment:
    """The clock was put right, or its times are confirmed, at `stamp`.

    `wall_before` is what it would have shown then. `offset` is how far it was moved; None after
    another boot, where nobody knows how long the computer was off.
    """

    stamp: Stamp
    wall_before: datetime
    offset: timedelta | None

    def said(self) -> dict[str, Any]:
        """What the record says of it (docs/reference/contract.md, C-4.9)."""
        return {
            "boot": self.stamp.boot,
            "mono_ns": self.stamp.mono_ns,
            "wall_before": utc_text(self.wall_before),
            "wall_after": utc_text(self.stamp.wall),
            "offset_ms": None if self.offset is None else self.offset // _MILLISECOND,
            "clock": self.stamp.clock,
        }


def compare(anchor: Stamp, stamp: Stamp, *, doubted: bool) -> Adjustment | None:
    """What happened to the clock between two moments; None where nothing is to be said.

    `doubted`: readings of this boot carry times that nobody has vouched for yet. Across boots one
    thing only is certain: that time does not go back.
    """
    then, present = anchor.wall.astimezone(UTC), stamp.wall.astimezone(UTC)
    if anchor.boot != stamp.boot:
        return Adjustment(stamp, then, None) if then - present > STEP else None
    wall_before = then + timedelta(microseconds=(stamp.mono_ns - anchor.mono_ns) // 1000)
    offset = present - wall_before
    vouched = doubted and stamp.clock == "synchronised"
    return Adjustment(stamp, wall_before, offset) if abs(offset) > STEP or vouched else None
