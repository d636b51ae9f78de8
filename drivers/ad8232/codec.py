"""What bytes of this board say: see `drivers.bench`. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from drivers.bench import framer
from drivers.bench.layout import AD8232
from drivers.bench.recording import decoding, recovering

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from drivers.base import Outcome

_DECODE = decoding(AD8232)
_RECOVER = recovering(AD8232)


class Framer(framer.Framer):
    """The framer of this board's frames."""

    def __init__(self) -> None:
        super().__init__(AD8232)


def decode(raw: bytes, *, name: str | None = None) -> Outcome:  # noqa: ARG001 - a codec's shape
    """Decode a capture of whole frames; see `drivers.bench.recording.decoding`."""
    return _DECODE(raw)


def recover(frames: Sequence[bytes], received: Sequence[datetime] = ()) -> Outcome:  # noqa: ARG001
    """Rebuild the recording that a crash left as kept frames; it is `cut-short`."""
    return _RECOVER(frames)
