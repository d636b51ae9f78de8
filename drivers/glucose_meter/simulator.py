"""Frames of a glucose meter that never was: 2A18 and 2A34 as GSS lays them out. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from itertools import count
from random import Random
from typing import TYPE_CHECKING

from drivers.glucose_meter.codec import SITES, Flag
from drivers.glucose_meter.context import HEALTH, MEALS, TESTERS, ContextFlag
from drivers.medfloat import encode_date_time, encode_sfloat

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from drivers.medfloat import Special

_CAPILLARY_BLOOD = 1


@dataclass(frozen=True, slots=True)
class Record:
    """What the meter is to say. `concentration` in kg/L, or mol/L where `moles`, None: none."""

    sequence: int
    time: datetime | None
    concentration: Decimal | Special | None
    moles: bool = False
    offset_min: int | None = None
    type: int = _CAPILLARY_BLOOD
    site: str = "finger"
    status: int | None = None
    context_follows: bool = False


@dataclass(frozen=True, slots=True)
class ContextOf:
    """What the meter is to say of the record `sequence`; None is left out."""

    sequence: int
    meal: str | None = None
    tester: str | None = None
    health: str | None = None


def encode(record: Record) -> bytes:
    """The 2A18 of a record; ValueError where the concentration has no exact SFLOAT."""
    flags = Flag.CONTEXT if record.context_follows else Flag(0)
    frame = record.sequence.to_bytes(2, "little") + encode_date_time(record.time)
    if record.offset_min is not None:
        flags |= Flag.OFFSET
        frame += record.offset_min.to_bytes(2, "little", signed=True)
    if record.concentration is not None:
        flags |= Flag.CONCENTRATION | (Flag.MOLES if record.moles else Flag(0))
        frame += encode_sfloat(record.concentration).to_bytes(2, "little")
        frame += bytes([_number(SITES, record.site) << 4 | record.type])
    if record.status is not None:
        flags |= Flag.STATUS
        frame += record.status.to_bytes(2, "little")
    return bytes([flags]) + frame


def encode_context(context: ContextOf) -> bytes:
    """The 2A34 of a record's context."""
    flags = ContextFlag(0)
    frame = context.sequence.to_bytes(2, "little")
    if context.meal is not None:
        flags |= ContextFlag.MEAL
        frame += bytes([_number(MEALS, context.meal)])
    if context.tester is not None or context.health is not None:
        flags |= ContextFlag.TESTER
        tester = _number(TESTERS, context.tester)
        frame += bytes([_number(HEALTH, context.health) << 4 | tester])
    return bytes([flags]) + frame


def frames(*, seed: int, start: datetime) -> Iterator[bytes]:
    """An endless clinic: one plausible record every four minutes, numbered from 0."""
    chance = Random(seed)  # noqa: S311 - a simulation has nothing to keep secret
    for sequence in count():
        concentration = Decimal(chance.randint(70, 180)).scaleb(-5)
        when = start + timedelta(minutes=4 * sequence)
        yield encode(Record(sequence=sequence, time=when, concentration=concentration))


def _number(table: Mapping[int, str], word: str | None) -> int:
    return next((number for number, each in table.items() if each == word), 0)
