"""What one frame of a SureTemp Plus says. Pure."""

from __future__ import annotations

from drivers.base import Decoded, Measurement, NoReading, Outcome, Value
from drivers.errors import ProtocolFault
from drivers.framing import Skipped
from drivers.spot import IMPLAUSIBLE, Bounds, is_plausible
from drivers.suretemp.framing import Frame, Framer, Type, encode
from drivers.suretemp.record import COMMAND, Algorithm, Probe, Record, State, read

__all__ = ["ASK", "Framer", "decode", "final_of", "reading_of"]

KIND = "body-temperature"
ASK = encode(COMMAND, Type.COMMAND)
"""«Send temperature record»: it changes nothing in the module."""

_TEMPERATURE = "150364"
_BOUNDS = Bounds(plausible=(30, 45), possible=(0, 100))
_SITES = {
    Algorithm.ORAL: "mouth",
    Algorithm.RECTAL: "rectum",
    Algorithm.PEDIATRIC_AXILLARY: "armpit",
    Algorithm.ADULT_AXILLARY: "armpit",
}
_FINAL = (State.FINAL, State.FINAL_POSITION)
_OUTSIDE = (
    State.FINAL_OVER,
    State.FINAL_OVER_POSITION,
    State.FINAL_UNDER,
    State.FINAL_UNDER_POSITION,
)


def decode(raw: bytes, *, name: str | None = None) -> Outcome:  # noqa: ARG001 - a codec's shape
    """Decode one whole frame; `ProtocolFault` where it is not exactly one.

    A final temperature without error is a reading in degrees Celsius: the kelvin sent, less
    273.15, exactly. Everything else that is understood is no reading.
    """
    frame = _the_frame(raw)
    if frame.command != COMMAND:
        return NoReading("The frame is about something else than a temperature.")
    if frame.type is Type.COMMAND:
        return NoReading("The frame is a question to the thermometer.")
    if frame.type is Type.REFUSED:
        return NoReading("The thermometer refuses to tell its temperature.")
    record = read(frame.content)
    if (why := _no_reading(record)) is not None:
        return NoReading(why)
    return Decoded((reading_of(record, raw),))


def final_of(frame: Frame) -> Record | None:
    """The record of a frame that holds a final temperature, None for any other frame.

    Raises `ProtocolFault` where the frame is an answer of another layout.
    """
    if frame.command != COMMAND or frame.type is not Type.DONE:
        return None
    record = read(frame.content)
    return record if _no_reading(record) is None else None


def reading_of(record: Record, raw: bytes, quality: tuple[str, ...] = ()) -> Measurement:
    """The measurement of a final record; `ProtocolFault` where no body has such a temperature."""
    plausible = is_plausible(record.celsius, _BOUNDS, "temperature")
    return Measurement(
        KIND,
        raw,
        (Value(_TEMPERATURE, record.celsius, "Cel"),),
        site=_SITES.get(Algorithm(record.algorithm)),
        quality=quality if plausible else (*quality, IMPLAUSIBLE),
    )


def _no_reading(record: Record) -> str | None:
    """Why a record is no reading, or None where it is one."""
    if record.error or record.state == State.ERROR:
        return "The thermometer reports an error."
    if _is_calibration(record):
        return "A calibration key is plugged in, no probe."
    if record.state in _OUTSIDE:
        return "The temperature is beyond what the thermometer measures."
    if record.state not in _FINAL:
        return "The thermometer is not ready with its measurement."
    if record.algorithm not in set(Algorithm):
        return "The thermometer measures at a place that its manual does not know."
    return None


def _is_calibration(record: Record) -> bool:
    key = record.algorithm == Algorithm.CALIBRATION_KEY
    return key or record.probe == Probe.CALIBRATION_KEY


def _the_frame(raw: bytes) -> Frame:
    framer = Framer()
    events = [*framer.feed(raw), *framer.close()]
    if len(events) != 1:
        raise ProtocolFault("This is not exactly one frame.", 0)
    (event,) = events
    if isinstance(event, Skipped):
        raise ProtocolFault(f"This is {event.reason}.", 0)
    return event
