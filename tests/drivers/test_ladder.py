"""The recovery ladder: pure, so told as stories in seconds."""

from __future__ import annotations

from drivers.ladder import RUNGS, Climb, Ladder, Step, Trouble

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
