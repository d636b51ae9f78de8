"""The one framer of the table: bytes in, frames out, every other byte accounted for. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from drivers.bench.layout import Layout, Lines
from drivers.framing import StreamFramer

if TYPE_CHECKING:
    from collections.abc import Callable

LONGEST_LINE = 32
"""A line without an end is given up here; no board says more than six bytes."""

_SAMPLE = re.compile(rb"\d{1,4}")


class Reason(StrEnum):
    """Why bytes were skipped, each a phrase for a technician."""

    NO_SYNC = "bytes that begin no frame"
    FIXED = "a frame whose fixed bytes are wrong"
    CHECKSUM = "a frame with a wrong checksum"
    RANGE = "a frame with a number its converter can't give"
    LINE = "a line that is no sample, as of a barcode scanner or a console"
    CUT = "a frame that is cut short"


@dataclass(frozen=True, slots=True)
class Frame:
    """One whole frame. `samples` are its channels, empty where the electrodes are off."""

    raw: bytes = field(repr=False)
    samples: tuple[int, ...]
    counter: int | None = None


_Judgement = Frame | Reason | None


class Framer(StreamFramer[Frame]):
    """Finds the frames of one layout. Holds less than a frame, or a line, between two calls.

    A frame that fails costs one byte, a line the line. `torn`: the stream was joined anywhere,
    so that the first line may be the end of one and is no sample.
    """

    CUT = Reason.CUT

    def __init__(self, layout: Layout | Lines, *, torn: bool = False) -> None:
        super().__init__()
        self._step = 1
        self._look: Callable[[bytes], tuple[_Judgement, int]]
        if isinstance(layout, Lines):
            self._look = _Text(layout, torn=torn).judge
        else:
            self._look = _Binary(layout).judge

    def _judge(self, at: int) -> Frame | str | None:
        found, self._step = self._look(bytes(self._buffer[at : at + LONGEST_LINE + 1]))
        return found

    def _next_start(self, at: int) -> int:
        return at + (self._step or 1)


class _Binary:
    """Judges whether a frame of a layout begins a window of bytes."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def judge(self, window: bytes) -> tuple[_Judgement, int]:
        layout = self._layout
        raw = window[: layout.length]
        if raw[: len(layout.sync)] != layout.sync[: len(raw)]:
            return Reason.NO_SYNC, 1
        if len(raw) < layout.length:
            return None, 0
        if any(raw[each.at] & each.mask != each.value for each in layout.fixed):
            return Reason.FIXED, 1
        if not layout.checksum.holds(raw):
            return Reason.CHECKSUM, 1
        samples = tuple(layout.number.read(raw, at) for at in layout.channels)
        if layout.highest is not None and any(each > layout.highest for each in samples):
            return Reason.RANGE, 1
        return Frame(raw, samples, None if layout.counter is None else raw[layout.counter]), len(
            raw
        )


class _Text:
    """Judges whether a sample's line begins a window of bytes."""

    def __init__(self, lines: Lines, *, torn: bool) -> None:
        self._lines = lines
        self._torn = torn

    def judge(self, window: bytes) -> tuple[_Judgement, int]:
        end = window.find(b"\n")
        if end < 0:
            return (Reason.LINE, 1) if len(window) > LONGEST_LINE else (None, 0)
        raw = window[: end + 1]
        if self._torn:
            self._torn = False
            return Reason.CUT, len(raw)
        word = raw[:-1].removesuffix(b"\r")
        if word == self._lines.off:
            return Frame(raw, ()), len(raw)
        if not _SAMPLE.fullmatch(word):
            return Reason.LINE, len(raw)
        if int(word) > self._lines.highest:
            return Reason.RANGE, len(raw)
        return Frame(raw, (int(word),)), len(raw)
