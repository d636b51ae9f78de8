"""Full-jitter backoff; pure: time and chance are handed in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

CEILING = 60.0
FIRST = 1.0
STOOD = 30.0
"""Seconds: the longest wait, the first ceiling, and how long a link must stand to be trusted."""


@dataclass(slots=True)
class Backoff:
    """`uniform(a, b)` draws between two floats; `failures` counts since a link last stood."""

    uniform: Callable[[float, float], float]
    failures: int = 0

    def wait(self, stood: float) -> float:
        """Seconds to wait after a link that stood so long (0 for one that never came up).

        Only a link that stood resets the count, so one that is kicked at once still backs off.
        """
        self.failures = 0 if stood >= STOOD else self.failures + 1
        ceiling = min(CEILING, FIRST * 2.0 ** min(self.failures, 10))
        return self.uniform(0.0, ceiling)
