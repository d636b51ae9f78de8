"""Packets of a CMS50D-BT clip that never was. Pure."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from drivers.cms50d_bt.codec import NO_FINGER, checksum, values

if TYPE_CHECKING:
    from collections.abc import Iterator


def wave(sample: int) -> bytes:
    """A packet of the pulse wave."""
    body = bytes([0xEB, 0, 3, sample, 9])
    return body + bytes([checksum(body)])


def stay(*, seed: int, seconds: int) -> Iterator[bytes]:
    """One stay of a finger: no value yet, then a value a second, then no finger."""
    chance = Random(seed)  # noqa: S311 - a simulation has nothing to keep secret
    saturation, pulse = chance.randint(93, 99), chance.randint(55, 95)
    yield values(0, 0)
    for _ in range(seconds):
        yield wave(chance.randrange(100))
        yield values(saturation, pulse + chance.randint(-2, 2))
    yield values(0, 0, NO_FINGER)
