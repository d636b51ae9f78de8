"""The temperature record of a SureTemp Plus (941C), in both its sizes. Pure.

Manual 71332-0000B pages 35 and 36. Only a final temperature without error is a reading.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from decimal import Decimal
from enum import IntEnum

from drivers.errors import ProtocolFault

COMMAND = bytes.fromhex("941c")

# final K, probe K, [heater,] samples, method, algorithm, state, error, active, probe [, …].
_SHORT = struct.Struct("<ffI3BH2B")
_LONG = struct.Struct("<ffHH3BH2BfffH")
_ZERO_CELSIUS = Decimal("273.15")
_FLOAT = struct.Struct("<f")


class State(IntEnum):
    """What the module is doing."""

    IDLE = 0
    NOT_READY = 1
    READY = 2
    PREDICT = 3
    PREDICT_DISPLAY = 4
    PREDICT_POSITION = 5
    FINAL = 6
    FINAL_POSITION = 7
    FINAL_OVER = 8
    FINAL_OVER_POSITION = 9
    FINAL_UNDER = 10
    FINAL_UNDER_POSITION = 11
    MONITOR = 12
    END = 13
    ERROR = 20


class Algorithm(IntEnum):
    """Where the probe measures, or that it is a calibration key."""

    ORAL = 0
    RECTAL = 1
    PEDIATRIC_AXILLARY = 2
    CALIBRATION_KEY = 3
    ADULT_AXILLARY = 4


class Probe(IntEnum):
    """What is plugged into the module."""

    ORAL_OR_AXILLARY = 0
    CALIBRATION_KEY = 1
    RECTAL = 2
    NONE = 3


@dataclass(frozen=True, slots=True)
class Record:
    """One record. `state`, `algorithm` and `probe` are numbers, whether known or not.

    `final` is in kelvin with the digits that tell this float from its neighbours.
    """

    final: Decimal
    samples: int
    algorithm: int
    state: int
    error: int
    probe: int

    @property
    def celsius(self) -> Decimal:
        """The final temperature: kelvin less 273.15, exactly."""
        return self.final - _ZERO_CELSIUS


def read(content: bytes) -> Record:
    """The record of an answer's content; `ProtocolFault` for any other size, or no number."""
    if len(content) == _SHORT.size:
        final, probe, samples, *rest = _SHORT.unpack(content)
    elif len(content) == _LONG.size:
        final, probe, _, samples, *rest = _LONG.unpack(content)
    else:
        raise ProtocolFault("The temperature record is of neither size of the manual.", 6)
    _, algorithm, state, error, _, plugged, *_ = rest
    if not (math.isfinite(final) and math.isfinite(probe)):
        raise ProtocolFault("The temperature record holds something that is no number.", 8)
    return Record(_digits(final), samples, algorithm, state, error, plugged)


def write(record: Record) -> bytes:
    """The content of 19 bytes that says a record: for simulators and tests."""
    return _SHORT.pack(
        float(record.final),
        float(record.final),
        record.samples,
        0,
        record.algorithm,
        record.state,
        record.error,
        1,
        record.probe,
    )


def _digits(number: float) -> Decimal:
    """The shortest decimal that a 32-bit float can be told by."""
    for digits in range(6, 10):
        text = f"{number:.{digits}g}"
        if _FLOAT.unpack(_FLOAT.pack(float(text)))[0] == number:
            return Decimal(text)
    return Decimal(number)
