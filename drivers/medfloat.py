"""The numbers, dates and byte order of Bluetooth measurements, exactly as a device sends them.

SFLOAT and FLOAT are IEEE 11073-20601 (Bluetooth GSS `medfloat16`, `medfloat32`): a signed
mantissa times a signed power of ten. They become `Decimal`s with the digits they came with:
360e-1 is 36.0, 3760e-2 is 37.60. Date Time is GSS 2A08.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from enum import Enum
from typing import Literal

from drivers.errors import ProtocolFault

Order = Literal["little", "big"]

DATE_TIME_SIZE = 7
"""Octets of a 2A08: year (2, little-endian), month, day, hours, minutes, seconds."""

EARLIEST_YEAR = 1582
LATEST_YEAR = 9999


class Special(Enum):
    """What a device says instead of a number. It is never a number, not even infinity."""

    NAN = "not a number"
    NRES = "not at this resolution"
    POSITIVE_INFINITY = "above range"
    NEGATIVE_INFINITY = "below range"
    RESERVED = "reserved"


_SFLOAT_SPECIAL = {
    0x07FE: Special.POSITIVE_INFINITY,
    0x07FF: Special.NAN,
    0x0800: Special.NRES,
    0x0801: Special.RESERVED,
    0x0802: Special.NEGATIVE_INFINITY,
}
_FLOAT_SPECIAL = {
    0x7FFFFE: Special.POSITIVE_INFINITY,
    0x7FFFFF: Special.NAN,
    0x800000: Special.NRES,
    0x800001: Special.RESERVED,
    0x800002: Special.NEGATIVE_INFINITY,
}
_SFLOAT_WORD = {special: word for word, special in _SFLOAT_SPECIAL.items()}
_FLOAT_WORD = {special: word for word, special in _FLOAT_SPECIAL.items()}


def decode_sfloat(word: int) -> Decimal | Special:
    """A 16-bit SFLOAT: exponent in the high 4 bits, mantissa in the low 12, both signed.

    Only the five words with exponent 0 are special: 0xF7FF is the number 204.7.
    """
    special = _SFLOAT_SPECIAL.get(word)
    if special is not None:
        return special
    return _scaled(_signed(word & 0xFFF, 12), _signed(word >> 12, 4))


def encode_sfloat(number: Decimal | Special) -> int:
    """The 16-bit word of `number`, digits kept; ValueError where no word says it exactly."""
    if isinstance(number, Special):
        return _SFLOAT_WORD[number]
    mantissa, exponent = _parts(number, mantissa_bits=12, exponent_bits=4)
    word = (exponent & 0xF) << 12 | mantissa & 0xFFF
    if word in _SFLOAT_SPECIAL:
        raise ValueError(f"{number} falls on a special value of SFLOAT")
    return word


def decode_float(word: int) -> Decimal | Special:
    """A 32-bit FLOAT: exponent in the high 8 bits, mantissa in the low 24, both signed.

    A special mantissa is special under any exponent: some devices do not clear theirs. The
    text of the result stays under 16 characters, even for an exponent of 127.
    """
    special = _FLOAT_SPECIAL.get(word & 0xFFFFFF)
    if special is not None:
        return special
    return _scaled(_signed(word & 0xFFFFFF, 24), _signed(word >> 24, 8))


def encode_float(number: Decimal | Special) -> int:
    """The 32-bit word of `number`, digits kept; ValueError where no word says it exactly."""
    if isinstance(number, Special):
        return _FLOAT_WORD[number]
    mantissa, exponent = _parts(number, mantissa_bits=24, exponent_bits=8)
    if mantissa & 0xFFFFFF in _FLOAT_SPECIAL:
        raise ValueError(f"{number} falls on a special value of FLOAT")
    return (exponent & 0xFF) << 24 | mantissa & 0xFFFFFF


def decode_date_time(raw: bytes) -> datetime | None:
    """A 2A08, naive; None where year, month or day is 0, which says «unknown».

    `ProtocolFault` for any size but 7 octets and for a date or time that cannot be.
    """
    if len(raw) != DATE_TIME_SIZE:
        raise ProtocolFault("The device's date and time has the wrong length.")
    year = int.from_bytes(raw[:2], "little")
    month, day, hour, minute, second = raw[2:]
    if year and not EARLIEST_YEAR <= year <= LATEST_YEAR:
        raise ProtocolFault("The device sent a year that cannot be.")
    known = bool(year and month and day)
    try:
        # An unknown part is stood in for, so that the known ones are still held to account:
        # 2000 is a leap year and January has 31 days.
        when = datetime(year or 2000, month or 1, day or 1, hour, minute, second)  # noqa: DTZ001
    except ValueError:
        raise ProtocolFault("The device sent a date or time that cannot be.") from None
    return when if known else None


def encode_date_time(when: datetime | None) -> bytes:
    """The 7 octets of a 2A08; all zero for None. ValueError before the year 1582."""
    if when is None:
        return bytes(DATE_TIME_SIZE)
    if when.year < EARLIEST_YEAR:
        raise ValueError(f"Date Time knows no year before {EARLIEST_YEAR}")
    clock = (when.month, when.day, when.hour, when.minute, when.second)
    return when.year.to_bytes(2, "little") + bytes(clock)


class Reader:
    """Reads one frame from front to back; every step raises `ProtocolFault` when it is short."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self.offset = 0

    def take(self, size: int) -> bytes:
        """The next `size` octets."""
        end = self.offset + size
        if end > len(self._raw):
            raise ProtocolFault("The frame ends too early.", len(self._raw))
        piece = self._raw[self.offset : end]
        self.offset = end
        return piece

    def unsigned(self, size: int, order: Order = "little") -> int:
        """The next `size` octets as an unsigned number."""
        return int.from_bytes(self.take(size), order)

    def sfloat(self, order: Order = "little") -> Decimal | Special:
        """The next two octets as SFLOAT."""
        return decode_sfloat(self.unsigned(2, order))

    def float(self) -> Decimal | Special:
        """The next four octets as FLOAT."""
        return decode_float(self.unsigned(4))

    def end(self) -> None:
        """Refuse a frame that goes on: what we cannot explain may change what we have read."""
        if self.offset != len(self._raw):
            raise ProtocolFault("The frame is longer than its flags say.", self.offset)


def _signed(bits: int, width: int) -> int:
    return bits - (1 << width) if bits >> (width - 1) else bits


def _scaled(mantissa: int, exponent: int) -> Decimal:
    digits = tuple(int(digit) for digit in str(abs(mantissa)))
    return Decimal((int(mantissa < 0), digits, exponent))


def _parts(number: Decimal, *, mantissa_bits: int, exponent_bits: int) -> tuple[int, int]:
    sign, digits, exponent = number.as_tuple()
    if not isinstance(exponent, int):
        raise ValueError(f"{number} is no number; say it with a Special")  # noqa: TRY004
    mantissa = int("".join(map(str, digits))) * (-1 if sign else 1)
    if not _fits(mantissa, mantissa_bits) or not _fits(exponent, exponent_bits):
        raise ValueError(f"{number} does not fit")
    return mantissa, exponent


def _fits(number: int, bits: int) -> bool:
    return -(1 << (bits - 1)) <= number < 1 << (bits - 1)
