"""What frames of a HealthyPi v4 say: the numbers the board computed itself. Pure.

`Healthypiv4_Arduino.ino`, offsets within the 20 bytes after the five of the header, all
little-endian: ECG i16 0, respiration i16 2, infrared i32 4, red i32 8, temperature u16 12 (in
hundredths of a degree), respiratory rate 14, saturation 15, heart rate 16, two constants 17 and
18, status 19.

The constants (80 and 120) stand where a blood pressure would be; the board has no cuff, and they
are never read. The waves are filtered counts of an unstated scale: they stay in the raw bytes.
"""

from __future__ import annotations

import struct
from collections import deque
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING

from drivers.base import Measurement, Value
from drivers.bench.layout import HEALTHYPI4
from drivers.spot import IMPLAUSIBLE
from drivers.tape import Ending

if TYPE_CHECKING:
    from collections.abc import Iterable

    from drivers.bench.framer import Frame

KIND = "vital-signs"
LONGEST_S = 30

_PAYLOAD = struct.Struct("<2h2iH3B2xB")
_LEAD_OFF = 0x1F


@dataclass(frozen=True, slots=True)
class _Quantity:
    """One number: where its unpacked field is, what it is, and what no body can have."""

    place: int
    code: str
    unit: str
    bounds: tuple[int, int]
    decimals: int = 0


# A zero is the board's word for nothing. Bounds are those beyond which no value is built; bytes
# without a checksum are not to be trusted with less.
_QUANTITIES = (
    _Quantity(7, "147842", "/min", (20, 300)),
    _Quantity(5, "151562", "/min", (2, 120)),
    _Quantity(6, "150456", "%", (30, 100)),
    _Quantity(4, "150388", "Cel", (0, 60), decimals=2),
)
_STATUS = 8


@dataclass(frozen=True, slots=True)
class Recording:
    """Frames in a row; `raw` is exactly their bytes, `values` the last the board said of each."""

    raw: bytes = field(repr=False)
    count: int
    values: tuple[Value, ...]
    status: tuple[str, ...]
    quality: tuple[str, ...]

    @property
    def seconds(self) -> Decimal:
        """Its length, as far as the board's rate tells it."""
        return Decimal(self.count) / HEALTHYPI4.rate_hz


class Recorder:
    """Holds at most one open recording of one board; frames carry neither number nor time.

    The board streams whether or not it is on anybody: a recording begins with the first frame
    that says a rate or a saturation, and what comes before it is let go.
    """

    def __init__(self) -> None:
        self._frames: deque[bytes] = deque()

    @property
    def recording(self) -> bool:
        """Whether a recording is open; the frame last taken then belongs to it."""
        return bool(self._frames)

    def take(self, frame: Frame, now: float) -> list[Recording]:  # noqa: ARG002 - a tape's shape
        """Take the next frame; give the recording that was full before it."""
        full = len(self._frames) >= LONGEST_S * HEALTHYPI4.rate_hz
        closed = self.close(Ending.FULL) if full else []
        if self._frames or says_something(frame.raw):
            self._frames.append(frame.raw)
        return closed

    def close(self, ending: Ending) -> list[Recording]:
        """End the open recording, if there is one."""
        if not self._frames:
            return []
        made = recording_of(self._frames, ending)
        self._frames.clear()
        return [made]


def says_something(raw: bytes) -> bool:
    """Whether a frame holds a rate or a saturation that a body can have."""
    fields = _PAYLOAD.unpack_from(raw, len(HEALTHYPI4.sync))
    return any(
        quantity.bounds[0] <= fields[quantity.place] <= quantity.bounds[1]
        for quantity in _QUANTITIES
        if not quantity.decimals
    )


def recording_of(frames: Iterable[bytes], ending: Ending) -> Recording:
    """The recording of whole frames in a row."""
    held = list(frames)
    said: dict[str, Value] = {}
    status: dict[str, None] = {}
    quality: dict[str, None] = {}
    for raw in held:
        fields = _PAYLOAD.unpack_from(raw, len(HEALTHYPI4.sync))
        off = bool(fields[_STATUS] & _LEAD_OFF)
        if off:
            status["lead-off"] = None
        for quantity in _QUANTITIES:
            _note(said, quality, quantity, fields[quantity.place])
    if ending.value:
        quality[ending.value] = None
    values = tuple(said[each.code] for each in _QUANTITIES if each.code in said)
    return Recording(b"".join(held), len(held), values, tuple(status), tuple(quality))


def stored_form(recording: Recording) -> Measurement:
    """The measurement of a recording; it has no values where the board computed nothing."""
    return Measurement(
        KIND,
        recording.raw,
        recording.values,
        status=recording.status,
        quality=("not-certified", *recording.quality),
        duration=recording.seconds,
    )


def _note(
    said: dict[str, Value], quality: dict[str, None], quantity: _Quantity, number: int
) -> None:
    if not number:
        return
    low, high = quantity.bounds
    value = Decimal(number).scaleb(-quantity.decimals)
    if low <= value <= high:
        said[quantity.code] = Value(quantity.code, value, quantity.unit)
    else:
        quality[IMPLAUSIBLE] = None
