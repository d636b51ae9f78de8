"""What finger clips of custom profiles share: a saturation, a pulse rate, a perfusion. Pure."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING

from drivers.base import Decoded, Measurement, NoReading, Outcome, Value
from drivers.errors import ProtocolFault
from drivers.packets import CUT, Packet
from drivers.settled import Settled
from drivers.spot import IMPLAUSIBLE, Bounds, is_plausible
from drivers.talk import Step

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from drivers.packets import Event, PacketFramer
    from drivers.spot import Clock

KIND = "oximetry"
SATURATION = "150456"
PULSE = "149530"
PERFUSION = "150488"

SETTLED = "settled"
"""The status of a value that the clip itself says may be written down."""

_BOUNDS = {
    SATURATION: Bounds(plausible=(50, 100), possible=(1, 100)),
    PULSE: Bounds(plausible=(30, 300), possible=(1, 600)),
    PERFUSION: Bounds(plausible=(0, 30), possible=(0, 100)),
}


def oximetry(
    raw: bytes,
    saturation: int,
    pulse: int,
    perfusion: Decimal | None = None,
    *,
    status: tuple[str, ...] = (),
    quality: tuple[str, ...] = (),
    clock: Clock | None = None,
) -> Measurement:
    """One oximetry: percent, pulses a minute, perfusion in percent where the clip says it.

    `ProtocolFault` where a number is not one that a clip can measure.
    """
    said = [
        (SATURATION, "oxygen saturation", "%", Decimal(saturation)),
        (PULSE, "pulse rate", "/min", Decimal(pulse)),
    ]
    if perfusion is not None:
        said.append((PERFUSION, "perfusion index", "%", perfusion))
    plausible = True
    for code, what, _, number in said:
        plausible &= is_plausible(number, _BOUNDS[code], what)
    return Measurement(
        kind=KIND,
        raw=raw,
        values=tuple(Value(code, number, unit) for code, _, unit, number in said),
        repeatable=clock is not None and clock.repeatable,
        device_time=clock.time if clock else None,
        clock_trusted=clock is not None and clock.trusted,
        status=status,
        quality=(() if plausible else (IMPLAUSIBLE,)) + quality + (clock.quality if clock else ()),
    )


class Silence(StrEnum):
    """What a clip says when it says no value; each is one plain sentence."""

    NO_FINGER = "There is no finger in the clip."
    NO_VALUE = "The clip has no value yet."
    BESIDE = "This packet of the clip carries no value."


Meaning = Measurement | Silence | ProtocolFault


def meaning_of(event: Event, said: Callable[[bytes], Measurement | Silence]) -> Meaning:
    """What one packet of a stream says, where `said` reads those that are sound."""
    if not isinstance(event, Packet):
        return ProtocolFault(event.reason)
    try:
        return said(event.raw)
    except ProtocolFault as fault:
        return fault


def decode_packets(
    framer: PacketFramer, raw: bytes, said: Callable[[bytes], Measurement | Silence]
) -> Outcome:
    """Decode whole packets; `ProtocolFault` for anything else.

    Each value is a reading here; which of them is stored, `ClipTalk` decides.
    """
    return outcome_of(meaning_of(event, said) for event in framer.feed(raw) + framer.close())


def outcome_of(meanings: Iterable[Meaning]) -> Outcome:
    """What frames say together; `ProtocolFault` where any of them can't be read, or none is."""
    readings: list[Measurement] = []
    silence = None
    for said in meanings:
        if isinstance(said, ProtocolFault):
            raise said
        if isinstance(said, Silence):
            silence = said
        else:
            readings.append(said)
    if readings:
        return Decoded(tuple(readings))
    if silence is None:
        raise ProtocolFault(CUT, 0)
    return NoReading(silence.value)


class ClipTalk:
    """The talk of a clip that repeats its value every second: a stay of a finger, a reading.

    The reading is that of `drivers.settled`: the latest frame at which the value had stood. A
    frame that the clip itself calls settled (`SETTLED`) counts at once. The reading is due when
    the stay ends, with the finger drawn out or with the visit.
    """

    def __init__(
        self, meanings: Callable[[bytes], Iterable[Meaning]], opening: tuple[bytes, ...] = ()
    ) -> None:
        self._meanings = meanings
        self._opening = opening
        self._stay = Settled()
        self._reading: Measurement | None = None
        self._sure: Measurement | None = None

    def begin(self, now: datetime | None) -> tuple[bytes, ...]:
        """Say the opening, if there is one: these clips have no clock that is told."""
        del now
        return self._opening

    def hear(self, raw: bytes) -> Step:
        """Take one notification, which may hold several frames or a part of one."""
        due: list[Measurement] = []
        live: tuple[Value, ...] = ()
        refused = empty = None
        for meaning in self._meanings(raw):
            empty = "This is a value under way."
            if isinstance(meaning, Measurement):
                live = meaning.values
                self._watch(meaning)
                continue
            if isinstance(meaning, ProtocolFault):
                refused = meaning.reason
            else:
                empty = meaning.value
            if meaning is Silence.NO_FINGER:
                due += self.end().readings
            elif meaning is not Silence.BESIDE:
                self._stay.doubt()
        return Step(readings=tuple(due), refused=refused, empty=empty, live=live)

    def end(self) -> Step:
        """The stay is over: the reading that it gave, if any."""
        reading, self._reading = self._sure or self._reading, None
        self._stay, self._sure = Settled(), None
        return Step(readings=(reading,) if reading else ())

    def _watch(self, reading: Measurement) -> None:
        # How strongly the finger is perfused wanders all the time, and says nothing of the rest.
        said = tuple(value for value in reading.values if value.code != PERFUSION)
        before = self._stay.reading
        self._stay.watch(replace(reading, values=said))
        if self._stay.reading is not before:
            self._reading = reading
        if SETTLED in reading.status:
            self._sure = reading
