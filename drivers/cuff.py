"""What cuffs of custom profiles share: whole mmHg, and a date in single octets. Pure."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from drivers.base import Measurement, Value
from drivers.medfloat import Reader
from drivers.spot import IMPLAUSIBLE, Bounds, Clock, is_plausible, read_clock

if TYPE_CHECKING:
    from collections.abc import Sequence

KIND = "blood-pressure"
SYSTOLIC = "150021"
DIASTOLIC = "150022"
PULSE = "149546"

# As for the cuffs of the standard profile, but for a zero: here it is no special value.
_BOUNDS = Bounds(plausible=(30, 300), possible=(10, 600))


def clock_of(stamp: Sequence[int], *, trusted: bool = True) -> Clock:
    """The time of a frame from `(year, month, day, hour, minute, second)`, judged.

    A stamp of zeros says nothing of time. `ProtocolFault` for a date or time that cannot be.
    `trusted=False` is for a device whose clock is known to go wrong.
    """
    year, *rest = stamp
    said = read_clock(
        Reader(year.to_bytes(2, "little") + bytes(rest)), present=True, quirks=frozenset()
    )
    return Clock(said.time, said.trusted and trusted, said.repeatable, said.quality)


def pressure(
    raw: bytes,
    numbers: tuple[int, int, int],
    clock: Clock,
    *,
    status: tuple[str, ...] = (),
    from_memory: bool = False,
) -> Measurement:
    """One blood pressure from whole systolic and diastolic mmHg and pulses a minute.

    `from_memory` is for a cuff that tells what it has stored. `ProtocolFault` where a number is
    not one that a cuff can measure.
    """
    plausible = numbers[0] > numbers[1]
    values = []
    for code, what, unit, number in zip(
        (SYSTOLIC, DIASTOLIC, PULSE),
        ("systolic pressure", "diastolic pressure", "pulse rate"),
        ("mm[Hg]", "mm[Hg]", "/min"),
        map(Decimal, numbers),
        strict=True,
    ):
        plausible &= is_plausible(number, _BOUNDS, what)
        values.append(Value(code, number, unit))
    return Measurement(
        kind=KIND,
        raw=raw,
        values=tuple(values),
        repeatable=clock.repeatable,
        device_time=clock.time,
        clock_trusted=clock.trusted,
        status=status,
        quality=(() if plausible else (IMPLAUSIBLE,)) + clock.quality,
        from_memory=from_memory,
    )
