"""Glucose Measurement Context (2A34) of Bluetooth GSS, in words. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntFlag
from typing import TYPE_CHECKING

from drivers.medfloat import Reader

if TYPE_CHECKING:
    from collections.abc import Mapping


class ContextFlag(IntFlag):
    """Octet 0 of 2A34."""

    CARBOHYDRATE = 0x01
    MEAL = 0x02
    TESTER = 0x04
    EXERCISE = 0x08
    MEDICATION = 0x10
    LITRES = 0x20
    HBA1C = 0x40
    EXTENDED = 0x80


MEALS = {1: "before-meal", 2: "after-meal", 3: "fasting", 4: "casual", 5: "at-bedtime"}
TESTERS = {1: "tested-by-patient", 2: "tested-by-professional", 3: "tested-in-laboratory"}
HEALTH = {
    1: "minor-health-issues",
    2: "major-health-issues",
    3: "during-menses",
    4: "under-stress",
}


@dataclass(frozen=True, slots=True)
class Context:
    """What went with the record `sequence`, in words that stand in its reading's status.

    Amounts (carbohydrates, exercise, medication, HbA1c) are what the patient typed in. They
    are read over, and stay in the raw frame.
    """

    sequence: int
    words: tuple[str, ...]


def decode_context(raw: bytes) -> Context:
    """Decode one 2A34; `ProtocolFault` where it breaks GSS. Reserved numbers say nothing."""
    reader = Reader(raw)
    flags = ContextFlag(reader.unsigned(1))
    sequence = reader.unsigned(2)
    if ContextFlag.EXTENDED in flags:
        reader.take(1)
    if ContextFlag.CARBOHYDRATE in flags:
        reader.take(3)
    words = _word(MEALS, reader.unsigned(1)) if ContextFlag.MEAL in flags else ()
    if ContextFlag.TESTER in flags:
        octet = reader.unsigned(1)
        words += _word(TESTERS, octet & 0x0F) + _word(HEALTH, octet >> 4)
    for flag, size in (
        (ContextFlag.EXERCISE, 3),
        (ContextFlag.MEDICATION, 3),
        (ContextFlag.HBA1C, 2),
    ):
        if flag in flags:
            reader.take(size)
    reader.end()
    return Context(sequence, words)


def _word(table: Mapping[int, str], number: int) -> tuple[str, ...]:
    return (table[number],) if number in table else ()
