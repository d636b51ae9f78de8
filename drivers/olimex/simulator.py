"""A board that is none: its stream as (second, bytes), the same for the same call."""

from __future__ import annotations

from typing import TYPE_CHECKING

from drivers.bench import simulator
from drivers.bench.layout import OLIMEX

if TYPE_CHECKING:
    from collections.abc import Iterator


def simulate(seconds: float) -> Iterator[tuple[float, bytes]]:
    """The stream for some seconds."""
    return simulator.simulate(OLIMEX, seconds)
