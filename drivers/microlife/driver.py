"""The driver of a Microlife cuff: a dialogue that reads its whole memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from drivers.card import card
from drivers.dialogue import Dialogue
from drivers.microlife.codec import DISCONNECT
from drivers.microlife.talk import MicrolifeTalk
from drivers.talk import Profile

if TYPE_CHECKING:
    from drivers.base import Driver

PROFILE: Final = Profile(
    listen="FFF1", speak="FFF2", talk=MicrolifeTalk, farewells=frozenset({DISCONNECT})
)


def build(settings: dict[str, object]) -> Driver:
    """A cuff's driver; `Misconfigured` for any setting, since a cuff has none."""
    return Dialogue.of(card("microlife"), PROFILE, settings)
