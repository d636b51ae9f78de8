"""The recovery ladder of a Bluetooth adapter: pure.

Time is handed in, in seconds of a monotonic clock. The rungs are those that users of BlueZ climb
by hand: bleak issues 178, 859 and 1603, bluez issue 1554, theengs/gateway issue 264.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


class Step(StrEnum):
    """One thing that can be done for an adapter that no longer does its work."""

    RESTART_SCAN = "restart-scan"
    POWER_CYCLE = "power-cycle"
    RESET = "reset"
    RESTART_SERVICE = "restart-service"


class Trouble(Enum):
    """What is wrong: the stack refuses, or nobody is heard (which a quiet place explains)."""

    REFUSED = "refused"
    SILENT = "silent"


@dataclass(frozen=True, slots=True)
class Rung:
    """A step, the seconds it is given to show an effect, and whether silence alone is worth it."""

    step: Step
    pause: float
    for_silence: bool = False


RUNGS = (
    Rung(Step.RESTART_SCAN, 2.0, for_silence=True),
    Rung(Step.POWER_CYCLE, 5.0, for_silence=True),
    Rung(Step.RESET, 10.0),
    Rung(Step.RESTART_SERVICE, 15.0),
)


@dataclass(frozen=True, slots=True)
class Climb:
    """What to do now: the step, or None where only trying again is left, and the pause after it.

    `alarm`: the last step has not helped either, so a person has to be told.
    """

    step: Step | None
    pause: float
    alarm: bool = False


class Ladder:
    """Which step comes next. After the last it rests, and then begins anew, for ever.

    Seconds: `rest` without a step after the last one, `again` between attempts meanwhile.
    """

    def __init__(
        self,
        rungs: Sequence[Rung] = RUNGS,
        *,
        rest: float = 300.0,
        again: float = 5.0,
        stands_after: float = 60.0,
    ) -> None:
        self._rungs = rungs
        self._rest = rest
        self._again = again
        self._stands_after = stands_after
        self._next = 0
        self._troubled_at: float | None = None
        self._rests_until: float | None = None

    def troubled(self, now: float, trouble: Trouble) -> Climb:
        """The adapter is in trouble at `now`; what to do about it.

        One that has worked for `stands_after` seconds since it was last in trouble begins at
        the lowest rung again. Silence never climbs to where it would disturb others, and
        raises no alarm.
        """
        if self._troubled_at is not None and now - self._troubled_at >= self._stands_after:
            self._next, self._rests_until = 0, None
        climb = self._climb(now, trouble)
        self._troubled_at = now + climb.pause
        return climb

    def _climb(self, now: float, trouble: Trouble) -> Climb:
        if self._rests_until is not None and now < self._rests_until:
            return Climb(None, self._again)
        self._rests_until = None
        rungs = [rung for rung in self._rungs if trouble is Trouble.REFUSED or rung.for_silence]
        if self._next < len(rungs):
            rung = rungs[self._next]
            self._next += 1
            return Climb(rung.step, rung.pause)
        self._next = 0
        if trouble is Trouble.SILENT:
            return Climb(None, self._again)
        self._rests_until = now + self._rest
        return Climb(None, self._again, alarm=True)
