"""The driver of a Nonin 3230: it is listened to, and one reading is made of a stay."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from drivers.card import card
from drivers.clip import ClipTalk
from drivers.dialogue import Dialogue
from drivers.nonin3230.codec import meaning
from drivers.talk import Keeping, Profile

if TYPE_CHECKING:
    from drivers.base import Driver


def _talk(name: str | None) -> ClipTalk:
    del name
    return ClipTalk(lambda raw: [meaning(raw)])


PROFILE: Final = Profile(
    listen="0aad7ea0-0d60-11e2-8e3c-0002a5d5c51b", talk=_talk, keeping=Keeping.REFUSED_ONLY
)


def build(settings: dict[str, object]) -> Driver:
    """A clip's driver; `Misconfigured` for any setting, since a clip has none."""
    return Dialogue.of(card("nonin3230"), PROFILE, settings)
