"""Packets of a CMS50D+ that never was. Pure."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from drivers.cms50d_plus.codec import NOTHING, WAVE_ONLY, values

if TYPE_CHECKING:
    from collections.abc import Iterator


def stay(*, seed: int, packets: int) -> Iterator[bytes]:
    """One stay of a finger: a pulse wave only, then values, then nothing."""
    chance = Random(seed)  # noqa: S311 - a simulation has nothing to keep secret
    saturation, pulse = chance.randint(93, 99), chance.randint(55, 95)
    for _ in range(3):
        yield values(0, 0, WAVE_ONLY)
    for _ in range(packets):
        yield values(saturation, pulse + chance.randint(-2, 2), wave=chance.randrange(100))
    yield values(0, 0, NOTHING)
