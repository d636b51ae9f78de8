"""A SureTemp Plus that is none: it answers as the manual says, the same for the same calls."""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TYPE_CHECKING

from drivers.suretemp.framing import Frame, Framer, Type, encode
from drivers.suretemp.record import COMMAND, Algorithm, Probe, Record, State, write

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOM = Decimal("296.15")
IDLE = Record(Decimal(0), 0, Algorithm.ORAL, State.IDLE, 0, Probe.ORAL_OR_AXILLARY)


@dataclass
class Module:
    """The module's side of the line: bytes of a host in, bytes of the module out.

    Each question for the record moves it on by one sample; `play` sets what it then says.
    """

    record: Record = IDLE

    def __post_init__(self) -> None:
        self._framer = Framer()

    def play(self, state: State, final: Decimal = Decimal(0), error: int = 0) -> None:
        """Come to a state; a final temperature is in kelvin."""
        self.record = replace(self.record, state=state, final=final, error=error)

    def answer(self, heard: bytes) -> bytes:
        """What the module says to what it heard."""
        return b"".join(
            self._answer(event)
            for event in self._framer.feed(heard)
            if isinstance(event, Frame) and event.type is Type.COMMAND
        )

    def _answer(self, asked: Frame) -> bytes:
        if asked.command != COMMAND:
            return encode(asked.command, Type.REFUSED)
        self.record = replace(self.record, samples=self.record.samples + 1)
        return encode(COMMAND, Type.DONE, write(self.record))


def measurements(finals: tuple[Decimal, ...]) -> Iterator[tuple[State, Decimal]]:
    """The states of some measurements in a row, each with its final temperature in kelvin."""
    for final in finals:
        yield from ((State.READY, Decimal(0)), (State.PREDICT, Decimal(0)))
        yield from ((State.FINAL, final), (State.IDLE, Decimal(0)))
