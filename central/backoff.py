"""How long to wait before the broker is tried again: full jitter, pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

CEILING = 60.0
FIRST = 1.0
STOOD = 30.0
"""Seconds: the longest wait, the first ceiling, and how long a link must stand to be trusted."""
_DOUBLINGS = 6


@dataclass(slots=True)
class Backoff:
    """`uniform(a, b)` draws between two numbers."""

    uniform: Callable[[float, float], float]
    failures: int = 0

    def wait(self, stood: float) -> float:
        """Seconds to wait after a link that stood so long; only a lasting one resets."""
        self.failures = 0 if stood >= STOOD else self.failures + 1
        ceiling = FIRST * 2.0 ** min(self.failures, _DOUBLINGS)
        return self.uniform(0.0, min(CEILING, ceiling))
