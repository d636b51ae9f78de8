from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from sync.backoff import CEILING, STOOD, Backoff

SHORT = st.floats(0.0, STOOD, exclude_max=True)


def ceilings(stood: list[float]) -> list[float]:
    """The upper ends of the draws: what the wait could be at most."""
    backoff = Backoff(lambda _, high: high)
    return [backoff.wait(each) for each in stood]


@settings(deadline=None)
@given(st.lists(SHORT, min_size=1, max_size=40))
def test_waits_double_up_to_a_minute_however_briefly_the_link_stood(stood: list[float]) -> None:
    expected = [min(CEILING, 2.0**n) for n in range(1, len(stood) + 1)]
    assert ceilings(stood) == expected
    assert CEILING == 60.0


@settings(deadline=None)
@given(st.lists(SHORT, max_size=12), st.lists(SHORT, max_size=12))
def test_only_a_link_that_stood_begins_anew(before: list[float], after: list[float]) -> None:
    waits = ceilings([*before, STOOD, *after])
    assert waits[len(before) :] == [1.0, *ceilings(after)]


@settings(deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 12))
def test_jitter_is_full_from_nothing_to_the_ceiling(seed: int, failures: int) -> None:
    chance = random.Random(seed)
    top = min(CEILING, 2.0**failures)
    draws = [[Backoff(chance.uniform, failures - 1).wait(0.0) for _ in range(40)] for _ in range(5)]
    flat = [each for row in draws for each in row]
    assert all(0.0 <= each <= top for each in flat)
    assert min(flat) < top * 0.25
    assert max(flat) > top * 0.75


def test_a_year_of_failures_does_not_overflow() -> None:
    backoff = Backoff(lambda _, high: high, failures=10**7)
    assert backoff.wait(0.0) == CEILING


def test_160_units_do_not_come_back_at_once() -> None:
    """T37: a broker restarts; nowhere do more than 20 units come within one second."""
    chance, arrivals = random.Random(11), list[float]()
    for _ in range(160):
        backoff, now = Backoff(chance.uniform), 0.0
        for _ in range(6):  # the broker is away for a while
            now += backoff.wait(0.0)
        arrivals.append(now)
    fullest = max(sum(at <= each < at + 1.0 for each in arrivals) for at in arrivals)
    assert fullest < 20
