"""What a destination has settled, cut into stretches by day, and their digests, in SQL."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from agent.store import epochs, settling
from sync.contract.batch import link
from sync.contract.digest import COMPARED_MAX, NOTHING, STRETCHES_MAX, Compared, digest
from sync.contract.ranges import Range, Ranges, clip, minus

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from agent.store.connection import Connection
    from sync.comparing import Span

Leaf = tuple[int, bytes, str | None]
"""seq, leaf, UTC date; the date is None where the record is no longer here."""


def lanes(sql: Connection, destination: str) -> tuple[tuple[str, str, int], ...]:
    """Every epoch and lane of which something is settled, with the last seq that is."""
    rows = sql.execute(
        "SELECT epoch, lane FROM lane JOIN epoch USING (epoch) ORDER BY opened, lane"
    ).fetchall()
    found = ((epoch, lane, _last(sql, destination, epoch, lane)) for epoch, lane in rows)
    return tuple((epoch, lane, last) for epoch, lane, last in found if last is not None)


def page(
    sql: Connection, destination: str, epoch: str, lane: str, span: Range
) -> tuple[Compared, ...]:
    """What is settled of a span, cut by day, as many stretches as one question takes."""
    ranges = clip(_settled(sql, destination, epoch, lane), *span)
    closed = epochs.is_closed(sql, epoch)
    spans = _standing(ranges, sql, epoch, lane) if closed else _cut(ranges)
    return tuple(_stretches(sql, epoch, lane, spans)[:STRETCHES_MAX])


def digests(sql: Connection, epoch: str, lane: str, spans: Sequence[Span]) -> tuple[Compared, ...]:
    """The digests of given spans."""
    return tuple(
        _compared(list(leaves(sql, epoch, lane, each.first, each.last)), each.day) for each in spans
    )


def leaves(sql: Connection, epoch: str, lane: str, first: int, last: int) -> Iterator[Leaf]:
    """The leaf of every seq of [first, last] (C-11.2), from records, anchors, or nothing."""
    place = (epoch, lane, first, last)
    anchors = dict(
        sql.execute(
            "SELECT seq, hash FROM anchor WHERE epoch = ? AND lane = ? AND seq BETWEEN ? AND ?",
            place,
        )
    )
    rows = sql.execute(
        "SELECT seq, prev_hash, line, hash, substr(wall, 1, 10) FROM record "
        "WHERE epoch = ? AND lane = ? AND seq BETWEEN ? AND ? ORDER BY seq",
        place,
    )
    at = first
    for seq, previous, line, own, day in rows:
        yield from ((gap, anchors.get(gap, NOTHING), None) for gap in range(at, seq))
        # Of a record that was given up as lost the anchor tells the value (C-4.7).
        yield seq, own if link(previous, line) == own else anchors.get(seq, NOTHING), day
        at = seq + 1
    yield from ((gap, anchors.get(gap, NOTHING), None) for gap in range(at, last + 1))


def _settled(sql: Connection, destination: str, epoch: str, lane: str) -> Ranges:
    state = settling.load(sql, destination, epoch, lane)
    if state is None or state.last == 0:
        return ()
    return minus(((1, state.last),), state.pending)


def _last(sql: Connection, destination: str, epoch: str, lane: str) -> int | None:
    ranges = _settled(sql, destination, epoch, lane)
    if not epochs.is_closed(sql, epoch):
        return ranges[-1][1] if ranges else None
    for first, last in reversed(ranges):
        (found,) = sql.execute(
            "SELECT max(seq) FROM record WHERE epoch = ? AND lane = ? AND seq BETWEEN ? AND ?",
            (epoch, lane, first, last),
        ).fetchone()
        if found is not None:
            return int(found)
    return None


def _cut(ranges: Ranges) -> list[Range]:
    """As much of it as one question takes."""
    left, spans = COMPARED_MAX, []
    for start, end in ranges:
        spans.append((start, min(end, start + left - 1)))
        left -= spans[-1][1] - start + 1
        if not left:
            break
    return spans


def _standing(ranges: Ranges, sql: Connection, epoch: str, lane: str) -> list[Range]:
    """The same, of what stands here as records.

    What a closed epoch no longer holds has moved on, and is compared where it stands now.
    """
    left = COMPARED_MAX
    found: list[Range] = []
    for first, last in ranges:
        islands = sql.execute(
            "SELECT min(seq), max(seq) FROM (SELECT seq, seq - row_number() OVER (ORDER BY seq)"
            " AS island FROM record WHERE epoch = ? AND lane = ? AND seq BETWEEN ? AND ?"
            " ORDER BY seq LIMIT ?) GROUP BY island ORDER BY 1",
            (epoch, lane, first, last, left),
        ).fetchall()
        found += islands
        left -= sum(end - start + 1 for start, end in islands)
        if not left:
            break
    return found


def _stretches(
    sql: Connection, epoch: str, lane: str, spans: Sequence[tuple[int, int]]
) -> list[Compared]:
    """Spans cut by the date of their records; what has none goes with what was before it."""
    found = []
    for first, last in spans:
        dated = _dated(leaves(sql, epoch, lane, first, last))
        for day, group in groupby(dated, key=lambda leaf: leaf[2]):
            stretch = list(group)
            found.append(_compared(stretch, day))
    return found


def _dated(found: Iterator[Leaf]) -> Iterator[Leaf]:
    day = None
    for seq, leaf, own in found:
        day = own or day
        yield seq, leaf, day


def _compared(stretch: Sequence[Leaf], day: str | None) -> Compared:
    made = digest(leaf for _, leaf, _ in stretch).hex()
    return Compared(first=stretch[0][0], last=stretch[-1][0], digest=made, day=day)
