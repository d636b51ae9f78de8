"""What stands beside a measurement in a device: its identity (180A), battery (180F), clock. Pure.

Device Information texts are 2A29, 2A24, 2A25, 2A26; System ID is 2A23; Battery Level is 2A19;
Current Time is 2A2B of the Current Time Service (1805). Layouts are those of Bluetooth GSS.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from drivers.errors import ProtocolFault
from drivers.medfloat import Reader, decode_date_time, encode_date_time

MANUFACTURER = "2A29"
MODEL = "2A24"
SERIAL = "2A25"
FIRMWARE = "2A26"
SYSTEM_ID = "2A23"
BATTERY = "2A19"
CURRENT_TIME = "2A2B"
DATE_TIME = "2A08"

IDENTITY = {
    "manufacturer": MANUFACTURER,
    "model": MODEL,
    "serial": SERIAL,
    "firmware": FIRMWARE,
}
"""The fields of `drivers.base.Identity`, and where a device keeps them."""

LONGEST_TEXT = 128
FULL = 100
LOW = 20
"""Percent of a battery below which a person should see to it."""

_LAST_DAY_OF_WEEK = 7
_FRACTIONS = 256


def decode_text(raw: bytes, what: str) -> str | None:
    """A text of the Device Information Service; None where the device leaves it empty.

    Padding with NUL and blanks falls away. `ProtocolFault` for anything that is not UTF-8, for
    control characters inside, and for more than 128 octets.
    """
    if len(raw) > LONGEST_TEXT:
        raise ProtocolFault(f"The device states its {what} at a length no label has.")
    try:
        text = raw.decode("utf-8").strip("\0 \t\r\n")
    except UnicodeDecodeError as error:
        raise ProtocolFault(f"The device states its {what} in no readable text.") from error
    if not all(letter.isprintable() for letter in text):
        raise ProtocolFault(f"The device states its {what} in no readable text.")
    return text or None


def encode_text(text: str) -> bytes:
    """A text as a device states it; ValueError where it is longer than 128 octets."""
    raw = text.encode()
    if len(raw) > LONGEST_TEXT:
        raise ValueError("a label this long fits no device")
    return raw


@dataclass(frozen=True, slots=True)
class SystemId:
    """2A23: the manufacturer's 40-bit number of the device and its 24-bit IEEE company id."""

    number: int
    company: int


def decode_system_id(raw: bytes) -> SystemId:
    """A 2A23 of 8 octets; `ProtocolFault` for any other size."""
    reader = Reader(raw)
    system = SystemId(number=reader.unsigned(5), company=reader.unsigned(3))
    reader.end()
    return system


def encode_system_id(system: SystemId) -> bytes:
    """The 8 octets of a 2A23; OverflowError where a part does not fit."""
    return system.number.to_bytes(5, "little") + system.company.to_bytes(3, "little")


def decode_battery(raw: bytes) -> int:
    """A 2A19 in percent; `ProtocolFault` for more than 100 or another size than 1 octet."""
    reader = Reader(raw)
    level = reader.unsigned(1)
    reader.end()
    if level > FULL:
        raise ProtocolFault("The device states a battery level that cannot be.")
    return level


def encode_battery(level: int) -> bytes:
    """The octet of a 2A19; ValueError outside 0 to 100 percent."""
    if not 0 <= level <= FULL:
        raise ValueError(f"{level} percent of a battery cannot be")
    return bytes([level])


def decode_current_time(raw: bytes) -> datetime | None:
    """A 2A2B, naive; None where the device does not know the date.

    10 octets: Date Time, day of the week (0 unknown, 1 Monday), 1/256 s, why it was adjusted.
    The day of the week is not compared with the date: devices let it run on its own.
    """
    reader = Reader(raw)
    when = decode_date_time(reader.take(7))
    day = reader.unsigned(1)
    fraction = reader.unsigned(1)
    reader.unsigned(1)
    reader.end()
    if day > _LAST_DAY_OF_WEEK:
        raise ProtocolFault("The device states a day of the week that cannot be.", 7)
    return when and when + timedelta(microseconds=fraction * 1_000_000 // _FRACTIONS)


def encode_current_time(when: datetime) -> bytes:
    """The 10 octets of a 2A2B that sets a clock to `when`, a naive local time.

    No reason of adjustment is given: devices refuse those that they do not know.
    """
    fraction = when.microsecond * _FRACTIONS // 1_000_000
    return encode_date_time(when) + bytes([when.isoweekday(), fraction, 0])
