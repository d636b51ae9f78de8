"""Figures of the store for `status`: counts from the watermarks, never a scan of the log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agent.store import holes, settling
from agent.store.kept import owed
from sync.contract.ranges import minus, total

if TYPE_CHECKING:
    from agent.store.connection import Connection


def figures(connection: Connection, destination: str) -> dict[str, Any]:
    """What is on the truck, what the centre has confirmed, what waits and since when."""
    lanes = [_lane(connection, destination, *row) for row in _lanes(connection)]
    before, refused_before = _closed(connection, destination)
    return {
        "epoch": _one(connection, "SELECT epoch FROM unit"),
        "saved": sum(lane["last"] for lane in lanes) + before,
        "confirmed": sum(lane["confirmed"] for lane in lanes) + before - refused_before,
        "aged_out": _one(connection, "SELECT coalesce(sum(aged), 0) FROM lane"),
        "pending": sum(lane["pending"] for lane in lanes),
        "refused": sum(lane["refused"] for lane in lanes),
        "lost": sum(lane["lost"] for lane in lanes),
        "lanes": {lane["lane"]: lane for lane in lanes},
        "blobs_pending": _one(connection, "SELECT count(DISTINCT sha256) FROM blob_due"),
        "tray": _one(connection, "SELECT count FROM tally WHERE name = 'tray'"),
        "quarantined": _quarantine(connection),
        "undecoded": _one(connection, "SELECT count(*) FROM frame WHERE outcome IS NULL"),
        "alarms": _alarms(connection),
        "damage": _damage(connection),
    }


def _lanes(connection: Connection) -> list[tuple[str, str, int]]:
    return list(
        connection.execute("SELECT epoch, lane, lane.oldest FROM lane JOIN unit USING (epoch)")
    )


def _closed(connection: Connection, destination: str) -> tuple[int, int]:
    """How many records the closed epochs hold, and how many of those were refused.

    They are settled to the last one: what was not has moved into the epoch that followed.
    """
    held = _one(
        connection,
        "SELECT coalesce(sum(last - moved), 0) FROM lane JOIN epoch USING (epoch) "
        "WHERE closed IS NOT NULL",
    )
    refused = _one(
        connection,
        "SELECT count(*) FROM exception JOIN epoch USING (epoch) "
        "WHERE closed IS NOT NULL AND destination = ?",
        destination,
    )
    return held, refused


def _lane(
    connection: Connection, destination: str, epoch: str, lane: str, kept_from: int
) -> dict[str, Any]:
    state = settling.load(connection, destination, epoch, lane)
    if state is None:
        message = "a lane vanished"
        raise LookupError(message)
    given_up = holes.given_up(connection, destination, epoch, lane)
    pending = owed(connection, destination, state, kept_from)
    unsettled, lost = total(minus(state.pending, given_up)), total(given_up)
    refused = _one(
        connection,
        "SELECT count(*) FROM exception WHERE destination = ? AND epoch = ? AND lane = ? "
        "AND outcome = 'refused'",
        destination,
        epoch,
        lane,
    )
    oldest = None
    if pending:
        oldest = _one(
            connection,
            "SELECT wall FROM record WHERE epoch = ? AND lane = ? AND seq = ?",
            epoch,
            lane,
            pending[0][0],
        )
    waiting = _awaiting_blobs(connection, epoch, lane, state.through)
    return {
        "lane": lane,
        "last": state.last,
        "through": state.through,
        "confirmed": state.last - unsettled - refused - lost - waiting,
        "pending": total(pending) + waiting,
        "refused": refused,
        "lost": lost,
        "oldest_pending": oldest,
    }


def _awaiting_blobs(connection: Connection, epoch: str, lane: str, through: int) -> int:
    """Records that are settled but whose picture or recording isn't at the centre yet."""
    return int(
        _one(
            connection,
            "SELECT count(DISTINCT seq) FROM blob_due WHERE lane = ? AND seq <= ? AND epoch = ?",
            lane,
            through,
            epoch,
        )
    )


def _quarantine(connection: Connection) -> dict[str, Any]:
    rows = connection.execute(
        "SELECT reason, count(*) FROM frame WHERE outcome = 'quarantined' "
        "GROUP BY reason ORDER BY max(frame) DESC LIMIT 20"
    ).fetchall()
    count = _one(connection, "SELECT count(*) FROM frame WHERE outcome = 'quarantined'")
    return {"frames": count, "reasons": dict(rows)}


def _alarms(connection: Connection) -> list[dict[str, Any]]:
    rows = connection.execute(
        "SELECT code, detail, last_seen, count FROM alarm ORDER BY last_seen DESC LIMIT 20"
    )
    return [
        {"code": code, "detail": detail, "last_seen": last_seen, "count": count}
        for code, detail, last_seen, count in rows
    ]


def _damage(connection: Connection) -> list[dict[str, Any]]:
    """Every database that was set aside, and what its salvage has brought so far."""
    cursor = connection.execute(
        "SELECT place, found, reason, records, lost, blobs_lost, rows_torn, pages_bad, finished "
        "FROM salvage ORDER BY CAST(place AS INTEGER)"
    )
    names = [each[0] for each in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor]


def _one(connection: Connection, sql: str, *arguments: object) -> Any:
    row = connection.execute(sql, arguments).fetchone()
    return row[0] if row is not None else None
