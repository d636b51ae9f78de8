"""Ranges against the plainest model there is: sets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync.contract.ranges import Range, clip, covers, is_normal, minus, normal, total, union

PAIRS = st.tuples(st.integers(0, 24), st.integers(0, 4)).map(lambda pair: (pair[0], sum(pair)))
ANY = st.lists(PAIRS, max_size=8)
NORMAL = ANY.map(normal)


def numbers(ranges: list[Range] | tuple[Range, ...]) -> set[int]:
    """Every number of a set of ranges, one by one."""
    return {number for first, last in ranges for number in range(first, last + 1)}


@given(ANY)
def test_normal_form_holds_the_same_numbers_and_is_the_only_one(ranges: list[Range]) -> None:
    """C-7.4: missing is sorted, disjoint and not touching."""
    form = normal(ranges)
    assert numbers(form) == numbers(ranges)
    assert is_normal(form)
    assert normal(form) == form
    assert total(form) == len(numbers(ranges))


@given(ANY)
def test_only_the_normal_form_is_called_normal(ranges: list[Range]) -> None:
    assert is_normal(ranges) == (tuple(ranges) == normal(ranges))


@given(ANY, ANY)
def test_union_is_that_of_sets(one: list[Range], other: list[Range]) -> None:
    assert union(one, other) == normal(union(one, other))
    assert numbers(union(one, other)) == numbers(one) | numbers(other)


@given(NORMAL, NORMAL)
def test_minus_is_that_of_sets(one: tuple[Range, ...], other: tuple[Range, ...]) -> None:
    left = minus(one, other)
    assert numbers(left) == numbers(one) - numbers(other)
    assert is_normal(left)


@given(NORMAL, PAIRS)
def test_clip_and_covers_are_those_of_sets(ranges: tuple[Range, ...], span: Range) -> None:
    within = set(range(span[0], span[1] + 1))
    assert numbers(clip(ranges, *span)) == numbers(ranges) & within
    assert is_normal(clip(ranges, *span))
    assert covers(ranges, *span) == (within <= numbers(ranges))


def test_a_range_that_ends_before_it_begins_is_no_range() -> None:
    with pytest.raises(ValueError, match="ends before it begins"):
        normal([(3, 2)])
    assert not is_normal([(3, 2)])


def test_ranges_that_touch_or_overlap_are_not_normal() -> None:
    """C-7.4: what can be one range is one."""
    assert is_normal([(1, 2), (4, 4)])
    assert not is_normal([(1, 2), (3, 4)])
    assert not is_normal([(1, 3), (3, 4)])
    assert not is_normal([(4, 4), (1, 2)])
