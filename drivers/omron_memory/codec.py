"""Records of 14 octets in the memory of Omron cuffs, in two layouts, and answers with them. Pure.

Little-endian (HEM-7142T2): systolic less 25, diastolic, pulse, year of the century in 6 bits,
then a u16 of hour 5 bits, day 5, month 4, irregular pulse, movement, and a u16 of second 6 bits,
minute 6. Bit-packed from the highest bit on (HEM-7322T family, HEM-7600T): diastolic 8 bits,
systolic less 25 8, year 8, pulse 8, movement, irregular pulse, month 4, day 5, hour 5, 4 that
are not read, minute 6, second 6 (eigger/hass-omron). The other bits of either are not read.

Some cuffs write seconds up to 63 (omblepy, hem-7322t.py): the values of such a record stand, and
its time is unknown.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from drivers.base import Decoded, NoReading, Outcome
from drivers.card import card
from drivers.cuff import clock_of, pressure
from drivers.errors import ProtocolFault
from drivers.omron_memory.models import RECORD, memory_of
from drivers.omron_memory.wire import READ_ANSWER, parse
from drivers.spot import CLOCK_UNSET, Clock, deviations

if TYPE_CHECKING:
    from drivers.base import DecodeFunction, Measurement
    from drivers.medfloat import Order
    from drivers.omron_memory.wire import Answer

LEAST_SYSTOLIC: Final = 25
MOST_SYSTOLIC_OCTET: Final = 0xE1
CENTURY: Final = 2000
MOST_SECOND: Final = 59

LITTLE_ENDIAN: Final = "little-endian-record"
BIT_PACKED: Final = "bit-packed-record"

Fields = tuple[tuple[int, int, int], tuple[int, int, int, int, int, int], bool, bool]
"""Systolic, diastolic, pulse; year to second; irregular pulse; movement."""


def decode(raw: bytes, *, name: str | None = None) -> Outcome:
    """Decode one record of the model that `name` tells.

    A place that was never written is `NoReading`. `ProtocolFault` for what is no record, and
    for a model whose layout is not known.
    """
    if len(raw) != RECORD:
        raise ProtocolFault("The record has the wrong length.", min(len(raw), RECORD))
    layouts = deviations(card("omron-memory").quirks, name)
    if not layouts & {LITTLE_ENDIAN, BIT_PACKED}:
        raise ProtocolFault("It is not known how this model lays out its memory.")
    little = LITTLE_ENDIAN in layouts
    if _is_empty(raw, little=little):
        return NoReading("This place in the cuff's memory was never written.")
    numbers, stamp, irregular, movement = (_little_endian if little else _bit_packed)(raw)
    status = (("irregular-pulse",) if irregular else ()) + (("body-movement",) if movement else ())
    clock = _clock(stamp)
    return Decoded((pressure(raw, numbers, clock, status=status, from_memory=True),))


def decode_answer(raw: bytes, *, name: str | None = None) -> Outcome:
    """Decode one whole answer of the model that `name` tells, without what fills its last piece.

    `ProtocolFault` also where one of its records can't be read.
    """
    answer = parse(raw)
    if answer.kind != READ_ANSWER:
        return NoReading("The cuff has done what it was told.")
    readings, faults = records(answer, name)
    for fault in faults:
        raise fault
    if readings:
        return Decoded(readings)
    return NoReading("This part of the cuff's memory holds no record.")


def records(
    answer: Answer, name: str | None
) -> tuple[tuple[Measurement, ...], tuple[ProtocolFault, ...]]:
    """The readings of an answer, each with its user, and what is wrong with those that aren't."""
    memory = memory_of(name)
    user = memory.user_of(answer.address) if memory else None
    readings: list[Measurement] = []
    faults = []
    for start in range(0, len(answer.data), RECORD):
        try:
            outcome = decode(answer.data[start : start + RECORD], name=name)
        except ProtocolFault as fault:
            faults.append(fault)
            continue
        if isinstance(outcome, Decoded):
            readings += [replace(each, user_slot=user) for each in outcome.readings]
    return tuple(readings), tuple(faults)


DECODERS: Final[dict[str, DecodeFunction]] = {"OMRON-MEMORY-ANSWER": decode_answer}


def _clock(stamp: tuple[int, int, int, int, int, int]) -> Clock:
    if stamp[-1] <= MOST_SECOND:
        return clock_of(stamp)
    clock_of((*stamp[:-1], MOST_SECOND))  # the rest of it has to be a time
    return Clock(repeatable=True, quality=(CLOCK_UNSET,))


def _is_empty(raw: bytes, *, little: bool) -> bool:
    if set(raw) == {0xFF} or not any(raw):
        return True
    return little and (raw[0] > MOST_SYSTOLIC_OCTET or not any(raw[1:8]))


def _little_endian(raw: bytes) -> Fields:
    numbers = (raw[0] + LEAST_SYSTOLIC, raw[1], raw[2])
    return _fields(raw, numbers, raw[3] & 0x3F, "little")


def _bit_packed(raw: bytes) -> Fields:
    numbers = (raw[1] + LEAST_SYSTOLIC, raw[0], raw[3])
    return _fields(raw, numbers, raw[2], "big")


def _fields(raw: bytes, numbers: tuple[int, int, int], year: int, order: Order) -> Fields:
    first, second = int.from_bytes(raw[4:6], order), int.from_bytes(raw[6:8], order)
    date = (CENTURY + year, first >> 10 & 0x0F, first >> 5 & 0x1F)
    time = (first & 0x1F, second >> 6 & 0x3F, second & 0x3F)
    return numbers, (*date, *time), bool(first >> 14 & 1), bool(first >> 15)
