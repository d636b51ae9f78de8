"""Reading a centre without disturbing it: for its administrator and for a verdict of a demo."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from central.blobstore import contents
from central.closings import closed_lanes, lost_blobs
from central.store import reading

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator
    from pathlib import Path


class LaneReport(msgspec.Struct, frozen=True):
    """One lane: `through` as stored, `last` the highest settled seq, and how seqs settled.

    `closed`: the unit has lost its database; `lost` then counts what will never come of it.
    """

    epoch: str
    lane: str
    through: int
    last: int
    taken: int
    refused: int
    lost: int
    backed_up_through: int | None
    closed: bool = False


class Damage(msgspec.Struct, frozen=True):
    """A record on which the unit differed: `found` absent (or unsound), or other; ISO 8601 UTC.

    `mended`: the unit has sent it again, and it stands in its place.
    """

    lane: str
    epoch: str
    seq: int
    record_id: str | None
    found: str
    at: str
    mended: bool


class Comparisons(msgspec.Struct, frozen=True):
    """When a unit last compared, how many records it has in all, and every difference named."""

    at: str
    records: int
    damage: tuple[Damage, ...]


class UnitReport(msgspec.Struct, frozen=True):
    """One unit; `refused_messages` by code, `compared` null where it never compared.

    Of `blobs_incomplete`, `blobs_lost` stay so.
    """

    unit: str
    records: int
    blobs_complete: int
    blobs_incomplete: int
    blobs_lost: int
    lanes: tuple[LaneReport, ...]
    refused_records: dict[str, int]
    refused_messages: dict[str, int]
    compared: Comparisons | None


class Status(msgspec.Struct, frozen=True):
    """The whole centre; `strangers` are refused messages of senders not enrolled, by code."""

    central_epoch: str
    origin: str
    units: tuple[UnitReport, ...]
    strangers: dict[str, int]


@dataclass(frozen=True, slots=True)
class BlobReport:
    """One blob of one unit; `content_sha256` is computed from the bytes held now, in hex."""

    unit: str
    sha256: str
    size: int
    complete: bool
    content_sha256: str


@dataclass(frozen=True, slots=True)
class Attachment:
    """A complete blob as a record refers to it."""

    unit: str
    record_id: str
    role: str
    media_type: str
    sha256: bytes


def records(folder: Path) -> Iterator[tuple[str, str, str]]:
    """Give unit, record id and SHA-256 of the line, in hex, computed from the bytes now."""
    for unit, record_id, line in lines(folder):
        yield unit, record_id, hashlib.sha256(line).hexdigest()


def lines(folder: Path) -> Iterator[tuple[str, str, bytes]]:
    """Give unit, record id and exact line of every record, in order of arrival."""
    with reading(folder) as sql:
        yield from sql.execute("SELECT unit, record_id, line FROM records ORDER BY rowid")


def blobs(folder: Path) -> Iterator[BlobReport]:
    """Give every blob, complete or not."""
    with reading(folder) as sql:
        rows = sql.execute("SELECT unit, sha256, size, complete FROM blobs ORDER BY unit, sha256")
        for unit, sha256, size, complete in rows:
            digest = hashlib.sha256()
            for piece in contents(sql, unit, sha256):
                digest.update(piece)
            yield BlobReport(unit, sha256.hex(), size, bool(complete), digest.hexdigest())


def attachments(folder: Path) -> Iterator[tuple[Attachment, Iterator[bytes]]]:
    """Give every complete blob that a record refers to, with its bytes to read at once."""
    with reading(folder) as sql:
        rows = sql.execute(
            "SELECT r.unit, r.record_id, r.role, r.media_type, r.sha256 FROM record_blobs AS r"
            " JOIN blobs AS b ON b.unit = r.unit AND b.sha256 = r.sha256"
            " WHERE b.complete = 1 ORDER BY r.unit, r.record_id, r.place"
        )
        for row in rows:
            found = Attachment(*row)
            yield found, contents(sql, found.unit, found.sha256)


def status(folder: Path) -> Status:
    """Sum up the centre as of one moment."""
    with reading(folder) as sql:
        sql.execute("BEGIN")
        epoch, origin = sql.execute("SELECT central_epoch, origin FROM centre").fetchone()
        units = [row[0] for row in sql.execute("SELECT unit FROM units ORDER BY unit")]
        reports = tuple(_unit(sql, unit) for unit in units)
        return Status(epoch, origin, reports, _refusals(sql, ""))


def _unit(sql: sqlite3.Connection, unit: str) -> UnitReport:
    kept = sql.execute("SELECT count(*) FROM records WHERE unit = ?", (unit,)).fetchone()
    held = sql.execute(
        "SELECT coalesce(sum(complete), 0), count(*) FROM blobs WHERE unit = ?", (unit,)
    ).fetchone()
    refused = sql.execute(
        "SELECT code, count(*) FROM entries JOIN lanes ON lanes.id = lane_id"
        " WHERE unit = ? AND outcome = 'refused' GROUP BY code ORDER BY code",
        (unit,),
    )
    return UnitReport(
        unit=unit,
        records=kept[0],
        blobs_complete=held[0],
        blobs_incomplete=held[1] - held[0],
        blobs_lost=lost_blobs(sql, unit),
        lanes=_lanes(sql, unit),
        refused_records=dict(refused),
        refused_messages=_refusals(sql, unit),
        compared=_compared(sql, unit),
    )


def _compared(sql: sqlite3.Connection, unit: str) -> Comparisons | None:
    there = sql.execute("SELECT 1 FROM sqlite_master WHERE name = 'comparisons'").fetchone()
    if there is None:  # a centre of before that no receiver has opened since
        return None
    row = sql.execute("SELECT at, records FROM comparisons WHERE unit = ?", (unit,)).fetchone()
    if row is None:
        return None
    damage = sql.execute(
        "SELECT d.lane, d.epoch, d.seq, d.record_id, d.found, d.at, d.found = 'absent' AND EXISTS"
        " (SELECT 1 FROM lanes AS l JOIN entries AS e ON e.lane_id = l.id AND e.seq = d.seq"
        " WHERE l.unit = d.unit AND l.epoch = d.epoch AND l.lane = d.lane)"
        " FROM damage AS d WHERE d.unit = ? ORDER BY d.at, d.lane, d.seq",
        (unit,),
    )
    names = Damage.__struct_fields__
    named = [dict(zip(names, each, strict=True)) for each in damage]
    listed = msgspec.convert(named, tuple[Damage, ...], strict=False)
    return Comparisons(at=row[0], records=row[1], damage=listed)


def _lanes(sql: sqlite3.Connection, unit: str) -> tuple[LaneReport, ...]:
    rows = sql.execute(
        "SELECT epoch, lane, through, coalesce(max(seq), 0),"
        " count(*) FILTER (WHERE outcome = 'taken'),"
        " count(*) FILTER (WHERE outcome = 'refused'),"
        " gone + count(*) FILTER (WHERE outcome = 'lost'), backed_up_through"
        " FROM lanes LEFT JOIN entries ON lane_id = lanes.id"
        " WHERE unit = ? GROUP BY lanes.id ORDER BY lanes.id",
        (unit,),
    )
    closed = closed_lanes(sql, unit)
    return tuple(_lane(LaneReport(*row), closed) for row in rows.fetchall())


def _lane(lane: LaneReport, closed: dict[tuple[str, str], int]) -> LaneReport:
    never = closed.get((lane.epoch, lane.lane))
    if never is None:
        return lane
    return msgspec.structs.replace(lane, lost=lane.lost + never, closed=True)


def _refusals(sql: sqlite3.Connection, unit: str) -> dict[str, int]:
    rows = sql.execute("SELECT code, times FROM refusals WHERE unit = ? ORDER BY code", (unit,))
    return dict(rows)
