"""Schedules by seed: the fixed choice of every run; `make soak` runs on from there."""

from __future__ import annotations

import pytest

from .simulation import Simulation, Violation
from .unit import IgnoresMissing, KeepsBlobsOfAnotherCentre, PureUnit, SettlesTooEarly

SCHEDULES = 1000
REGRESSIONS: tuple[int, ...] = ()
"""Seeds that once broke a promise. One is added with each fault that soak finds, never removed."""


def test_a_thousand_schedules_keep_every_promise() -> None:
    for seed in (*REGRESSIONS, *range(SCHEDULES)):
        try:
            Simulation(seed).run()
        except AssertionError as broken:
            pytest.fail(f"seed {seed}: {broken}")


def test_the_same_seed_is_the_same_schedule() -> None:
    ends = []
    for _ in range(2):
        simulation = Simulation(11)
        simulation.run()
        ends.append((simulation.now, simulation.session, simulation.recorded))
    assert ends[0] == ends[1]


@pytest.mark.parametrize("mutant", [SettlesTooEarly, IgnoresMissing, KeepsBlobsOfAnotherCentre])
def test_simulation_catches_the_mutant(mutant: type[PureUnit]) -> None:
    caught = next((seed for seed in range(SCHEDULES) if breaks_a_promise(seed, mutant)), None)
    assert caught is not None


def breaks_a_promise(seed: int, make: type[PureUnit]) -> bool:
    try:
        Simulation(seed, make).run()
    except Violation:
        return True
    return False
