"""A dermatoscope that is not there: its picture as planes, and the ways its frames go wrong.

Pure bytes, drawn without a picture library. `drivers.lab.camera` codes the planes as JPEG and
puts the frames on a real stream. A simulated lesion looks like nothing that is diagnosed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import isqrt

_SKIN = (176, 112, 150)
"""Luma, blue and red difference, full range (ITU-T T.871)."""

_RINGS = ((100, (128, 116, 148)), (78, (96, 118, 146)), (46, (70, 122, 140)))
"""From outside in: the radius as a percentage of the lesion's, and the colour there."""

_DHT, _SOS = 0xC4, 0xDA


@dataclass(frozen=True, slots=True)
class Planes:
    """A picture in YCbCr 4:2:2: three planes, row by row, without gaps.

    `width` and `height` are in pixels; the chroma planes are as high and half
    as wide.
    """

    width: int
    height: int
    luma: bytes = field(repr=False)
    blue: bytes = field(repr=False)
    red: bytes = field(repr=False)


def lesion(number: int, width: int = 640, height: int = 480) -> Planes:
    """The picture with a given number: no two that follow each other are alike.

    `width` is even. The lesion wanders a little, as under a hand that holds the camera.
    """
    radius = min(width, height) // 3
    sway = radius // 2 + 2
    centre = (
        width // 2 + number % sway - sway // 2,
        height // 2 + number * 3 % sway - sway // 2,
    )
    rows = [_spans(y, centre, radius, width) for y in range(height)]
    luma, blue, red = (
        b"".join(_row(spans, channel, step, width) for spans in rows)
        for channel, step in ((0, 1), (1, 2), (2, 2))
    )
    return Planes(width, height, luma, blue, red)


def without_tables(jpeg: bytes) -> bytes:
    """The frame of a camera that saves its Huffman tables; `jpeg` uses those of K.3.3."""
    kept, at = jpeg[:2], 2
    while jpeg[at + 1] != _SOS:
        behind = at + 2 + int.from_bytes(jpeg[at + 2 : at + 4], "big")
        if jpeg[at + 1] != _DHT:
            kept += jpeg[at:behind]
        at = behind
    return kept + jpeg[at:]


def padded(jpeg: bytes, size: int) -> bytes:
    """The frame of a camera that fills its buffer up to a multiple of `size` bytes."""
    return jpeg + bytes(-len(jpeg) % size)


def truncated(jpeg: bytes, lost: int) -> bytes:
    """A frame whose last `lost` bytes never came."""
    return jpeg[:-lost]


def corrupt(jpeg: bytes, lost: int) -> bytes:
    """A frame that ends as it should, but whose last `lost` bytes before EOI never came.

    Its markers are sound: only decoding it shows the fault.
    """
    return jpeg[: -lost - 2].rstrip(b"\xff") + jpeg[-2:]


_Span = tuple[int, int, tuple[int, int, int]]


def _spans(y: int, centre: tuple[int, int], radius: int, width: int) -> list[_Span]:
    """The rings that a row cuts, from outside in: where each begins and ends, and its colour."""
    spans: list[_Span] = [(0, width, _SKIN)]
    for percent, colour in _RINGS:
        square = (radius * percent // 100) ** 2 - (y - centre[1]) ** 2
        if square > 0:
            half = isqrt(square)
            spans.append((max(0, centre[0] - half), min(width, centre[0] + half), colour))
    return spans


def _row(spans: list[_Span], channel: int, step: int, width: int) -> bytes:
    """One row of one plane; `step` is 2 where a sample stands for two pixels."""
    row = bytearray(width // step)
    for begin, end, colour in spans:
        first, behind = begin // step, end // step
        row[first:behind] = bytes((colour[channel],)) * (behind - first)
    return bytes(row)
