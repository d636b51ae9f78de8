"""What bytes of a HealthyPi v4 say: captures, and frames kept before a crash. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from drivers.base import Decoded, NoReading, Outcome
from drivers.bench import framer
from drivers.bench.layout import HEALTHYPI4
from drivers.errors import ProtocolFault
from drivers.framing import Skipped
from drivers.healthypi4.vitals import recording_of, stored_form
from drivers.tape import Ending

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

_NOTHING = NoReading("The frames are sound, and the board has computed nothing from them.")


class Framer(framer.Framer):
    """The framer of this board's frames."""

    def __init__(self) -> None:
        super().__init__(HEALTHYPI4)


def decode(raw: bytes, *, name: str | None = None) -> Outcome:  # noqa: ARG001 - a codec's shape
    """Decode a capture of whole frames into the last the board said of each quantity.

    Raises `ProtocolFault` where a single byte belongs to no frame.
    """
    return _outcome(raw, Ending.QUIET)


def recover(frames: Sequence[bytes], received: Sequence[datetime] = ()) -> Outcome:  # noqa: ARG001
    """Rebuild the recording that a crash left as kept frames; it is `cut-short`."""
    return _outcome(b"".join(frames), Ending.CUT)


def _outcome(raw: bytes, ending: Ending) -> Outcome:
    its = Framer()
    frames: list[bytes] = []
    for event in [*its.feed(raw), *its.close()]:
        if isinstance(event, Skipped):
            raise ProtocolFault(f"The capture holds {event.reason}.", sum(map(len, frames)))
        frames.append(event.raw)
    if not frames:
        raise ProtocolFault("There are no bytes to decode.", 0)
    made = recording_of(frames, ending)
    return Decoded((stored_form(made),)) if made.values else _NOTHING
