"""How fast a device's clock runs against the host's monotonic one. Pure: both are handed in."""

from __future__ import annotations

SHORTEST_S = 60.0
"""Below this the jitter of USB hides any drift a quartz has."""

_WINDOW_S = 10.0


class Drift:
    """Compares when blocks say they began with when they came.

    A block can come late, never early: in each window of ten seconds the least delay is nearly
    the true one. The drift is the change of that least delay from the first window to the
    latest whole one, in millionths of the time between; positive where the device runs fast.
    A device time that goes back is a new boot, and all begins anew.
    """

    def __init__(self) -> None:
        self._last_ms: int | None = None
        self._first: tuple[float, float] | None = None
        self._latest: tuple[float, float] | None = None
        self._least: tuple[float, float] | None = None
        self._until = 0.0

    @property
    def ppm(self) -> int | None:
        """The drift in millionths, or None before a minute has been compared."""
        if self._first is None or self._latest is None:
            return None
        passed = self._latest[0] - self._first[0]
        if passed < SHORTEST_S:
            return None
        return round((self._first[1] - self._latest[1]) / passed * 1e6)

    def note(self, t_ms: int, now: float) -> None:
        """A block of one kind says `t_ms` of the device and came at `now` seconds."""
        if self._last_ms is None or t_ms < self._last_ms:
            self._first = self._latest = self._least = None
            self._until = now + _WINDOW_S
        self._last_ms = t_ms
        if now >= self._until:
            self._latest = self._least
            self._first = self._first or self._least
            self._least = None
            self._until = now + _WINDOW_S
        delay = now - t_ms / 1000
        if self._least is None or delay < self._least[1]:
            self._least = (now, delay)
