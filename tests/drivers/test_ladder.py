"""The recovery ladder and the judgement of bonds: pure, so told as stories in seconds."""

from __future__ import annotations

import pytest

from drivers.ladder import RUNGS, Bond, Bonds, Climb, Ladder, Step, Trouble

ADDRESS, OTHER = "F1:00:00:00:00:01", "F1:00:00:00:00:02"
ALL = [Step.RESTART_SCAN, Step.POWER_CYCLE, Step.RESET, Step.RESTART_SERVICE]


def climbs(ladder: Ladder, times: list[float], trouble: Trouble = Trouble.REFUSED) -> list[Climb]:
    return [ladder.troubled(now, trouble) for now in times]


def steps(found: list[Climb]) -> list[Step | None]:
    return [climb.step for climb in found]


def test_refusal_for_ever_climbs_every_step_once_and_then_raises_one_alarm() -> None:
    """T41."""
    found = climbs(Ladder(), [0, 5, 15, 30, 50, 60, 70])
    assert steps(found) == [*ALL, None, None, None]
    assert [climb.alarm for climb in found] == [False] * 4 + [True, False, False]
    assert all(climb.pause > 0 for climb in found)


def test_after_its_rest_it_climbs_anew_and_never_gives_up() -> None:
    ladder = Ladder(rest=100)
    found = climbs(ladder, [10.0 * turn for turn in range(60)])
    assert steps(found).count(Step.RESTART_SERVICE) >= 3
    assert sum(climb.alarm for climb in found) >= 3


def test_adapter_that_has_stood_begins_at_the_lowest_step_again() -> None:
    assert steps(climbs(Ladder(), [0, 10, 20, 400])) == [*ALL[:3], ALL[0]]


def test_adapter_that_flaps_climbs_on() -> None:
    assert steps(climbs(Ladder(), [0, 50, 100, 150])) == ALL


def test_time_of_a_step_itself_does_not_count_as_standing() -> None:
    ladder = Ladder(stands_after=10)
    ladder.troubled(0, Trouble.REFUSED)
    assert ladder.troubled(RUNGS[0].pause + 9, Trouble.REFUSED).step is Step.POWER_CYCLE


def test_quiet_place_raises_no_alarm_and_resets_nothing() -> None:
    found = climbs(Ladder(stands_after=10_000), [600.0 * turn for turn in range(9)], Trouble.SILENT)
    assert set(steps(found)) == {Step.RESTART_SCAN, Step.POWER_CYCLE, None}
    assert not any(climb.alarm for climb in found)


@pytest.mark.parametrize(
    "error", ["[org.bluez.Error.AuthenticationFailed] Authentication Failed", "le-key-missing"]
)
def test_refused_authentication_means_a_stale_bond_at_once(error: str) -> None:
    bonds = Bonds()
    assert bonds.failed(ADDRESS, error) is Bond.STALE
    assert bonds.failed(ADDRESS, error) is Bond.LOST
    assert bonds.failed(OTHER, error) is Bond.STALE


def test_aborts_mean_a_stale_bond_only_when_they_come_in_a_row() -> None:
    bonds, abort = Bonds(), "[org.bluez.Error.Failed] le-connection-abort-by-local"
    assert [bonds.failed(ADDRESS, abort) for _ in range(2)] == [Bond.SOUND] * 2
    bonds.worked(ADDRESS)
    assert [bonds.failed(ADDRESS, abort) for _ in range(3)] == [Bond.SOUND, Bond.SOUND, Bond.STALE]
    assert [bonds.failed(ADDRESS, abort) for _ in range(3)][-1] is Bond.LOST


def test_bond_that_works_again_may_be_mended_again() -> None:
    bonds = Bonds()
    assert bonds.failed(ADDRESS, "AuthenticationFailed") is Bond.STALE
    bonds.worked(ADDRESS)
    assert bonds.failed(ADDRESS, "AuthenticationFailed") is Bond.STALE


@pytest.mark.parametrize("error", ["", "org.bluez.Error.InProgress", "timed out"])
def test_other_errors_say_nothing_of_a_bond(error: str) -> None:
    bonds = Bonds()
    assert {bonds.failed(ADDRESS, error) for _ in range(9)} == {Bond.SOUND}
