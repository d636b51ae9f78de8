"""The driver of this board: see `drivers.bench`."""

from __future__ import annotations

from drivers.bench.driver import BenchInput
from drivers.bench.layout import AD8232


def build(settings: dict[str, object]) -> BenchInput:
    """The driver. It has no settings: `Misconfigured` where there are any."""
    return BenchInput.of(AD8232, settings)
