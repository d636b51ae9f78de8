"""The table: what a frame of each board looks like. Pure data."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from fractions import Fraction


class Number(Enum):
    """How a channel is written, most significant byte first: its size, whether it has a sign."""

    U16_BIG = (2, False)
    I24_BIG = (3, True)

    def read(self, raw: bytes, at: int) -> int:
        """The number at an offset of a frame that is long enough."""
        size, signed = self.value
        return int.from_bytes(raw[at : at + size], "big", signed=signed)

    def write(self, number: int) -> bytes:
        """The bytes of a number; OverflowError for one that they can't hold."""
        size, signed = self.value
        return number.to_bytes(size, "big", signed=signed)


@dataclass(frozen=True, slots=True)
class Fixed:
    """A byte whose masked bits are always the same; `at` counts from the frame's first byte."""

    at: int
    value: int
    mask: int = 0xFF


class Checksum(Enum):
    """What guards a frame. None of the boards has one; the value is what people call it."""

    NONE = "none"
    SUM_IS_ZERO = "the sum of all bytes is 0 modulo 256"

    def holds(self, raw: bytes) -> bool:
        """Whether a frame is whole as far as this guard can tell."""
        return self is Checksum.NONE or sum(raw) % 256 == 0


@dataclass(frozen=True, slots=True)
class Layout:
    """Frames of one length that begin with `sync`.

    `microvolts` is what one step of a channel is worth, None where it is not known. `counter` is
    the offset of a byte that grows by one a frame, None where there is none. `highest` is the
    largest number a channel can hold, where that is less than its bytes allow.
    """

    name: str
    sync: bytes
    length: int
    channels: tuple[int, ...]
    number: Number
    rate_hz: int
    fixed: tuple[Fixed, ...] = ()
    checksum: Checksum = Checksum.NONE
    counter: int | None = None
    highest: int | None = None
    microvolts: Fraction | None = None
    start: bytes = b""


@dataclass(frozen=True, slots=True)
class Lines:
    """Frames that are lines of text: one whole number, or the word for electrodes that are off.

    There is no rate: the board says a number whenever it comes round to it.
    """

    name: str
    highest: int
    off: bytes
    start: bytes = b""


AD8232 = Lines("ad8232", highest=1023, off=b"!")
"""SparkFun `Heart_Rate_Display_Arduino.ino` at 0e92e94a: `analogRead` a line, 9600 baud."""

OLIMEX = Layout(
    "olimex",
    sync=bytes.fromhex("a55a02"),
    length=17,
    channels=(4, 6, 8, 10, 12, 14),
    number=Number.U16_BIG,
    rate_hz=256,
    counter=3,
    highest=1023,
)
"""Olimex SHIELD-EKG-EMG, «Packet Format Version 2»: 57600 baud, 10 bits of an Arduino."""

CYTON = Layout(
    "cyton",
    sync=bytes.fromhex("a0"),
    length=33,
    channels=(2, 5, 8, 11, 14, 17, 20, 23),
    number=Number.I24_BIG,
    rate_hz=250,
    fixed=(Fixed(32, 0xC0, 0xF0),),
    counter=1,
    microvolts=Fraction(4_500_000, 24 * (2**23 - 1)),
    start=b"b",
)
"""OpenBCI Cyton: 115200 baud through its dongle; the scale is that of the default gain of 24."""

HEALTHYPI4 = Layout(
    "healthypi4",
    sync=bytes.fromhex("0afa140002"),
    length=27,
    channels=(),
    number=Number.U16_BIG,
    rate_hz=125,
    fixed=(Fixed(25, 0x00), Fixed(26, 0x0B)),
)
"""`Healthypiv4_Arduino.ino` of `Protocentral/protocentral_healthypi_v4`: 115200 baud."""
