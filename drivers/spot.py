"""What the codecs of spot measurements share: clocks, bounds, quirks and written-out digits."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from drivers.base import Measurement, NoReading
from drivers.errors import ProtocolFault
from drivers.medfloat import DATE_TIME_SIZE, Reader, Special, decode_date_time

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime
    from decimal import Decimal

    from drivers.card import Card, Pairing, Quirk

IMPLAUSIBLE = "implausible"
CLOCK_UNSET = "clock-unset"

FIRST_YEAR_IN_SERVICE = 2026
"""No unit read a device before this year, so an earlier January is a factory clock's."""

MOST_DECIMALS = 6
"""A mantissa of 24 bits with more decimals than this stays below 8.4, under every bound."""


@dataclass(frozen=True, slots=True)
class Clock:
    """What a frame says of its own time; see `Measurement` for the fields' meaning."""

    time: datetime | None = None
    trusted: bool = False
    repeatable: bool = False
    quality: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Bounds:
    """Outside `plausible` a value is flagged, outside `possible` the frame is refused."""

    plausible: tuple[int, int]
    possible: tuple[int, int]


def read_clock(reader: Reader, *, present: bool, quirks: frozenset[str]) -> Clock:
    """The optional Date Time (2A08) of a frame, judged; `ProtocolFault` where it cannot be.

    A factory clock starts on the first of January of some past year and runs from the moment
    the device is switched on: 2010-01-02, 2017-01-01 and 2020-01-20 were captured in the field.
    A device with the `frozen-clock` quirk repeats one time, which then identifies no reading.
    """
    if not present:
        return Clock()
    stamp = reader.take(DATE_TIME_SIZE)
    when = decode_date_time(stamp)
    unset = when is not None and when.month == 1 and when.year < FIRST_YEAR_IN_SERVICE
    return Clock(
        time=when,
        trusted=when is not None and not unset,
        repeatable=any(stamp) and "frozen-clock" not in quirks,
        quality=(CLOCK_UNSET,) if unset else (),
    )


def dated(kind: str, raw: bytes, clock: Clock) -> Measurement:
    """A measurement of which no more is said yet than what it is, its bytes and its time."""
    return Measurement(
        kind=kind,
        raw=raw,
        repeatable=clock.repeatable,
        device_time=clock.time,
        clock_trusted=clock.trusted,
        quality=clock.quality,
    )


# HL7 PHD guide: a special value of IEEE 11073-20601 becomes a data-absent-reason.
_ABSENT = {
    Special.NAN: "not-a-number",
    Special.POSITIVE_INFINITY: "positive-infinity",
    Special.NEGATIVE_INFINITY: "negative-infinity",
}


def failure(reason: str, about: Measurement, said: Special) -> NoReading:
    """A measurement that failed: `about` has no values, `said` stood in the main one's place.

    No other value of such a frame is taken: its bytes are kept, and tell them.
    """
    return NoReading(reason, report=replace(about, absent=_ABSENT.get(said, "error")))


def is_plausible(number: Decimal, bounds: Bounds, what: str) -> bool:
    """Whether `number` lies within the plausible bounds, ends included.

    `ProtocolFault` where it is not even possible: no value is built from such a frame.
    """
    low, high = bounds.possible
    if not low <= number <= high:
        raise ProtocolFault(f"The {what} is a number no device of this kind can measure.")
    low, high = bounds.plausible
    return low <= number <= high


def written_out(number: Decimal, what: str) -> Decimal:
    """`number` with the digits a person writes: 12E+1 becomes 120, 36.0 stays 36.0.

    For numbers within possible bounds only: they have few digits before the point. More than
    six after it are a `ProtocolFault`, since no such reading exists.
    """
    exponent = number.as_tuple().exponent
    if not isinstance(exponent, int) or exponent < -MOST_DECIMALS:
        raise ProtocolFault(f"The {what} has more decimals than any device of this kind shows.")
    return number.quantize(1) if exponent > 0 else number


def quirks_of(quirks: Iterable[Quirk], name: str | None) -> tuple[Quirk, ...]:
    """The quirks of a device that shows itself as `name`; none for one that shows nothing."""
    if name is None:
        return ()
    return tuple(quirk for quirk in quirks if re.search(quirk.name, name))


def shown_as(
    name: str | None, model: str | None = None, companies: Iterable[int] = ()
) -> str | None:
    """All that a device shows of itself, in one text for the quirks to be searched in.

    `name` is that on the air, `model` that of its Device Information, `companies` the
    manufacturer ids it advertises: `BLESmart; HEM-7600T; company 020E`. None for nothing.
    """
    known = [each for each in (name, model) if each]
    known += [f"company {company:04X}" for company in companies]
    return "; ".join(known) or None


def deviations(quirks: Iterable[Quirk], name: str | None) -> frozenset[str]:
    """What the quirks of a device called `name` apply, all together."""
    return frozenset(what for quirk in quirks_of(quirks, name) for what in quirk.apply)


def pairing_of(card: Card, shown: str | None) -> Pairing:
    """What a person does to pair a device that shows itself as `shown`."""
    said = [quirk.pairing for quirk in quirks_of(card.quirks, shown) if quirk.pairing is not None]
    return said[0] if said else card.pairing
