"""A device's own protocol during one visit, as pure words: what is heard, what is said. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Protocol

from drivers.base import Decoded
from drivers.errors import ProtocolFault

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from drivers.base import DecodeFunction, Measurement, Value


class Keeping(Enum):
    """What is made durable before it is decoded."""

    EACH_FRAME = "each-frame"
    REFUSED_ONLY = "refused-only"
    """For values repeated every second: no device forgets anything when we lose one."""


@dataclass(frozen=True, slots=True)
class Step:
    """What a frame means, together with those before it whose sense was still to come.

    `readings`, `refused` and `empty` (both one plain sentence) settle those frames; with none
    of the three the sense is still to come. `say` is said next. `farewell` is said once the
    readings are durable, and ends the visit. `live` are values to show and never to store.
    `fault` ends it too: one sentence of what a person must see to.
    """

    readings: tuple[Measurement, ...] = ()
    refused: str | None = None
    empty: str | None = None
    say: tuple[bytes, ...] = ()
    farewell: bytes | None = None
    live: tuple[Value, ...] = ()
    fault: str | None = None

    @property
    def progress(self) -> bool:
        """Whether the device is about something, so that it is worth waiting for more."""
        return bool(self.readings or self.say or self.live) or not (self.refused or self.empty)

    @property
    def settles(self) -> bool:
        """Whether the frames heard so far have got their sense."""
        return bool(self.readings or self.refused or self.empty)


class Talk(Protocol):
    """A protocol during one visit. Pure; a new one for each visit."""

    def begin(self, now: datetime | None) -> tuple[bytes, ...]:
        """What to say first; `now` is the unit's local time, None where it is not to be had."""

    def hear(self, raw: bytes) -> Step:
        """Take one frame as the radio gave it; raises nothing."""

    def end(self) -> Step:
        """Nothing more comes: what the rest means."""


class Telling:
    """The talk of a device that is asked nothing: each frame is decoded by itself."""

    def __init__(self, decode: DecodeFunction, name: str | None) -> None:
        self._decode = decode
        self._name = name

    def begin(self, now: datetime | None) -> tuple[bytes, ...]:
        """Say nothing."""
        del now
        return ()

    def hear(self, raw: bytes) -> Step:
        """Decode one frame."""
        return decoded(self._decode, raw, self._name)

    def end(self) -> Step:
        """Nothing is left over."""
        return Step()


def decoded(decode: DecodeFunction, raw: bytes, name: str | None) -> Step:
    """The step of one frame that stands by itself."""
    try:
        outcome = decode(raw, name=name)
    except ProtocolFault as fault:
        return Step(refused=fault.reason)
    if isinstance(outcome, Decoded):
        return Step(readings=outcome.readings)
    return Step(empty=outcome.reason)


@dataclass(frozen=True, slots=True)
class Profile:
    """A kind of device: where it is listened to and spoken to, and how the talk goes.

    `talk` makes the talk of a visit from what the device shows of itself: its name, and with
    `introduced` its Device Information, too. `also_listen` is listened to where it is there.
    `speak` is None for a device that is never spoken to; words whose first octet stands in
    `speak_elsewhere` are said there. `farewells` are what says to the device that its readings
    are taken. `settle` are the seconds that it is left alone at first.
    """

    listen: str
    talk: Callable[[str | None], Talk]
    also_listen: tuple[str, ...] = ()
    speak: str | None = None
    speak_elsewhere: Mapping[int, str] = field(default_factory=dict)
    farewells: frozenset[bytes] = frozenset()
    keeping: Keeping = Keeping.EACH_FRAME
    introduced: bool = False
    settle: float = 0.0

    def ear(self, content: bytes) -> str | None:
        """Where `content` is said."""
        return self.speak_elsewhere.get(content[0], self.speak) if content else self.speak
