"""What the blocks of each channel say. HP6_DATA_FORMAT.md section 4; zero means absent."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from decimal import Decimal
from enum import IntEnum, IntFlag
from typing import TYPE_CHECKING, NamedTuple

from drivers.errors import ProtocolFault

if TYPE_CHECKING:
    from drivers.healthypi6.framing import Block

ECG_RATE_HZ = 500
ECG_STEP_MS = 1000 // ECG_RATE_HZ
PPG_RATE_HZ = 250
PPG_STEP_MS = 1000 // PPG_RATE_HZ

_WHOLE = 1000

ECG_LAYOUT = struct.Struct("<4iBBH")
PPG_LAYOUT = struct.Struct("<2iB3x")
VITALS_LAYOUT = struct.Struct("<HHHhHHHBx")


class Channel(IntEnum):
    """The channels this driver names; every other one passes as an unknown block."""

    ECG = 1
    PPG = 2
    VITALS = 4


class Electrode(IntFlag):
    """Bits of `EcgSample.lead_off`. Firmware 1.0.0 may leave all at 0, and V1 is never sensed."""

    RA = 1
    LA = 2
    LL = 4
    V1 = 8


class Sign(IntFlag):
    """Bits of the flags of a vitals sample that this driver reads."""

    HR_FROM_PPG = 1
    ECG_LEAD_OFF = 2
    PPG_WEAK = 4
    MOTION = 8


class EcgSample(NamedTuple):
    """One instant, all in microvolts: respiration and the three measured leads."""

    resp: int
    i: int
    ii: int
    v1: int
    lead_off: int
    flags: int
    padding: int


class PpgSample(NamedTuple):
    """One instant of the finger: counts of the converter, which have no unit."""

    red: int
    infrared: int
    lead_off: int


@dataclass(frozen=True, slots=True)
class Vitals:
    """What the device computed itself, about once a second; None is what it did not.

    Rates per minute, saturation in percent. What comes from the finger sensor is None while
    the device calls that signal weak: it is provisional then.
    """

    heart_rate: int | None
    pulse_rate: int | None
    saturation: Decimal | None
    respiratory_rate: int | None
    signs: Sign


def ecg_samples(block: Block) -> tuple[EcgSample, ...]:
    """The samples of an ECG block.

    Raises `ProtocolFault` where length and count disagree: the firmware then speaks another
    layout than this one, and no number of it can be trusted.
    """
    if len(block.payload) != block.count * ECG_LAYOUT.size:
        raise ProtocolFault("The ECG block is not as long as its number of samples demands.", 22)
    return tuple(map(EcgSample._make, ECG_LAYOUT.iter_unpack(block.payload)))


def ppg_samples(block: Block) -> tuple[PpgSample, ...]:
    """The samples of a PPG block; none where its length is not that of its number of samples."""
    if len(block.payload) != block.count * PPG_LAYOUT.size:
        return ()
    return tuple(map(PpgSample._make, PPG_LAYOUT.iter_unpack(block.payload)))


def vitals(block: Block) -> Vitals | None:
    """The vitals of a block, or None for the shorter layout of formats before 0x0300.

    Left to the raw bytes: the temperature, since no sensor and no place of it is documented,
    and the variability of the heart rate, since it has no code.
    """
    if len(block.payload) != VITALS_LAYOUT.size:
        return None
    rate, saturation, breaths, *_, bits = VITALS_LAYOUT.unpack(block.payload)
    signs = Sign(bits & sum(Sign))
    weak, from_finger = Sign.PPG_WEAK in signs, Sign.HR_FROM_PPG in signs
    return Vitals(
        heart_rate=None if from_finger else rate or None,
        pulse_rate=rate or None if from_finger and not weak else None,
        saturation=_percent(saturation) if saturation and not weak else None,
        respiratory_rate=breaths or None,
        signs=signs,
    )


def _percent(tenths: int) -> Decimal | None:
    """A saturation, or None for one that can't be."""
    return Decimal(tenths).scaleb(-1) if tenths <= _WHOLE else None
