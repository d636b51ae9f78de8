"""The driver of a Yonker cuff: it is listened to, and never spoken to."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from drivers.card import card
from drivers.dialogue import Dialogue
from drivers.talk import Profile, Telling
from drivers.yonker.codec import decode

if TYPE_CHECKING:
    from drivers.base import Driver

PROFILE: Final = Profile(
    listen="cdeacd81-5235-4c07-8846-93a37ee6b86d",
    talk=partial(Telling, decode),
)


def build(settings: dict[str, object]) -> Driver:
    """A cuff's driver; `Misconfigured` for any setting, since a cuff has none."""
    return Dialogue.of(card("yonker"), PROFILE, settings)
