"""The recovery ladder of a Bluetooth adapter, and what a bond's failures mean: both pure.

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


class Bond(Enum):
    """What the failures of a bonded device mean for its bond."""

    SOUND = "sound"
    STALE = "stale"
    LOST = "lost"


_ABORTS = 3
"""A single abort is the weather; a bond is given up after so many in a row."""


class Bonds:
    """Tells a stale bond from bad reception, address by address; re-paired once, then asked."""

    def __init__(self) -> None:
        self._aborts: dict[str, int] = {}
        self._mended: set[str] = set()

    def failed(self, address: str, error: str) -> Bond:
        """A connection to a bonded device ended with the stack's `error`: what that means.

        STALE: remove the bond and pair once more. LOST: that has been done, and a person has to
        pair. Error texts: `org.bluez.Error.AuthenticationFailed`, `le-connection-abort-by-…`.
        """
        if "AuthenticationFailed" in error or "key-missing" in error:
            return self._judge(address)
        if "le-connection-abort" in error:
            self._aborts[address] = self._aborts.get(address, 0) + 1
            if self._aborts[address] >= _ABORTS:
                return self._judge(address)
        return Bond.SOUND

    def worked(self, address: str) -> None:
        """A visit went well: the bond is sound, and may be mended once again."""
        self._aborts.pop(address, None)
        self._mended.discard(address)

    def _judge(self, address: str) -> Bond:
        self._aborts.pop(address, None)
        if address in self._mended:
            return Bond.LOST
        self._mended.add(address)
        return Bond.STALE
