"""Lists for people, read from the log on a read-only connection: they hold patient values."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

from agent.store import settling
from agent.store.kept import owed
from sync.contract.ranges import covers

if TYPE_CHECKING:
    from agent.store.connection import Connection
    from sync.lane import LaneState

_COLUMNS = (
    "r.epoch, r.lane, r.seq, r.record_id, r.kind, r.wall, r.box, r.consultation, r.device, "
    "r.summary, x.code, x.reason, t.why"
)
_JOINED = (
    "FROM record AS r "
    "LEFT JOIN exception AS x ON x.destination = ? AND x.epoch = r.epoch AND x.lane = r.lane "
    "AND x.seq = r.seq LEFT JOIN tray AS t ON t.record_id = r.record_id "
    "AND t.assigned_by IS NULL"
)


def readings(connection: Connection, destination: str, limit: int) -> list[dict[str, Any]]:
    """The latest clinical readings, each with where it is; what was stored last comes first."""
    rows = connection.execute(
        f"SELECT {_COLUMNS} {_JOINED} WHERE r.lane <> 'background' ORDER BY r.rowid DESC LIMIT ?",
        (destination, limit),
    ).fetchall()
    return _shown(connection, destination, rows)


def pending(connection: Connection, destination: str, limit: int) -> list[dict[str, Any]]:
    """What the centre hasn't confirmed, oldest first, refused records included."""
    found: list[dict[str, Any]] = []
    lanes = connection.execute(
        "SELECT epoch, lane, lane.oldest FROM lane JOIN unit USING (epoch)"
    ).fetchall()
    for epoch, lane, oldest in lanes:
        place = (epoch, lane)
        for seq in _unconfirmed(connection, destination, (*place, oldest), limit - len(found)):
            rows = connection.execute(
                f"SELECT {_COLUMNS} {_JOINED} WHERE r.epoch = ? AND r.lane = ? AND r.seq = ?",
                (destination, *place, seq),
            ).fetchall()
            found += _shown(connection, destination, rows)
    return found


def _unconfirmed(
    connection: Connection, destination: str, kept: tuple[str, str, int], limit: int
) -> list[int]:
    """The lowest seqs that are unsettled, refused, or short of a blob; never a scan of the log."""
    *place, oldest = kept
    state = settling.load(connection, destination, kept[0], kept[1])
    pending_ranges = owed(connection, destination, state, oldest) if state else ()
    unsettled = (seq for first, last in pending_ranges for seq in range(first, last + 1))
    rows = connection.execute(
        "SELECT seq FROM exception WHERE destination = ? AND epoch = ? AND lane = ? "
        "UNION SELECT seq FROM blob_due WHERE epoch = ? AND lane = ? ORDER BY seq LIMIT ?",
        (destination, *place, *place, limit),
    ).fetchall()
    return sorted({*islice(unsettled, limit), *(row[0] for row in rows)})[:limit]


def _shown(
    connection: Connection, destination: str, rows: list[tuple[Any, ...]]
) -> list[dict[str, Any]]:
    states: dict[tuple[str, str], LaneState | None] = {}
    found = []
    for row in rows:
        place = (row[0], row[1])
        if place not in states:
            states[place] = settling.load(connection, destination, *place)
        found.append(_one(connection, destination, states[place], row))
    return found


def _one(
    connection: Connection, destination: str, state: LaneState | None, row: tuple[Any, ...]
) -> dict[str, Any]:
    epoch, lane, seq, record, kind, wall, box, consultation, device, summary, code, reason, why = (
        row
    )
    blobs = _blobs_left(connection, destination, (epoch, lane, seq))
    settled = state is not None and (seq <= state.through or covers(state.ahead, seq, seq))
    where = "confirmed" if settled and not blobs else "truck"
    if code is not None:
        where = "refused"
    return {
        "record": record,
        "lane": lane,
        "seq": seq,
        "kind": kind,
        "wall": wall,
        "box": box,
        "consultation": consultation,
        "device": device,
        "summary": summary,
        "where": where,
        "why": _why(where, reason, settled=settled, blobs=blobs),
        "tray": why,
    }


def _why(where: str, reason: str | None, *, settled: bool, blobs: int) -> str:
    if where == "refused":
        return f"refused by the centre: {reason}"
    if where == "confirmed":
        return ""
    if settled:
        return f"{blobs} picture or recording still on its way"
    return "no receipt for it yet"


def _blobs_left(connection: Connection, destination: str, place: tuple[str, str, int]) -> int:
    row = connection.execute(
        "SELECT count(*) FROM record_blob AS r LEFT JOIN blob_settled AS s "
        "ON s.sha256 = r.sha256 AND s.destination = ? "
        "WHERE r.epoch = ? AND r.lane = ? AND r.seq = ? AND coalesce(s.complete, 0) = 0",
        (destination, *place),
    ).fetchone()
    return int(row[0])


LISTS = {"readings": readings, "pending": pending}
"""What can be listed, by its name."""
