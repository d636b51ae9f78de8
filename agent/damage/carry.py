"""Carry rows of a damaged database into the living one: SQL inside the writer's transactions.

Everything comes under the epoch in which it stood. What no receipt has settled is logged anew
once all is there (`agent.damage.settle`). Doing anything twice changes nothing.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import msgspec
from sqlcipher3 import dbapi2 as sqlite

from agent.clock import now, utc_text
from agent.store import settling
from sync.contract.batch import link
from sync.contract.fields import GENESIS
from sync.contract.ranges import covers

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.damage.tables import Row
    from agent.damage.territory import Found
    from agent.store.connection import Connection

DAMAGED, SALVAGED = "damaged", "salvaged"
"""Why an epoch is closed: its database was damaged, and what is held of it is not told yet; is."""
FIRST = (
    *("epoch", "lane", "watermark", "exception", "central_epoch", "binding", "device_serial"),
    *("consultation", "frame", "record", "anchor", "identity", "tray", "raw", "chunk"),
)
"""What is carried first, and in which order; each may need what is before it."""
NEVER = frozenset(
    {"unit", "salvage", "blob", "record_blob", "blob_due", "tally", "age"}
    | {"milestone", "milestone_local"}
)
"""Born anew with each database, or told by the records themselves.

So retention counts its days anew: milestones name frames and consultations by their old numbers.
"""


class _Blob(msgspec.Struct):
    sha256: str
    size: int
    media_type: str
    role: str


class _Line(msgspec.Struct):
    blobs: list[_Blob] = []


def carry(connection: Connection, table: str, found: Found) -> bool:
    """Carry one row; whether it is there now and was not before.

    A row that may be an older version of itself is carried only where that does no harm.
    """
    take = _TAKERS.get(table)
    if take is not None:
        return take(connection, found)
    return found.sure and _insert(connection, table, found.row)


def close_epoch(connection: Connection, epoch: str) -> None:
    """Know an epoch as one that is over: receipts for it are then ignored silently."""
    at = utc_text(now().wall)
    connection.execute(
        "INSERT INTO epoch (epoch, opened, closed, reason) VALUES (?, ?, ?, ?) "
        "ON CONFLICT DO NOTHING",
        (epoch, at, at, DAMAGED),
    )


def open_lane(connection: Connection, epoch: str, lane: str, last: int) -> None:
    """Know a lane of a damaged epoch to have had records up to `last`.

    They count as moved until it is known which of them the centre has.
    """
    close_epoch(connection, epoch)
    connection.execute(
        "INSERT INTO lane (epoch, lane, head) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
        (epoch, lane, GENESIS),
    )
    connection.execute(
        "UPDATE lane SET moved = moved + ? - last, last = ? "
        "WHERE epoch = ? AND lane = ? AND last < ?",
        (last, last, epoch, lane, last),
    )


def _insert(connection: Connection, table: str, row: Row) -> bool:
    names = ", ".join(row)
    marks = ", ".join("?" for _ in row)
    try:
        return bool(
            connection.execute(
                f"INSERT OR IGNORE INTO {table} ({names}) VALUES ({marks})",  # noqa: S608
                tuple(row.values()),
            ).rowcount
        )
    except sqlite.IntegrityError:  # what it refers to is lost
        return False


def _epoch(connection: Connection, found: Found) -> bool:
    row = found.row
    if not found.sure or row.get("closed") is None:
        close_epoch(connection, row["epoch"])
        return False
    if row.get("reason") == SALVAGED:  # an earlier salvage has told what is held of it
        connection.execute("UPDATE epoch SET reason = ? WHERE epoch = ?", (SALVAGED, row["epoch"]))
    return _insert(connection, "epoch", row)


def _lane(connection: Connection, found: Found) -> bool:
    row = found.row
    closed = connection.execute(
        "SELECT 1 FROM epoch WHERE epoch = ? AND reason NOT IN (?, ?)",
        (row["epoch"], DAMAGED, SALVAGED),
    ).fetchone()
    if closed and found.sure:
        return _insert(connection, "lane", row)
    open_lane(connection, row["epoch"], row["lane"], row["last"])
    connection.execute(
        "UPDATE lane SET oldest = max(oldest, ?) WHERE epoch = ? AND lane = ?",
        (row["oldest"], row["epoch"], row["lane"]),
    )
    return True


def _record(connection: Connection, found: Found) -> bool:
    row = found.row  # its hash is the proof
    if link(row["prev_hash"], row["line"]) != row["hash"]:
        return False
    open_lane(connection, row["epoch"], row["lane"], row["seq"])
    if not _insert(connection, "record", row):
        return False
    place = {each: row[each] for each in ("epoch", "lane", "seq")}
    named = {"record_id": row["record_id"], "raw_sha256": row.get("raw_sha256")}
    _insert(connection, "identity", named | place)
    for blob in msgspec.json.decode(row["line"], type=_Line).blobs:
        _refer(connection, place, blob)
    return True


def _refer(connection: Connection, place: Row, blob: _Blob) -> None:
    sha256 = bytes.fromhex(blob.sha256)
    found = {"sha256": sha256, "size": blob.size, "media_type": blob.media_type, "refs": 0}
    _insert(connection, "blob", found)
    if _insert(connection, "record_blob", place | {"sha256": sha256, "role": blob.role}):
        connection.execute("UPDATE blob SET refs = refs + 1 WHERE sha256 = ?", (sha256,))


def _identity(connection: Connection, found: Found) -> bool:
    """Ids outlive, but not that of a record lost on the way: a device may tell it once more."""
    return _is_held(connection, found.row) and _insert(connection, "identity", found.row)


def _is_held(connection: Connection, row: Row) -> bool:
    place = (row["epoch"], row["lane"], row["seq"])
    known = connection.execute(
        "SELECT 1 FROM anchor WHERE epoch = ? AND lane = ? AND seq = ? "
        "UNION SELECT 1 FROM lane WHERE epoch = ? AND lane = ? AND oldest > ?",
        (*place, *place),
    ).fetchone()
    return known is not None or any(
        state is not None and (row["seq"] <= state.through or covers(state.ahead, *place[2:] * 2))
        for state in (
            settling.load(connection, each, row["epoch"], row["lane"])
            for (each,) in connection.execute("SELECT DISTINCT destination FROM watermark")
        )
    )


def _frame(connection: Connection, found: Found) -> bool:
    """Numbers are given anew; what may be recorded already is kept and not decoded again."""
    row = found.row
    if not found.sure and row.get("outcome") is None:
        row = row | {"outcome": "quarantined", "reason": "it lay in a damaged database"}
    return _insert(connection, "frame", {key: row[key] for key in row if key != "frame"})


def _consultation(connection: Connection, found: Found) -> bool:
    """None is open afterwards: whose readings those of a box are, a person says anew."""
    closed = found.row.get("closed") or utc_text(now().wall)
    return _insert(connection, "consultation", found.row | {"closed": closed})


def _binding(connection: Connection, found: Found) -> bool:
    row = found.row
    taken = (
        row.get("released") is None
        and connection.execute(
            "SELECT 1 FROM binding WHERE device = ? AND released IS NULL", (row["device"],)
        ).fetchone()
    )
    kept = {key: row[key] for key in row if key != "binding"}
    return bool(found.sure and not taken) and _insert(connection, "binding", kept)


def _tray(connection: Connection, found: Found) -> bool:
    """Of a record that is lost nothing waits for its patient."""
    known = connection.execute(
        "SELECT 1 FROM identity WHERE record_id = ?", (found.row["record_id"],)
    ).fetchone()
    return known is not None and _insert(connection, "tray", found.row)


def _raw(connection: Connection, found: Found) -> bool:
    whole = hashlib.sha256(found.row["content"]).digest() == found.row["sha256"]
    return whole and _insert(connection, "raw", found.row)


def _lasting(table: str) -> Callable[[Connection, Found], bool]:
    """Rows that never change, or whose older version only says less."""
    return lambda connection, found: _insert(connection, table, found.row)


_TAKERS: dict[str, Callable[[Connection, Found], bool]] = {
    "epoch": _epoch,
    "lane": _lane,
    "record": _record,
    "identity": _identity,
    "frame": _frame,
    "consultation": _consultation,
    "binding": _binding,
    "tray": _tray,
    "raw": _raw,
    **{
        each: _lasting(each)
        for each in ("watermark", "exception", "anchor", "reference", "chunk", "alarm")
    },
}
