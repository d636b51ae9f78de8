"""The eight octets of TaiDoc and FORA devices, and what an answer means. Pure.

A frame is 0x51, the command, four octets, 0xA3 (to the device) or 0xA5 (from it), and the last
eight bits of the sum of all before. An answer to 0x26 means what the model measures: systolic
is u16 little-endian at 2, diastolic at 4, pulse at 5; a temperature is u16 little-endian at 2,
in tenths, from 1000 on in hundredths; a saturation is at 2 and its pulse at 5 (advmeds
Bluetooth library). An answer to 0x25 is its time: 5 bits day, 4 month, 7 year in the u16 at 2,
then minute and hour (fora-glucometer.model.js).
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from drivers.base import Decoded, Measurement, NoReading, Outcome, Value
from drivers.card import card
from drivers.clip import oximetry
from drivers.cuff import clock_of, pressure
from drivers.errors import ProtocolFault
from drivers.packets import sum8
from drivers.spot import IMPLAUSIBLE, Bounds, Clock, deviations, is_plausible

SIZE: Final = 8
START: Final = 0x51
TO_DEVICE: Final = 0xA3
FROM_DEVICE: Final = 0xA5

ASK_TIME: Final = 0x25
ASK_LATEST: Final = 0x26
ASK_PRESSURE: Final = 0x43
ASK_OXIMETRY: Final = 0x49
POWER_OFF: Final = 0x50
LISTENING: Final = 0x54

CENTURY: Final = 2000
HUNDREDTHS_FROM: Final = 1000
LEAST_PULSE: Final = 4
"""Below it a cuff of this maker says that it could not measure."""

TEMPERATURE_KIND: Final = "body-temperature"
TEMPERATURE: Final = "150364"
_DEGREES = Bounds(plausible=(30, 45), possible=(1, 100))

_NOTHING = "The device has no reading to give."


def frame(command: int, content: bytes = bytes(4), end: int = TO_DEVICE) -> bytes:
    """One frame, checksum included."""
    head = bytes([START, command]) + content + bytes([end])
    return head + bytes([sum8(head)])


def checked(raw: bytes) -> bytes:
    """The frame itself; `ProtocolFault` where it is none or its checksum is wrong."""
    if len(raw) != SIZE:
        raise ProtocolFault("The frame has the wrong length.", min(len(raw), SIZE))
    if raw[0] != START or raw[6] not in {TO_DEVICE, FROM_DEVICE}:
        raise ProtocolFault("The frame is not one of this protocol.", 0)
    if sum8(raw[:-1]) != raw[-1]:
        raise ProtocolFault("The frame has a wrong checksum.", SIZE - 1)
    return raw


def is_answer(raw: bytes, command: int) -> bool:
    """Whether a checked frame is the device's answer to a command."""
    return raw[6] == FROM_DEVICE and raw[1] == command


def decode(raw: bytes, *, name: str | None = None) -> Outcome:
    """Decode one answer, or that with its time and then that with its value.

    `name` chooses what the model measures. `ProtocolFault` where no frame can be read, and for
    the value of a model that is not known.
    """
    if len(raw) == 2 * SIZE and is_answer(checked(raw[:SIZE]), ASK_TIME):
        return _value(raw, checked(raw[SIZE:]), time_of(raw[:SIZE]), name)
    answer = checked(raw)
    if raw[6] == TO_DEVICE:
        return NoReading("This is a command to the device, not an answer.")
    if is_answer(answer, ASK_TIME):
        time_of(answer)
        return NoReading("This is the time of a reading without the reading.")
    return _value(raw, answer, Clock(), name)


def time_of(answer: bytes) -> Clock:
    """The time that an answer to 0x25 carries; `ProtocolFault` for one that cannot be."""
    date = int.from_bytes(answer[2:4], "little")
    day, month, year = date & 0x1F, date >> 5 & 0x0F, date >> 9
    minute, hour = answer[4] & 0x3F, answer[5] & 0x1F
    return clock_of((CENTURY + year if year else 0, month, day, hour, minute, 0))


def measured_by(name: str | None) -> str | None:
    """What a model of this name measures: `pressure`, `oximetry`, `temperature`, or unknown."""
    found = deviations(card("taidoc").quirks, name)
    return next((what for what in ("pressure", "oximetry", "temperature") if what in found), None)


def _value(raw: bytes, answer: bytes, clock: Clock, name: str | None) -> Outcome:
    command = answer[1]
    if not is_answer(answer, command):
        raise ProtocolFault("The device answered with a command.", 0)
    if command in {POWER_OFF, LISTENING}:
        return NoReading("The device has taken note.")
    by_itself = {ASK_PRESSURE: "pressure", ASK_OXIMETRY: "oximetry"}
    what = by_itself.get(command) or (measured_by(name) if command == ASK_LATEST else None)
    if what is None:
        raise ProtocolFault("It is not known what this model measures.")
    reading = _READ[what](raw, answer, clock)
    return NoReading(_NOTHING) if reading is None else Decoded((reading,))


def _pressure(raw: bytes, answer: bytes, clock: Clock) -> Measurement | None:
    systolic = int.from_bytes(answer[2:4], "little")
    diastolic, pulse = answer[4], answer[5]
    if systolic == 0 or pulse < LEAST_PULSE:
        return None
    return pressure(raw, (systolic, diastolic, pulse), clock)


def _oximetry(raw: bytes, answer: bytes, clock: Clock) -> Measurement | None:
    saturation, pulse = answer[2], answer[5]
    if saturation == 0 or pulse == 0:
        return None
    return oximetry(raw, saturation, pulse, clock=clock)


def _temperature(raw: bytes, answer: bytes, clock: Clock) -> Measurement | None:
    said = int.from_bytes(answer[2:4], "little")
    if said == 0:
        return None
    degrees = Decimal(said).scaleb(-2 if said >= HUNDREDTHS_FROM else -1)
    plausible = is_plausible(degrees, _DEGREES, "temperature")
    return Measurement(
        kind=TEMPERATURE_KIND,
        raw=raw,
        values=(Value(TEMPERATURE, degrees, "Cel"),),
        repeatable=clock.repeatable,
        device_time=clock.time,
        clock_trusted=clock.trusted,
        quality=(() if plausible else (IMPLAUSIBLE,)) + clock.quality,
    )


_READ = {"pressure": _pressure, "oximetry": _oximetry, "temperature": _temperature}
