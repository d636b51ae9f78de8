"""Packets of a PC-60 clip that never was. Pure."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from drivers.pc60.codec import NO_FINGER, SEARCHING, packet, values

if TYPE_CHECKING:
    from collections.abc import Iterator

WAVE = b"\xaa\x55\x0f\x07\x02"
"""Start, family, length and function of five samples of the pulse wave."""


def wave(samples: bytes = bytes(5)) -> bytes:
    """A packet of the pulse wave."""
    return packet(WAVE, samples)


def stay(*, seed: int, seconds: int) -> Iterator[bytes]:
    """One stay of a finger: the pulse is searched, then a value a second, then none."""
    chance = Random(seed)  # noqa: S311 - a simulation has nothing to keep secret
    saturation, pulse = chance.randint(93, 99), chance.randint(55, 95)
    for _ in range(3):
        yield values(0, 0, 0, SEARCHING)
    for _ in range(seconds):
        yield wave(chance.randbytes(5))
        yield values(saturation, pulse + chance.randint(-2, 2), chance.randint(20, 90))
    for _ in range(2):
        yield values(0, 0, 0, NO_FINGER)
