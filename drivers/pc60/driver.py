"""The driver of a PC-60 clip: it is listened to, and one reading is made of a stay."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from drivers.card import card
from drivers.clip import ClipTalk, Meaning, meaning_of
from drivers.dialogue import Dialogue
from drivers.pc60.codec import Framer, said
from drivers.talk import Keeping, Profile

if TYPE_CHECKING:
    from drivers.base import Driver


def _talk(name: str | None) -> ClipTalk:
    del name
    framer = Framer()

    def meanings(raw: bytes) -> list[Meaning]:
        return [meaning_of(event, said) for event in framer.feed(raw)]

    return ClipTalk(meanings)


PROFILE: Final = Profile(
    listen="6e400003-b5a3-f393-e0a9-e50e24dcca9e", talk=_talk, keeping=Keeping.REFUSED_ONLY
)


def build(settings: dict[str, object]) -> Driver:
    """A clip's driver; `Misconfigured` for any setting, since a clip has none."""
    return Dialogue.of(card("pc60"), PROFILE, settings)
