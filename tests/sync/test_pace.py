from __future__ import annotations

import heapq

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sync.contract.chunk import CHUNK_MAX, CHUNK_MIN
from sync.pace import WINDOW_MAX, Pace


class Wire:
    """A link of a rate and a round trip, with a pace that keeps its window full."""

    def __init__(self, rate: float, round_trip: float, pace: Pace | None = None) -> None:
        self.pace = pace or Pace()
        self.rate, self.round_trip = rate, round_trip
        self.now, self.free, self.carried = 0.0, 0.0, 0
        self._flying: list[tuple[float, int, float]] = []

    def run(self, chunks: int) -> float:
        """Deliver so many chunks; give the bytes a second."""
        begun, before = self.now, self.carried
        for _ in range(chunks):
            while len(self._flying) < self.pace.window:
                size = self.pace.chunk_size
                self.free = max(self.free, self.now) + size / self.rate
                self.pace.began(self.now)
                heapq.heappush(self._flying, (self.free + self.round_trip, size, self.now))
            self._land()
        return (self.carried - before) / (self.now - begun)

    def drain(self) -> None:
        while self._flying:
            self._land()

    def _land(self) -> None:
        self.now, size, begun = heapq.heappop(self._flying)
        self.carried += size
        self.pace.delivered(size, self.now, self.now - begun)


LINKS = [(8_000, 0.6), (32_000, 0.1), (125_000, 0.6), (125_000, 0.05), (1_250_000, 0.03)]


@pytest.mark.parametrize(("rate", "round_trip"), LINKS)
def test_a_link_is_filled_with_no_more_than_it_needs(rate: float, round_trip: float) -> None:
    wire = Wire(rate, round_trip)
    wire.run(150)
    assert wire.run(300) >= 0.7 * rate
    needed = 1 + rate * round_trip / wire.pace.chunk_size
    assert wire.pace.window <= 2 * needed + 2


@pytest.mark.parametrize(("rate", "round_trip"), LINKS)
def test_the_window_holds_over_a_long_transfer(rate: float, round_trip: float) -> None:
    """Probing must not wear the window down, nor blow it up."""
    wire = Wire(rate, round_trip)
    early = wire.run(300)
    wire.run(3000)
    assert wire.run(300) >= 0.8 * early


@pytest.mark.parametrize(("rate", "round_trip"), LINKS)
def test_one_chunk_takes_half_a_second_of_the_link_at_most_or_is_the_smallest(
    rate: float, round_trip: float
) -> None:
    wire = Wire(rate, round_trip)
    wire.run(200)
    size = wire.pace.chunk_size
    assert size == CHUNK_MIN or size * wire.pace.window <= 0.6 * rate


def test_a_wider_window_that_carries_nothing_more_is_given_back() -> None:
    wire = Wire(32_000, 0.0)
    wire.run(100)
    assert wire.pace.window <= 2


@settings(deadline=None)
@given(st.lists(st.integers(1, 4096), max_size=5), st.sampled_from(LINKS))
def test_a_pause_is_no_slow_link(pauses: list[float], link: tuple[float, float]) -> None:
    """Pictures come in bursts; the minutes between them say nothing of the link."""
    steady, bursts = Wire(*link), Wire(*link)
    for pause in (*pauses, 0.0):
        for wire in (steady, bursts):
            wire.run(60)
            wire.drain()
        bursts.now += pause
    assert bursts.pace.window == steady.pace.window
    assert bursts.pace.chunk_size == pytest.approx(steady.pace.chunk_size, rel=0.02)


@settings(deadline=None)
@given(st.integers(1, 200), st.sampled_from(LINKS))
def test_a_loss_begins_again_with_one_small_chunk(chunks: int, link: tuple[float, float]) -> None:
    wire = Wire(*link)
    wire.run(chunks)
    wire.pace.began(wire.now)
    wire.pace.lost()
    assert (wire.pace.window, wire.pace.chunk_size) == (1, CHUNK_MIN)
    wire.drain()
    assert wire.run(300) > 0


@settings(deadline=None)
@given(
    st.integers(1, WINDOW_MAX),
    st.lists(st.tuples(st.booleans(), st.floats(0.0, 60.0)), max_size=80),
)
def test_window_and_chunks_stay_within_their_bounds(
    ceiling: int, deliveries: list[tuple[bool, float]]
) -> None:
    pace, now = Pace(ceiling=ceiling), 0.0
    for lost, seconds in deliveries:
        pace.began(now)
        now += seconds
        if lost:
            pace.lost()
        else:
            pace.delivered(pace.chunk_size, now, seconds)
        assert 1 <= pace.window <= ceiling
        assert CHUNK_MIN <= pace.chunk_size <= CHUNK_MAX


def test_what_is_carried_beside_the_chunks_does_not_widen_the_window() -> None:
    """T38: live records share the link; a wider window would carry more by taking their part."""
    wire = Wire(32_000, 0.06)
    for _ in range(200):
        wire.free = max(wire.free, wire.now) + 12_000 / wire.rate  # a batch of live records
        wire.run(1)
    assert wire.pace.window <= 2
