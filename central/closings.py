"""What units have told of their own losses: counted anew from their records at each look."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from central.lines import Line, read_blob_lost, read_closed
from sync.contract.ranges import Ranges, normal, total, union

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

Lane = tuple[str, str]
"""Epoch and lane."""


def closed_lanes(sql: sqlite3.Connection, unit: str) -> dict[Lane, int]:
    """Every lane that the unit has closed, and how many of its records will never come.

    What came all the same, on a stick for instance, is not among them.
    """
    lost: dict[Lane, Ranges] = {}
    for record in _records(sql, unit, "epoch-closed"):
        closed = read_closed(record)
        if closed is not None:
            place = (closed.epoch, closed.lane)
            lost[place] = union(lost.get(place, ()), normal(closed.lost))
    return {
        place: total(ranges) - _here(sql, unit, place, ranges) for place, ranges in lost.items()
    }


def lost_blobs(sql: sqlite3.Connection, unit: str) -> int:
    """How many blobs are incomplete for ever."""
    found = {each.sha256 for each in map(read_blob_lost, _records(sql, unit, "blob-lost")) if each}
    rows = sql.execute("SELECT sha256 FROM blobs WHERE unit = ? AND complete = 0", (unit,))
    return len(found & {bytes(row[0]).hex() for row in rows})


def _records(sql: sqlite3.Connection, unit: str, kind: str) -> Iterator[Line]:
    rows = sql.execute("SELECT line FROM records WHERE unit = ? AND kind = ?", (unit, kind))
    return (msgspec.json.decode(line, type=Line) for (line,) in rows)


def _here(sql: sqlite3.Connection, unit: str, place: Lane, ranges: Ranges) -> int:
    return sum(
        sql.execute(
            "SELECT count(*) FROM entries JOIN lanes ON lanes.id = lane_id"
            " WHERE unit = ? AND epoch = ? AND lane = ? AND seq BETWEEN ? AND ?",
            (unit, *place, first, last),
        ).fetchone()[0]
        for first, last in ranges
    )
