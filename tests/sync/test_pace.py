from __future__ import annotations

import heapq
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sync.contract.chunk import CHUNK_MAX, CHUNK_MIN
from sync.pace import WINDOW_MAX, Flight, Pace


class Wire:
    """A link of a rate and a round trip, with a pace that keeps its window full.

    `stalls` is the part of chunks that hold up the link for a round trip, as lost segments do.
    """

    def __init__(self, rate: float, round_trip: float, stalls: float = 0.0, seed: int = 1) -> None:
        self.pace = Pace()
        self.rate, self.round_trip = rate, round_trip
        self.stalls, self.chance = stalls, Random(seed)
        self.now, self.free, self.carried = 0.0, 0.0, 0
        self._flying: list[tuple[float, int, Flight]] = []

    def run(self, chunks: int) -> float:
        """Deliver so many chunks; give the bytes a second."""
        begun, before = self.now, self.carried
        for _ in range(chunks):
            while len(self._flying) < self.pace.window:
                size = self.pace.chunk_size
                self.free = max(self.free, self.now) + size / self.rate
                if self.chance.random() < self.stalls:
                    self.free += self.round_trip
                flight = self.pace.began(self.now)
                heapq.heappush(self._flying, (self.free + self.round_trip, size, flight))
            self._land()
        return (self.carried - before) / (self.now - begun)

    def drain(self) -> None:
        while self._flying:
            self._land()

    def _land(self) -> None:
        self.now, size, flight = heapq.heappop(self._flying)
        self.carried += size
        self.pace.delivered(flight, size, self.now)


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


@pytest.mark.parametrize("seed", range(10))
def test_lost_segments_are_no_full_link(seed: int) -> None:
    """T39: 2 % of the segments lost stall every fifth chunk of a satellite for a round trip."""
    wire = Wire(125_000, 0.6, stalls=0.2, seed=seed)
    wire.run(30)
    at_best = CHUNK_MIN / (CHUNK_MIN / 125_000 + 0.2 * 0.6)
    assert wire.run(300) >= 0.7 * at_best


def test_answers_that_come_in_a_bunch_are_no_fast_link() -> None:
    pace = Pace()
    flights = [pace.began(0.0) for _ in range(5)]
    for number, flight in enumerate(flights):
        pace.delivered(flight, CHUNK_MIN, 1.0 + number * 1e-4)
    assert pace.window <= 5 * 1.25 + 1


@pytest.mark.parametrize(("before", "after"), [(0.05, 0.6), (0.6, 0.05)])
def test_link_that_changes_is_filled_anew(before: float, after: float) -> None:
    wire = Wire(125_000, before)
    wire.run(200)
    wire.round_trip = after
    wire.run(600)
    assert wire.run(300) >= 0.7 * wire.rate
    needed = 1 + wire.rate * after / wire.pace.chunk_size
    assert wire.pace.window <= 2 * needed + 2


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
        flight = pace.began(now)
        now += seconds
        if lost:
            pace.lost()
        else:
            pace.delivered(flight, pace.chunk_size, now)
        assert 1 <= pace.window <= ceiling
        assert CHUNK_MIN <= pace.chunk_size <= CHUNK_MAX


def test_what_is_carried_beside_the_chunks_does_not_widen_the_window() -> None:
    """T38: live records share the link; a wider window would carry more by taking their part."""
    wire = Wire(32_000, 0.06)
    for _ in range(200):
        wire.free = max(wire.free, wire.now) + 12_000 / wire.rate  # a batch of live records
        wire.run(1)
    assert wire.pace.window <= 2
