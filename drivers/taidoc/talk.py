"""How a visit of a TaiDoc device goes: ask when, ask what, switch it off. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from drivers.card import card
from drivers.errors import ProtocolFault
from drivers.spot import deviations
from drivers.taidoc import codec
from drivers.talk import Step, decoded

if TYPE_CHECKING:
    from datetime import datetime

SWITCH_OFF: Final = codec.frame(codec.POWER_OFF)
_ASK_LATEST: Final = codec.frame(codec.ASK_LATEST)
_BY_QUIRK: Final = {
    "ask-pressure": codec.frame(codec.ASK_PRESSURE, bytes([0, 0, 1, 1])),
    "ask-oximetry": codec.frame(codec.ASK_OXIMETRY),
}


class TaidocTalk:
    """A model is asked for its latest reading and its time, or as its quirk says."""

    def __init__(self, name: str | None) -> None:
        self._name = name
        self._time = b""
        quirks = deviations(card("taidoc").quirks, name)
        asked = [request for quirk, request in _BY_QUIRK.items() if quirk in quirks]
        self._begin = tuple(asked) or (codec.frame(codec.ASK_TIME),)

    def begin(self, now: datetime | None) -> tuple[bytes, ...]:
        """Ask; how these clocks are set is not public."""
        del now
        return self._begin

    def hear(self, raw: bytes) -> Step:
        """Take one answer; the one with the time waits for the one with the value."""
        if self._is_time(raw):
            self._time = raw
            return Step(say=(_ASK_LATEST,))
        whole, self._time = self._time + raw, b""
        step = decoded(codec.decode, whole, self._name)
        if not step.readings:
            return step
        return Step(readings=step.readings, farewell=SWITCH_OFF)

    def end(self) -> Step:
        """A time alone is no reading."""
        return (
            Step(refused="The device told when it measured, and not what.")
            if self._time
            else Step()
        )

    def _is_time(self, raw: bytes) -> bool:
        try:
            answer = codec.checked(raw)
            codec.time_of(answer)
        except ProtocolFault:
            return False
        return codec.is_answer(answer, codec.ASK_TIME)
