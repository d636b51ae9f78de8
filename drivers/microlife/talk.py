"""How a visit of a Microlife cuff goes: set its clock, ask for all, part. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from drivers.errors import ProtocolFault
from drivers.microlife import codec
from drivers.packets import Packet
from drivers.talk import Step

if TYPE_CHECKING:
    from datetime import datetime

    from drivers.base import Measurement
    from drivers.packets import Event


class MicrolifeTalk:
    """The cuff answers each command with one packet, cut into notifications."""

    def __init__(self, name: str | None) -> None:
        del name
        self._framer = codec.Framer()
        self._asked = False

    def begin(self, now: datetime | None) -> tuple[bytes, ...]:
        """Set the clock if ours can be; its answer brings the question for the memory."""
        if now is not None:
            return (codec.set_time(now),)
        return self._ask()

    def hear(self, raw: bytes) -> Step:
        """Take one notification; a step with a sense comes with the last piece of a packet."""
        return self._step(self._framer.feed(raw))

    def end(self) -> Step:
        """What waits for its rest will not get it."""
        return self._step(self._framer.close())

    def _ask(self) -> tuple[bytes, ...]:
        if self._asked:
            return ()
        self._asked = True
        return (codec.GIVE_ALL,)

    def _step(self, events: list[Event]) -> Step:
        readings: tuple[Measurement, ...] = ()
        refused: list[str] = []
        told = False
        for event in events:
            try:
                memory = _memory(event)
                if memory is None:
                    codec.meaning(event)
                    continue
                found, faults = codec.records(memory)
            except ProtocolFault as fault:
                refused.append(fault.reason)
                continue
            told = True
            readings += found
            refused += [fault.reason for fault in faults]
        if not events:
            return Step()
        return Step(
            readings=readings,
            refused=refused[0] if refused else None,
            empty=None if readings or refused else _nothing(told=told),
            say=() if told else self._ask(),
            farewell=codec.DISCONNECT if readings and not refused else None,
        )


def _memory(event: Event) -> bytes | None:
    if not isinstance(event, Packet) or not event.raw.startswith(codec.ANSWER):
        return None
    payload = codec.payload_of(event)
    return payload if len(payload) >= codec.FIRST_RECORD else None


def _nothing(*, told: bool) -> str:
    return "The cuff's memory is empty." if told else "The cuff has done what it was told."
