"""How much to keep in flight: the fewest chunks that fill the link; pure, time handed in."""

from __future__ import annotations

from dataclasses import dataclass

from sync.contract.chunk import CHUNK_MAX, CHUNK_MIN

WINDOW_MAX = 16
_SLICE = 0.5
"""Seconds of link that one chunk may take, so that a vital sign waits no longer behind it."""
_GAIN = 1.1
_ROUNDS_BEFORE_PROBE = 16


@dataclass(slots=True)
class Pace:
    """Climbs from one chunk in flight while a wider window carries at least 10 % more.

    `window` is in chunks, `chunk_size` in bytes; rates are bytes per second of a whole round
    (as many deliveries as the window is wide).
    """

    window: int = 1
    chunk_size: int = CHUNK_MIN
    best: float = 0.0
    _bytes: int = 0
    _count: int = 0
    _since: float | None = None
    _settled_rounds: int = 0

    def began(self, now: float) -> None:
        """A delivery starts at this monotonic second."""
        if self._since is None:
            self._since = now

    def delivered(self, size: int, now: float) -> None:
        """A delivery of `size` bytes was answered."""
        self._bytes += size
        self._count += 1
        if self._count >= self.window and self._since is not None and now > self._since:
            self._judge(self._bytes / (now - self._since))
            self._bytes, self._count, self._since = 0, 0, now

    def idled(self) -> None:
        """Nothing is in flight: a pause must not count as a slow link."""
        self._bytes, self._count, self._since = 0, 0, None

    def lost(self) -> None:
        """A delivery was not answered in time: begin again with one small chunk."""
        self.window, self.chunk_size, self.best = 1, CHUNK_MIN, 0.0
        self.idled()

    def _judge(self, rate: float) -> None:
        fits = int(rate * _SLICE / self.window)
        self.chunk_size = max(CHUNK_MIN, min(CHUNK_MAX, fits))
        if rate > self.best * _GAIN:
            self.best = rate
            self.window = min(WINDOW_MAX, self.window + 1)
            self._settled_rounds = 0
            return
        self._settled_rounds += 1
        if self._settled_rounds == 1:
            self.window = max(1, self.window - 1)
        elif self._settled_rounds >= _ROUNDS_BEFORE_PROBE:
            self.best, self._settled_rounds = rate, 0
