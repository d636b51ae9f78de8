"""Frames of a bench input become recordings. Pure: time is handed in, nothing is filled in."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING

from drivers.base import Decoded, Measurement, NoReading, Value
from drivers.bench.framer import Frame, Framer
from drivers.bench.layout import Layout, Lines
from drivers.errors import ProtocolFault
from drivers.framing import Skipped
from drivers.tape import Ending

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from drivers.base import Outcome

KIND = "bench-signal"
MARKS = ("bench-input", "not-for-patients")
LONGEST_S = 30
SPELLED_OUT = 64
"""So many frames of a capture are spelled out as values; the raw bytes hold all."""

_UNSTATED = "131328"
_COUNTER = 256
_THOUSANDTH = Decimal("0.001")


@dataclass(frozen=True, slots=True)
class Recording:
    """Frames in a row; `raw` is exactly their bytes, `seconds` None where nothing tells."""

    raw: bytes = field(repr=False)
    frames: tuple[Frame, ...] = field(repr=False)
    quality: tuple[str, ...]
    seconds: Decimal | None


class Recorder:
    """Holds at most one open recording of one board."""

    def __init__(self, layout: Layout | Lines) -> None:
        self._rate = layout.rate_hz if isinstance(layout, Layout) else None
        self._frames: list[Frame] = []
        self._quality: dict[str, None] = {}
        self._began = self._latest = 0.0

    @property
    def recording(self) -> bool:
        """Whether a recording is open; the frame last taken then belongs to it."""
        return bool(self._frames)

    def take(self, frame: Frame, now: float) -> list[Recording]:
        """Take the next frame at `now` seconds; give the recording that was full before it."""
        closed = self.close(Ending.FULL) if self._is_full(now) else []
        if not self._frames:
            self._began = now
        elif self._is_missing_before(frame):
            self._quality["gaps"] = None
        if not frame.samples:
            self._quality["lead-off"] = None
        self._frames.append(frame)
        self._latest = now
        return closed

    def close(self, ending: Ending) -> list[Recording]:
        """End the open recording, if there is one."""
        if not self._frames:
            return []
        if ending.value:
            self._quality[ending.value] = None
        frames = tuple(self._frames)
        raw = b"".join(frame.raw for frame in frames)
        made = Recording(raw, frames, tuple(self._quality), self._seconds())
        self._frames.clear()
        self._quality.clear()
        return [made]

    def _is_full(self, now: float) -> bool:
        if self._rate is not None:
            return len(self._frames) >= LONGEST_S * self._rate
        return bool(self._frames) and now - self._began >= LONGEST_S

    def _seconds(self) -> Decimal | None:
        if self._rate is not None:
            return Decimal(len(self._frames)) / self._rate
        passed = Decimal(self._latest - self._began).quantize(_THOUSANDTH)
        return passed or None

    def _is_missing_before(self, frame: Frame) -> bool:
        before = self._frames[-1].counter
        if before is None or frame.counter is None:
            return False
        return frame.counter != (before + 1) % _COUNTER


def stored_form(recording: Recording) -> Measurement:
    """What is stored of a board's recording: its bytes and how long it is, and no value."""
    return Measurement(
        KIND,
        recording.raw,
        quality=(*MARKS, *recording.quality),
        duration=recording.seconds,
    )


def decoding(layout: Layout | Lines) -> Callable[[bytes], Outcome]:
    """The decoder of captures of a board; it raises `ProtocolFault` for a byte of no frame.

    Values are those of the first 64 frames, channel after channel, all under the code of an
    unstated ECG lead: microvolts where the table knows the scale, else counts.
    """

    def decode(raw: bytes) -> Outcome:
        recording = _whole(layout, raw, Ending.QUIET)
        values = [
            _value(layout, sample)
            for frame in recording.frames[:SPELLED_OUT]
            for sample in frame.samples
        ]
        if not values:
            return NoReading("The electrodes are off, so that there is no signal.")
        quality = (*MARKS, *recording.quality)
        return Decoded((Measurement(KIND, raw, tuple(values), quality=quality),))

    return decode


def recovering(layout: Layout | Lines) -> Callable[[Sequence[bytes]], Outcome]:
    """What rebuilds the recording that a crash left as kept frames; it is `cut-short`."""

    def recover(frames: Sequence[bytes]) -> Outcome:
        return Decoded((stored_form(_whole(layout, b"".join(frames), Ending.CUT)),))

    return recover


def _whole(layout: Layout | Lines, raw: bytes, ending: Ending) -> Recording:
    framer, recorder = Framer(layout), Recorder(layout)
    offset = 0
    made: list[Recording] = []
    for event in [*framer.feed(raw), *framer.close()]:
        if isinstance(event, Skipped):
            raise ProtocolFault(f"The capture holds {event.reason}.", offset)
        made += recorder.take(event, 0.0)
        offset += len(event.raw)
    made += recorder.close(ending)
    if not made:
        raise ProtocolFault("There are no bytes to decode.", 0)
    return _joined(made)


def _joined(made: list[Recording]) -> Recording:
    if len(made) == 1:
        return made[0]
    times = [each.seconds for each in made if each.seconds is not None]
    return Recording(
        b"".join(each.raw for each in made),
        tuple(frame for each in made for frame in each.frames),
        tuple(dict.fromkeys(mark for each in made for mark in each.quality)),
        sum(times, Decimal(0)) if times else None,
    )


def _value(layout: Layout | Lines, sample: int) -> Value:
    if isinstance(layout, Layout) and layout.microvolts is not None:
        scaled = layout.microvolts * sample
        number = (Decimal(scaled.numerator) / scaled.denominator).quantize(_THOUSANDTH)
        return Value(_UNSTATED, number, "uV")
    return Value(_UNSTATED, Decimal(sample), "{count}")
