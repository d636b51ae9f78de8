"""The driver of TaiDoc and FORA devices: a dialogue of a question or two."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from drivers.card import card
from drivers.dialogue import Dialogue
from drivers.taidoc.talk import SWITCH_OFF, TaidocTalk
from drivers.talk import Profile

if TYPE_CHECKING:
    from drivers.base import Driver

_CHARACTERISTIC: Final = "00001524-1212-efde-1523-785feabcd123"
PROFILE: Final = Profile(
    listen=_CHARACTERISTIC,
    speak=_CHARACTERISTIC,
    talk=TaidocTalk,
    farewells=frozenset({SWITCH_OFF}),
)


def build(settings: dict[str, object]) -> Driver:
    """A driver of what the device's name says it is; `Misconfigured` for any setting."""
    return Dialogue.of(card("taidoc"), PROFILE, settings)
