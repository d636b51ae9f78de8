"""Frames of a Nonin 3230 that never was. Pure."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from drivers.nonin3230.codec import Status, encode

if TYPE_CHECKING:
    from collections.abc import Iterator


def stay(*, seed: int, seconds: int) -> Iterator[bytes]:
    """One stay of a finger: the pulse is searched, then a value a second, then none."""
    chance = Random(seed)  # noqa: S311 - a simulation has nothing to keep secret
    saturation, pulse = chance.randint(93, 99), chance.randint(55, 95)
    for counter in range(3):
        yield encode(Status.ATTACHED | Status.SEARCHING, counter=counter)
    for counter in range(3, 3 + seconds):
        perfusion = chance.randint(200, 900)
        status = Status.ATTACHED | Status.SMART_POINT
        yield encode(status, saturation, pulse, perfusion=perfusion, counter=counter)
    yield encode(Status(0), counter=3 + seconds)
