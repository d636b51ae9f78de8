"""The driver of an Omron cuff that is read out of its memory: a dialogue that reads all of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from drivers.card import card
from drivers.dialogue import Dialogue
from drivers.errors import Misconfigured
from drivers.omron_memory.models import memory_of
from drivers.omron_memory.talk import MemoryTalk, Past
from drivers.omron_memory.wire import END
from drivers.talk import Keeping, Profile

if TYPE_CHECKING:
    from drivers.base import Driver

# The service of older models is ecbe3980-c9a2-11e1-b1bd-0002a5d5c51b, of newer ones FE4A; both
# have these characteristics, newer ones only the first of each four (hass-omron, const.py).
LISTEN: Final = (
    "49123040-aee8-11e1-a74d-0002a5d5c51b",
    "4d0bf320-aee8-11e1-a0d9-0002a5d5c51b",
    "5128ce60-aee8-11e1-b84b-0002a5d5c51b",
    "560f1420-aee8-11e1-8184-0002a5d5c51b",
)
SPEAK: Final = "db5b55e0-aee7-11e1-965e-0002a5d5c51b"
"""The first of four: no question of ours is longer than a piece."""
LOCK: Final = "b305b680-aee7-11e1-a730-0002a5d5c51b"
SETTLE_S: Final = 1.5
"""Older cuffs hang up on who asks at once (hass-omron)."""

_LOCK_WORDS: Final = (0x00, 0x01, 0x02, 0x11)


def profile(model: str | None = None, settle: float = SETTLE_S) -> Profile:
    """The profile of a cuff; `model` is what the settings say, where the cuff does not."""
    past = Past()
    return Profile(
        listen=LISTEN[0],
        also_listen=(LOCK, *LISTEN[1:]),
        speak=SPEAK,
        speak_elsewhere=dict.fromkeys(_LOCK_WORDS, LOCK),
        talk=lambda shown: MemoryTalk(model or shown, past),
        farewells=frozenset({END}),
        keeping=Keeping.REFUSED_ONLY,
        introduced=True,
        settle=settle,
    )


def build(settings: dict[str, object]) -> Driver:
    """A cuff's driver; `Misconfigured` for a setting that is none or a model that is not known."""
    its = card("omron-memory")
    model = settings.get("model")
    if set(settings) - {"model"}:
        given = ", ".join(sorted(set(settings) - {"model"}))
        raise Misconfigured(its.name, f"remove {given}: the only setting is model")
    if model is not None and (not isinstance(model, str) or memory_of(model) is None):
        raise Misconfigured(its.name, f"model must be one of {', '.join(its.models)}")
    return Dialogue(its.sources[0], profile(model))
