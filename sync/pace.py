"""How much to keep in flight: the fewest chunks that fill the link; pure, time handed in.

After BBR (Cardwell and others, 2016): a link is full where what it carries in a round trip is
in flight. Both are measured apart, the rate at the best moments and the round trip at the
quickest, so that a lost segment, which holds up everything for a while, is taken for neither.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from math import inf

from sync.contract.chunk import CHUNK_MAX, CHUNK_MIN

WINDOW_MAX = 16
_SLICE = 0.5
"""Seconds of link that one chunk may take, so that a vital sign waits no longer behind it."""
_MORE = 1.25
"""Beyond what fills the link as it is known, so that a faster one shows."""
_INSTANT = 1e-3
"""Seconds: what is answered faster than this was answered at once."""
_ROUNDS_KNOWN = 8
"""Rounds of which the best counts as the rate of the link."""
_ROUNDS_BEFORE_PROBE = 64
_PROBES = 2
"""Chunks sent alone to measure the round trip anew; of one, a lost segment may make a lie."""


@dataclass(frozen=True, slots=True)
class Flight:
    """A delivery under way: the second at which it began, and the bytes delivered before."""

    begun: float
    before: int
    alone: bool


@dataclass(slots=True)
class Pace:
    """A window one chunk wider than what the link is known to carry in a round trip.

    `window` is in chunks and never above `ceiling`, `chunk_size` in bytes. A round is as many
    deliveries as the window is wide. A rate is taken over one delivery from its begin to its
    answer, so it is never more than what is in flight in the shortest round trip; a pause with
    nothing in flight belongs to none. `_least` is the shortest that a chunk took, in seconds,
    and its size; it is measured anew from time to time, since links change under a connection.
    """

    ceiling: int = WINDOW_MAX
    window: int = 1
    chunk_size: int = CHUNK_MIN
    _flying: int = 0
    _delivered: int = 0
    _count: int = 0
    _bytes: int = 0
    _best: float = 0.0
    _rates: deque[float] = field(default_factory=lambda: deque(maxlen=_ROUNDS_KNOWN))
    _least: tuple[float, float] = (inf, 0.0)
    _rounds: int = 0
    _probes: int = 0

    def began(self, now: float) -> Flight:
        """A delivery starts at this monotonic second."""
        self._flying += 1
        return Flight(now, self._delivered, self._flying == 1)

    def delivered(self, flight: Flight, size: int, now: float) -> None:
        """A delivery of `size` bytes was answered."""
        self._flying -= 1
        self._delivered += size
        took = max(now - flight.begun, _INSTANT)
        self._count += 1
        self._bytes += size
        self._best = max(self._best, (self._delivered - flight.before) / took)
        if self._probes and not flight.alone:
            return
        self._least = min(self._least, (took, size))
        if self._probes:
            self._probes -= 1
        if self._count >= self.window and not self._probes:
            self._judge()

    def lost(self) -> None:
        """A delivery was not answered in time: begin again with one small chunk."""
        self._flying -= 1
        self.window, self.chunk_size = 1, CHUNK_MIN
        self._count, self._bytes, self._best = 0, 0, 0.0
        self._rates.clear()
        self._least = (inf, 0.0)
        self._rounds = self._probes = 0

    def _judge(self) -> None:
        self._rates.append(self._best)
        rate, size = max(self._rates), self._bytes / self._count
        took = self._least[0] + max(0.0, size - self._least[1]) / rate
        self.window = max(1, min(self.ceiling, int(_MORE * rate * took / size) + 1))
        self.chunk_size = int(max(CHUNK_MIN, min(CHUNK_MAX, rate * _SLICE / self.window)))
        self._count, self._bytes, self._best = 0, 0, 0.0
        self._rounds += 1
        if self._rounds >= _ROUNDS_BEFORE_PROBE:
            self._rounds, self._probes, self.window = 0, _PROBES, 1
            self._least = (inf, 0.0)
