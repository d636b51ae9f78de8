"""PLX Spot-check (2A5E) and PLX Continuous (2A5F) Measurement of Bluetooth GSS. Pure.

A spot check is one reading. A continuous frame says what the device shows that second: the
session shows it too, and stores the one at which the value had settled (`drivers.settled`).
"""

from __future__ import annotations

from dataclasses import replace
from enum import IntFlag
from typing import TYPE_CHECKING

from drivers.base import Decoded, NoReading, Outcome, Value
from drivers.card import card
from drivers.medfloat import Reader, Special
from drivers.spot import (
    CLOCK_UNSET,
    IMPLAUSIBLE,
    Bounds,
    Clock,
    dated,
    deviations,
    failure,
    is_plausible,
    read_clock,
    written_out,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from decimal import Decimal

    from drivers.base import DecodeFunction

KIND = "oximetry"

SATURATION = "150456"
PULSE = "149530"
AMPLITUDE = "150488"

INCOMPLETE = "incomplete"
FROM_STORAGE = "from-storage"


class SpotFlag(IntFlag):
    """Octet 0 of 2A5E. Bits 5 to 7 are reserved and ignored."""

    TIME = 0x01
    STATUS = 0x02
    SENSOR = 0x04
    AMPLITUDE = 0x08
    CLOCK_NOT_SET = 0x10


class ContinuousFlag(IntFlag):
    """Octet 0 of 2A5F. Bits 5 to 7 are reserved and ignored."""

    FAST = 0x01
    SLOW = 0x02
    STATUS = 0x04
    SENSOR = 0x08
    AMPLITUDE = 0x10


# No more than everything can be saturated, and nothing living has under half of it for long.
_BOUNDS = {
    SATURATION: Bounds(plausible=(50, 100), possible=(0, 100)),
    PULSE: Bounds(plausible=(25, 300), possible=(0, 600)),
    AMPLITUDE: Bounds(plausible=(0, 100), possible=(0, 100)),
}
_UNITS = {SATURATION: "%", PULSE: "/min", AMPLITUDE: "%"}
_NAMES = {SATURATION: "oxygen saturation", PULSE: "pulse rate", AMPLITUDE: "pulse amplitude"}

# Measurement Status: what makes a frame no reading at all, in the order it is said.
_REFUSALS = {
    0x0400: "The oximeter shows a demonstration, not a patient.",
    0x0800: "The oximeter is being tested.",
    0x1000: "The oximeter is calibrating itself.",
    0x2000: "The oximeter has no measurement now.",
    0x8000: "The oximeter calls its own measurement invalid.",
}
_STORED = 0x0200
_STATUS = {
    0x0020: "ongoing",
    0x0080: "validated",
    0x0100: "fully-qualified",
    _STORED: FROM_STORAGE,
}
_DOUBTS = {0x0040: "early-estimate", 0x4000: "questionable"}
_SENSOR_STATUS = {0x0001: "extended-display", 0x0200: "signal-analysis-ongoing"}
_SENSOR_DOUBTS = {
    0x0002: "equipment-malfunction",
    0x0004: "signal-irregular",
    0x0008: "signal-inadequate",
    0x0010: "signal-poor",
    0x0020: "low-perfusion",
    0x0040: "signal-erratic",
    0x0080: "signal-not-pulsatile",
    0x0100: "pulse-questionable",
    0x0400: "interference",
    0x0800: "sensor-unconnected",
    0x1000: "sensor-unknown",
    0x2000: "sensor-displaced",
    0x4000: "sensor-malfunction",
    0x8000: "sensor-disconnected",
}


def decode(raw: bytes, *, name: str | None = None) -> Outcome:
    """Decode one 2A5E of an oximeter that shows itself as `name`; `ProtocolFault` where it can't.

    Demonstration, test, calibration and what the device calls unavailable or invalid are
    `NoReading`, and so, with that report, is a spot check without a saturation. What casts doubt
    is quality.
    """
    reader = Reader(raw)
    flags = SpotFlag(reader.unsigned(1) & 0x1F)
    said = {SATURATION: reader.sfloat(), PULSE: reader.sfloat()}
    quirks = deviations(card("pulse-oximeter").quirks, name)
    clock = read_clock(reader, present=SpotFlag.TIME in flags, quirks=quirks)
    status = reader.unsigned(2) if SpotFlag.STATUS in flags else 0
    sensor = reader.unsigned(3) if SpotFlag.SENSOR in flags else 0
    if SpotFlag.AMPLITUDE in flags:
        said[AMPLITUDE] = reader.sfloat()
    reader.end()
    if SpotFlag.TIME in flags and SpotFlag.CLOCK_NOT_SET in flags:
        clock = replace(clock, trusted=False, quality=(CLOCK_UNSET,))
    return _outcome(raw, said, clock, status, sensor)


def decode_continuous(raw: bytes, *, name: str | None = None) -> Outcome:
    """Decode one 2A5F: the values of normal averaging; as `decode`, but without a time.

    The fast and slow values, where a device sends them, say the same finger again; they are
    read over.
    """
    del name  # no model is known to deviate here
    reader = Reader(raw)
    flags = ContinuousFlag(reader.unsigned(1) & 0x1F)
    said = {SATURATION: reader.sfloat(), PULSE: reader.sfloat()}
    for again in (ContinuousFlag.FAST, ContinuousFlag.SLOW):
        if again in flags:
            reader.take(4)
    status = reader.unsigned(2) if ContinuousFlag.STATUS in flags else 0
    sensor = reader.unsigned(3) if ContinuousFlag.SENSOR in flags else 0
    if ContinuousFlag.AMPLITUDE in flags:
        said[AMPLITUDE] = reader.sfloat()
    reader.end()
    outcome = _outcome(raw, said, Clock(), status, sensor)
    # No finger in this second is no failed measurement: the next second may have one.
    return NoReading(outcome.reason) if isinstance(outcome, NoReading) else outcome


DECODERS: Mapping[str, DecodeFunction] = {"2A5E": decode, "2A5F": decode_continuous}


def _outcome(
    raw: bytes, said: Mapping[str, Decimal | Special], clock: Clock, status: int, sensor: int
) -> Outcome:
    for bit, reason in _REFUSALS.items():
        if status & bit:
            return NoReading(reason)
    about = replace(
        dated(KIND, raw, clock),
        status=(*_words(status, _STATUS), *_words(sensor, _SENSOR_STATUS)),
        quality=(*_words(status, _DOUBTS), *_words(sensor, _SENSOR_DOUBTS), *clock.quality),
        from_memory=bool(status & _STORED),
    )
    saturation = said[SATURATION]
    if isinstance(saturation, Special):
        return failure("The oximeter reports that it could not measure.", about, saturation)
    values, quality = _judge(said)
    return Decoded((replace(about, values=values, quality=(*quality, *about.quality)),))


def _judge(
    said: Mapping[str, Decimal | Special],
) -> tuple[tuple[Value, ...], tuple[str, ...]]:
    values = []
    plausible = True
    for code, number in said.items():
        if isinstance(number, Special):
            continue
        plausible &= is_plausible(number, _BOUNDS[code], _NAMES[code])
        values.append(Value(code, written_out(number, _NAMES[code]), _UNITS[code]))
    incomplete = (INCOMPLETE,) if isinstance(said[PULSE], Special) else ()
    return tuple(values), incomplete + (() if plausible else (IMPLAUSIBLE,))


def _words(bits: int, table: Mapping[int, str]) -> tuple[str, ...]:
    return tuple(word for bit, word in table.items() if bits & bit)
