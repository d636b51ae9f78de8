"""Frames of a scale that never was: 2A9D and 2A9C as GSS lays them out. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from random import Random
from typing import TYPE_CHECKING

from drivers.medfloat import encode_date_time
from drivers.weight_scale.codec import CompositionFlag, WeightFlag

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime


@dataclass(frozen=True, slots=True)
class Weighing:
    """What the scale is to say, in counts: weight of 5 g or 0.01 lb, height of 1 mm or 0.1 in.

    `index` in tenths of kg/m2; it and `height` go together. None is left out.
    """

    weight: int
    imperial: bool = False
    time: datetime | None = None
    user: int | None = None
    index: int | None = None
    height: int | None = None


@dataclass(frozen=True, slots=True)
class Composition:
    """What the scale is to say: body fat in tenths of a percent, and counts by their flag."""

    fat: int
    imperial: bool = False
    time: datetime | None = None
    user: int | None = None
    counts: Mapping[CompositionFlag, int] = field(default_factory=dict)
    multiple: bool = False


def encode(weighing: Weighing) -> bytes:
    """The 2A9D of a weighing; OverflowError where a count does not fit."""
    flags = WeightFlag.IMPERIAL if weighing.imperial else WeightFlag(0)
    frame = weighing.weight.to_bytes(2, "little")
    if weighing.time is not None:
        flags |= WeightFlag.TIME
        frame += encode_date_time(weighing.time)
    if weighing.user is not None:
        flags |= WeightFlag.USER
        frame += bytes([weighing.user])
    if weighing.index is not None and weighing.height is not None:
        flags |= WeightFlag.INDEX_AND_HEIGHT
        frame += weighing.index.to_bytes(2, "little") + weighing.height.to_bytes(2, "little")
    return bytes([flags]) + frame


def encode_composition(composition: Composition) -> bytes:
    """The 2A9C of a composition; OverflowError where a count does not fit."""
    flags = CompositionFlag.IMPERIAL if composition.imperial else CompositionFlag(0)
    frame = composition.fat.to_bytes(2, "little")
    if composition.time is not None:
        flags |= CompositionFlag.TIME
        frame += encode_date_time(composition.time)
    if composition.user is not None:
        flags |= CompositionFlag.USER
        frame += bytes([composition.user])
    for flag in CompositionFlag:
        if flag in composition.counts:
            flags |= flag
            frame += composition.counts[flag].to_bytes(2, "little")
    if composition.multiple:
        flags |= CompositionFlag.MULTIPLE_PACKET
    return flags.to_bytes(2, "little") + frame


def frames(*, seed: int, start: datetime) -> Iterator[bytes]:
    """An endless queue at the scale: one plausible weighing a minute, from `start` on."""
    chance = Random(seed)  # noqa: S311 - a simulation has nothing to keep secret
    when = start
    while True:
        yield encode(Weighing(weight=chance.randint(9000, 20000), time=when))
        when += timedelta(minutes=1)
