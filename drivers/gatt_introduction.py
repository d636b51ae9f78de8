"""What is asked of a device once a visit, beside its readings: who it is, its battery, its clock.

Nothing here may cost a reading. Whatever a device refuses, garbles or leaves unanswered is
passed over, in the worst case with a note to the people who use it.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from drivers.base import Identity
from drivers.companions import (
    BATTERY,
    CURRENT_TIME,
    DATE_TIME,
    IDENTITY,
    LOW,
    decode_battery,
    decode_current_time,
    decode_text,
    encode_current_time,
)
from drivers.errors import ProtocolFault, Unavailable
from drivers.medfloat import decode_date_time, encode_date_time
from drivers.spot import FIRST_YEAR_IN_SERVICE

if TYPE_CHECKING:
    from collections.abc import Callable

    from drivers.base import Sink
    from drivers.gatt_link import GattLink


CLOSE_ENOUGH = timedelta(seconds=2)
"""A clock that is this near is left alone: a write costs the device's battery, too."""

UNREADABLE = "unreadable-identity"
BATTERY_LOW = "battery-low"


@dataclass(frozen=True, slots=True)
class Comparison:
    """The device's clock beside the unit's, at one moment of this visit."""

    offset: timedelta

    @property
    def milliseconds(self) -> int:
        """How far the device's clock stands ahead of the unit's."""
        return round(self.offset / timedelta(milliseconds=1))


async def identify(link: GattLink, sink: Sink) -> Identity:
    """Read the Device Information; a text that is none is left out, and said."""
    said: dict[str, str | None] = {}
    garbled = []
    for field, characteristic in IDENTITY.items():
        raw = await _read(link, characteristic)
        try:
            said[field] = decode_text(raw, field) if raw else None
        except ProtocolFault:
            garbled.append(field)
    sink.note(UNREADABLE, _unreadable(garbled))
    return Identity(**said)


async def look_at_battery(link: GattLink, sink: Sink) -> None:
    """Read the battery level and say where it is low."""
    raw = await _read(link, BATTERY)
    if raw is None:
        return
    with suppress(ProtocolFault):
        low = decode_battery(raw) <= LOW
        sink.note(BATTERY_LOW, "Its battery is low: charge or change it." if low else "")


async def compare_clocks(
    link: GattLink, characteristic: str, clock: Callable[[], datetime]
) -> Comparison | None:
    """Ask the device for its time; None where it does not tell, or does not know the date."""
    asked = clock()
    raw = await _read(link, characteristic)
    if raw is None:
        return None
    unit = asked + (clock() - asked) / 2
    decode = decode_current_time if characteristic == CURRENT_TIME else decode_date_time
    try:
        device = decode(raw)
    except ProtocolFault:
        return None
    return None if device is None else Comparison(device - unit.replace(tzinfo=None))


async def set_clock(
    link: GattLink,
    characteristic: str,
    clock: Callable[[], datetime],
    compared: Comparison | None,
) -> None:
    """Set the device's clock to the unit's, where that one can be believed and they differ.

    A device that does not let its clock be set is as good as any other.
    """
    if not link.has(characteristic) or clock().year < FIRST_YEAR_IN_SERVICE:
        return
    if compared is not None and abs(compared.offset) <= CLOSE_ENOUGH:
        return
    encode = encode_date_time if characteristic == DATE_TIME else encode_current_time
    with suppress(ProtocolFault, Unavailable):
        await link.write(characteristic, encode(clock().replace(tzinfo=None)))


async def _read(link: GattLink, characteristic: str) -> bytes | None:
    if not link.has(characteristic):
        return None
    try:
        return await link.read(characteristic)
    except (ProtocolFault, Unavailable):
        return None


def _unreadable(garbled: list[str]) -> str:
    if not garbled:
        return ""
    return f"It states its {' and '.join(garbled)} in no readable text; it is read all the same."
