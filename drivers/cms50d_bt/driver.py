"""The driver of a CMS50D-BT clip: it is told to speak, and one reading is made of a stay."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from drivers.card import card
from drivers.clip import ClipTalk, Meaning, meaning_of
from drivers.cms50d_bt.codec import Framer, said
from drivers.dialogue import Dialogue
from drivers.talk import Keeping, Profile

if TYPE_CHECKING:
    from drivers.base import Driver

SPEAK_UP: Final = bytes.fromhex("9b011c")
"""Asks for the values (OxiVis issue 2); nothing in the clip changes."""


def _talk(name: str | None) -> ClipTalk:
    del name
    framer = Framer()

    def meanings(raw: bytes) -> list[Meaning]:
        return [meaning_of(event, said) for event in framer.feed(raw)]

    return ClipTalk(meanings, opening=(SPEAK_UP,))


PROFILE: Final = Profile(listen="FF02", speak="FF01", talk=_talk, keeping=Keeping.REFUSED_ONLY)


def build(settings: dict[str, object]) -> Driver:
    """A clip's driver; `Misconfigured` for any setting, since a clip has none."""
    return Dialogue.of(card("cms50d-bt"), PROFILE, settings)
