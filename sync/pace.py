"""How much to keep in flight: the fewest chunks that fill the link; pure, time handed in."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from sync.contract.chunk import CHUNK_MAX, CHUNK_MIN

WINDOW_MAX = 16
_SLICE = 0.5
"""Seconds of link that one chunk may take, so that a vital sign waits no longer behind it."""
_GAIN = 1.1
_INSTANT = 1e-3
"""Seconds: what is answered faster than this was answered at once."""
_ROUNDS_BEFORE_PROBE = 16


@dataclass(slots=True)
class Pace:
    """Climbs from one chunk in flight while a wider window carries at least 10 % more.

    It climbs only where chunks do not queue: what is carried beside them shares the link, and a
    wider window would but take that share. `_least` is the shortest that chunks took, in seconds,
    and their size; where they take half a chunk's time more than that, the link is full.

    `window` is in chunks and never above `ceiling`, `chunk_size` in bytes; rates are bytes per
    second of a whole round (as many deliveries as the window is wide). A pause with nothing in
    flight belongs to no round.
    """

    ceiling: int = WINDOW_MAX
    window: int = 1
    chunk_size: int = CHUNK_MIN
    best: float = 0.0
    _flying: int = 0
    _bytes: int = 0
    _count: int = 0
    _since: float | None = None
    _flat: int = 0
    _least: tuple[float, float] = (inf, 0.0)
    _took: float = 0.0

    def began(self, now: float) -> None:
        """A delivery starts at this monotonic second."""
        self._flying += 1
        if self._since is None:
            self._since = now

    def delivered(self, size: int, now: float, took: float) -> None:
        """A delivery of `size` bytes was answered, `took` seconds after it began."""
        self._bytes += size
        self._count += 1
        self._took += took
        if self._count >= self.window and self._since is not None and now > self._since:
            rate = self._bytes / max(now - self._since, _INSTANT)
            self._judge(rate, self._took / self._count, self._bytes / self._count)
            self._bytes, self._count, self._took, self._since = 0, 0, 0.0, now
        self._landed()

    def lost(self) -> None:
        """A delivery was not answered in time: begin again with one small chunk."""
        self.window, self.chunk_size, self.best, self._flat = 1, CHUNK_MIN, 0.0, 0
        self._bytes, self._count, self._took, self._since = 0, 0, 0.0, None
        self._least = (inf, 0.0)
        self._landed()

    def _landed(self) -> None:
        self._flying -= 1
        if self._flying == 0:
            self._bytes, self._count, self._took, self._since = 0, 0, 0.0, None

    def _judge(self, rate: float, took: float, size: float) -> None:
        self.chunk_size = int(max(CHUNK_MIN, min(CHUNK_MAX, rate * _SLICE / self.window)))
        self._least = min(self._least, (took, size))
        own = size / max(rate, self.best)
        larger = max(0.0, size - self._least[1]) / max(rate, self.best)
        queued = took - self._least[0] - larger
        if queued > own:
            self.window = max(1, self.window - 1)
            return
        if rate > self.best * _GAIN:
            self.best, self._flat = rate, 0
            if queued <= own / 2:
                self._widen()
            return
        self._flat += 1
        if self._flat == 1:
            self.window = max(1, self.window - 1)
        elif self._flat >= _ROUNDS_BEFORE_PROBE:
            self.best, self._flat = rate, 0
            self._widen()

    def _widen(self) -> None:
        self.window = min(self.ceiling, self.window + 1)
