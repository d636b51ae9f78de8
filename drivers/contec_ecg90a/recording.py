"""The `.ECG` file of a Contec ECG90A, byte for byte. Pure.

43 bytes of header: case number (8, text), 2 unknown, date and time (20, text), 2 unknown,
patient's name (8), sex, age, weight (a byte each). Then samples at 800 Hz, each eight 16-bit
little-endian numbers: leads II, III, V1 to V6, in steps of 5 uV around 2048; 0x6800 where the
signal is out of range. Then 37 zero bytes. There is no checksum: what the form allows to be
checked is checked. Format after the measurements published by RigacciOrg/ecg-contec.

The case number and what the header says about the patient are identity: nothing here gives
them on; they stay in the raw bytes.
"""

from __future__ import annotations

import re
import sys
from array import array
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from functools import cached_property
from typing import Final

from drivers.dicom.leads import (
    LEAD_AVF,
    LEAD_AVL,
    LEAD_AVR,
    LEAD_I,
    LEAD_II,
    LEAD_III,
    LEAD_V1,
    LEAD_V2,
    LEAD_V3,
    LEAD_V4,
    LEAD_V5,
    LEAD_V6,
    Lead,
)
from drivers.dicom.waveform import Trace
from drivers.errors import ProtocolFault

HEADER: Final = 43
FOOTER: Final = 37
MEASURED: Final = (LEAD_II, LEAD_III, LEAD_V1, LEAD_V2, LEAD_V3, LEAD_V4, LEAD_V5, LEAD_V6)
"""The leads of a file, in the order of its numbers."""

RATE_HZ: Final = 800
STEP_UV: Final = Decimal(5)
MIDDLE: Final = 2048
OUT_OF_RANGE: Final = 0x6800

LONGEST_S: Final = 600
"""A longer file is none of this device's, and would fill the memory."""

_INSTANT = 2 * len(MEASURED)
_LARGEST = HEADER + FOOTER + LONGEST_S * RATE_HZ * _INSTANT
_CONVERTER = 4095
_TIME_AT = slice(10, 30)
_TIME = re.compile(rb"(\d{4}-\d{2}-\d{2} \d{2}:\d{2}:\d{2})\x00")
_HALF_STEP = STEP_UV / 2


@dataclass(frozen=True)
class Recording:
    """One file. `numbers` holds one lane a measured lead, None where out of range.

    `device_time` is what the device's clock said at the start, None where that is no date.
    """

    raw: bytes = field(repr=False)
    device_time: datetime | None
    numbers: tuple[tuple[int | None, ...], ...] = field(repr=False)
    rate_hz: int = RATE_HZ

    @property
    def duration(self) -> Decimal:
        """Seconds from the first sample to the end of the last."""
        return Decimal(len(self.numbers[0])) / self.rate_hz

    @property
    def out_of_range(self) -> bool:
        """Whether any sample is missing because the signal left the converter's range."""
        return any(None in lane for lane in self.numbers)

    @cached_property
    def traces(self) -> tuple[Trace, ...]:
        """The twelve leads in their usual order; the derived ones in half steps, so exact."""
        ii, iii = self.numbers[:2]
        limb = {
            LEAD_I: _derived(LEAD_I, ii, iii, (2, -2), "II - III (Einthoven)"),
            LEAD_II: Trace(LEAD_II, ii, step=STEP_UV),
            LEAD_III: Trace(LEAD_III, iii, step=STEP_UV),
            LEAD_AVR: _derived(LEAD_AVR, ii, iii, (-2, 1), "III/2 - II (Goldberger)"),
            LEAD_AVL: _derived(LEAD_AVL, ii, iii, (1, -2), "II/2 - III (Goldberger)"),
            LEAD_AVF: _derived(LEAD_AVF, ii, iii, (1, 1), "(II + III)/2 (Goldberger)"),
        }
        chest = zip(MEASURED[2:], self.numbers[2:], strict=True)
        return (*limb.values(), *(Trace(lead, lane, step=STEP_UV) for lead, lane in chest))


def _derived(
    lead: Lead,
    ii: tuple[int | None, ...],
    iii: tuple[int | None, ...],
    factors: tuple[int, int],
    derivation: str,
) -> Trace:
    """A lead as `factors` of II and III, in half steps; None where either is missing."""
    p, q = factors
    lane = tuple(
        None if a is None or b is None else p * a + q * b for a, b in zip(ii, iii, strict=True)
    )
    return Trace(lead, lane, step=_HALF_STEP, derivation=derivation)


def parse(raw: bytes) -> Recording:
    """Read a whole file; raise `ProtocolFault` for anything that is not one, or not whole."""
    if len(raw) > _LARGEST:
        raise ProtocolFault("The file is longer than any recording of an ECG90A.")
    stamp = _TIME.match(raw[_TIME_AT])
    if stamp is None:
        raise ProtocolFault("The file is not a recording of an ECG90A.", min(len(raw), 10))
    content = len(raw) - HEADER - FOOTER
    if content < _INSTANT or content % _INSTANT or any(raw[-FOOTER:]):
        raise ProtocolFault("The recording is cut off or damaged.", len(raw))
    return Recording(raw, _date(stamp[1].decode("ascii")), _lanes(raw[HEADER:-FOOTER]))


def _date(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def _lanes(content: bytes) -> tuple[tuple[int | None, ...], ...]:
    words = array("H", content)
    if sys.byteorder == "big":
        words.byteswap()
    if any(word > _CONVERTER and word != OUT_OF_RANGE for word in words):
        raise ProtocolFault("The recording holds numbers that an ECG90A cannot measure.", HEADER)
    if not _every_instant_says_something(content):
        raise ProtocolFault("The recording ends before its file does.", HEADER)
    count = len(MEASURED)
    return tuple(
        tuple(None if word == OUT_OF_RANGE else word - MIDDLE for word in words[lane::count])
        for lane in range(count)
    )


def _every_instant_says_something(content: bytes) -> bool:
    """Eight zeros mark the end; before it they are what was never written."""
    nothing = bytes(_INSTANT)
    return all(
        content[start : start + _INSTANT] != nothing for start in range(0, len(content), _INSTANT)
    )
