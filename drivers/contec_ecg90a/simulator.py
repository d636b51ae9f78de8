"""A Contec ECG90A that is not there: its files, written by an encoder of our own.

The heart is drawn as sums of bell curves; it looks like an ECG and like nobody's.
"""

from __future__ import annotations

import struct
from math import exp
from typing import TYPE_CHECKING, Final

from drivers.contec_ecg90a.recording import MIDDLE, OUT_OF_RANGE, RATE_HZ

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

UNSET_CLOCK: Final = "2000-00-00 00:00:00"

_PERIOD_S = 0.8
_WAVES = ((0.16, 0.025, 0.12), (0.27, 0.010, -0.1), (0.30, 0.012, 1.0), (0.33, 0.012, -0.25))
_REPOLARISATION = (0.55, 0.045, 0.3)
_SHARES = (1.0, 0.45, -0.5, 0.7, 1.1, 1.5, 1.3, 0.9)
"""How strongly leads II, III, V1 to V6 see the heart's vector."""

_STEPS_A_MILLIVOLT = 200


def file_of(
    instants: Iterable[Sequence[int | None]],
    when: datetime | str,
    *,
    case: str = "0000001",
    name: str = "",
) -> bytes:
    """A whole file. An instant is eight numbers in steps of 5 uV, None where out of range.

    `name` is the patient's, at most 8 bytes; `when` may be any 19 characters.
    """
    stamp = when if isinstance(when, str) else when.strftime("%Y-%m-%d %H:%M:%S")
    header = struct.pack("<8s2x20s2x8sBBB", case.encode(), stamp.encode(), name.encode(), 255, 0, 0)
    words = [
        OUT_OF_RANGE if number is None else number + MIDDLE
        for instant in instants
        for number in instant
    ]
    return header + struct.pack(f"<{len(words)}H", *words) + bytes(37)


def heart(samples: int) -> list[tuple[int, ...]]:
    """Instants of a heart at 75 beats a minute, `samples` of them at 800 Hz."""
    beat = [_vector(number / RATE_HZ) for number in range(round(_PERIOD_S * RATE_HZ))]
    return [
        tuple(round(_STEPS_A_MILLIVOLT * share * beat[number % len(beat)]) for share in _SHARES)
        for number in range(samples)
    ]


def _vector(at: float) -> float:
    """Millivolts at a time within one beat, in seconds."""
    return sum(
        height * exp(-(((at - centre) / width) ** 2) / 2)
        for centre, width, height in (*_WAVES, _REPOLARISATION)
    )
