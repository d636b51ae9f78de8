"""Sets of whole numbers as sorted, disjoint, non-adjacent ranges; both ends are included."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

Range = tuple[int, int]
Ranges = tuple[Range, ...]


def normal(ranges: Iterable[Range]) -> Ranges:
    """Sort and merge; ValueError where a range ends before it begins."""
    merged: list[Range] = []
    for first, last in sorted(ranges):
        if first > last:
            msg = f"a range ends before it begins: {first} > {last}"
            raise ValueError(msg)
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
        else:
            merged.append((first, last))
    return tuple(merged)


def is_normal(ranges: Iterable[Range]) -> bool:
    """Whether the ranges are in order, neither overlap nor touch, and none is reversed."""
    before = None
    for first, last in ranges:
        if first > last or (before is not None and first <= before + 1):
            return False
        before = last
    return True


def union(one: Iterable[Range], other: Iterable[Range]) -> Ranges:
    """Every number that is in either."""
    return normal((*one, *other))


def minus(minuend: Iterable[Range], taken: Iterable[Range]) -> Ranges:
    """Every number of the first that is not in the second; both must be normal."""
    left: list[Range] = []
    holes = tuple(taken)
    for first, last in minuend:
        at = first
        for hole_first, hole_last in holes:
            if hole_last < at or hole_first > last:
                continue
            if hole_first > at:
                left.append((at, hole_first - 1))
            at = hole_last + 1
        if at <= last:
            left.append((at, last))
    return tuple(left)


def clip(ranges: Iterable[Range], first: int, last: int) -> Ranges:
    """The part within [first, last]."""
    return tuple((max(a, first), min(b, last)) for a, b in ranges if b >= first and a <= last)


def covers(ranges: Iterable[Range], first: int, last: int) -> bool:
    """Whether one range of a normal set holds all of [first, last]."""
    return any(a <= first and last <= b for a, b in ranges)


def total(ranges: Iterable[Range]) -> int:
    """How many numbers a normal set holds."""
    return sum(last - first + 1 for first, last in ranges)
