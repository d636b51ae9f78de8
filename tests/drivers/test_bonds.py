"""What failures say of a bond: pure, so told as the stories of visits."""

from __future__ import annotations

import pytest

from drivers.bonds import ABORTS_OF_A_VISIT, REFUSED, Bond, Bonds

ADDRESS, OTHER = "F1:00:00:00:00:01", "F1:00:00:00:00:02"
ABORT = "[org.bluez.Error.Failed] le-connection-abort-by-local"
REFUSALS = ["[org.bluez.Error.AuthenticationFailed] Failed", "le-key-missing", REFUSED]


def verdict(bonds: Bonds, address: str = ADDRESS) -> Bond:
    """What is to be done about a device that the stack keeps a bond with."""
    return bonds.judge(address, bonded=True) if address in bonds.suspects else Bond.SOUND


@pytest.mark.parametrize("error", REFUSALS)
def test_refused_authentication_means_a_stale_bond_at_once(error: str) -> None:
    bonds = Bonds()
    bonds.failed(ADDRESS, error, 0)
    assert verdict(bonds) is Bond.STALE
    bonds.mend(ADDRESS)
    assert bonds.mending == {ADDRESS}
    assert verdict(bonds) is Bond.SOUND
    bonds.failed(ADDRESS, error, 0)
    assert verdict(bonds) is Bond.LOST
    bonds.failed(OTHER, error, 0)
    assert verdict(bonds, OTHER) is Bond.STALE


def test_aborts_mean_a_stale_bond_only_when_they_come_in_a_row() -> None:
    bonds = Bonds()
    found = []
    for error in (ABORT, ABORT, None, ABORT, ABORT, ABORT):
        if error is None:
            bonds.worked(ADDRESS)
        else:
            bonds.failed(ADDRESS, error, 0)
        found.append(verdict(bonds))
    assert found == [Bond.SOUND] * 5 + [Bond.STALE]


def test_aborts_of_visits_that_ended_in_something_else_count_one_by_one() -> None:
    """As where the stack itself dies in the middle of a visit."""
    bonds, found = Bonds(), []
    for _ in range(4):
        bonds.failed(ADDRESS, "the service is gone", 6)
        found.append(verdict(bonds))
    assert found == [Bond.SOUND] * 3 + [Bond.STALE]
    assert 3 * 6 < 3 * ABORTS_OF_A_VISIT <= 4 * 6


def test_aborts_of_a_device_without_a_bond_are_the_weather() -> None:
    bonds = Bonds()
    for _ in range(3):
        bonds.failed(ADDRESS, ABORT, 0)
    assert ADDRESS in bonds.suspects
    assert bonds.judge(ADDRESS, bonded=False) is Bond.SOUND
    bonds.acquit(ADDRESS)
    assert not bonds.suspects


def test_device_that_demands_a_bond_and_has_none_wants_one() -> None:
    bonds = Bonds()
    bonds.failed(ADDRESS, REFUSED, 0)
    assert bonds.judge(ADDRESS, bonded=False) is Bond.WANTED
    bonds.give_up(ADDRESS, "pair it")
    assert bonds.lost == {ADDRESS: "pair it"}
    bonds.worked(ADDRESS)
    assert bonds.lost == {}


def test_bond_that_works_again_may_be_mended_again() -> None:
    bonds = Bonds()
    for _ in range(2):
        bonds.failed(ADDRESS, "AuthenticationFailed", 0)
        assert verdict(bonds) is Bond.STALE
        bonds.mend(ADDRESS)
        bonds.worked(ADDRESS)
        assert bonds.mending == set()


@pytest.mark.parametrize("error", ["", "org.bluez.Error.InProgress", "timed out"])
def test_other_errors_say_nothing_of_a_bond(error: str) -> None:
    bonds = Bonds()
    for _ in range(9):
        bonds.failed(ADDRESS, error, 0)
    assert bonds.suspects == ()
