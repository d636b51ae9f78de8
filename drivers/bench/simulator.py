"""Boards that are none: streams as (second, bytes), the same for the same call."""

from __future__ import annotations

from math import pi, sin
from typing import TYPE_CHECKING

from drivers.bench.layout import Layout, Lines

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_LINES_HZ = 180  # what 9600 baud carries of five-byte lines, less a little
_WAVE_S = 0.8
_MIDDLE, _SWING = 512, 300


def encode(layout: Layout | Lines, samples: Sequence[int], counter: int = 0) -> bytes:
    """One frame of a board: the inverse of its framer. No samples: the electrodes are off."""
    if isinstance(layout, Lines):
        word = str(samples[0]).encode("ascii") if samples else layout.off
        return word + b"\r\n"
    raw = bytearray(layout.length)
    raw[: len(layout.sync)] = layout.sync
    for each in layout.fixed:
        raw[each.at] = each.value
    if layout.counter is not None:
        raw[layout.counter] = counter % 256
    for at, sample in zip(layout.channels, samples, strict=True):
        written = layout.number.write(sample)
        raw[at : at + len(written)] = written
    return bytes(raw)


def simulate(layout: Layout | Lines, seconds: float) -> Iterator[tuple[float, bytes]]:
    """A slow wave on every channel for some seconds: when (s from the start) and what."""
    rate = _LINES_HZ if isinstance(layout, Lines) else layout.rate_hz
    channels = 1 if isinstance(layout, Lines) else len(layout.channels)
    for number in range(int(seconds * rate)):
        second = number / rate
        height = round(_MIDDLE + _SWING * sin(2 * pi * second / _WAVE_S))
        yield second, encode(layout, [height] * channels, number)
