"""How much time has surely gone by, and which records were settled that long ago.

Nothing here believes the wall clock alone: a clock that stands in 1970, or jumps by a year, makes
nothing old. SQL that runs inside the writer's transaction, but for `seconds` and `elapsed`.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from agent.clock import Stamp, utc_text

if TYPE_CHECKING:
    from agent.clock import Quality
    from agent.store.connection import Connection

DAY = 24 * 3600
OFF_MAX = DAY
"""Seconds that one gap between two boots counts for at most, whatever the clocks say."""
EVERY = 6 * 3600
"""Seconds of age between two milestones: so much later than it might does something age out."""
_NS = 1_000_000_000


def elapsed(before: Stamp, after: Stamp) -> int:
    """Whole seconds that have surely gone by between two moments, in whatever boots.

    Within a boot the boot's own clock tells. Across boots at least the new one's uptime is sure;
    the time in which the computer was off counts where both clocks were synchronised, a day at
    most: so one wrong clock can't age what is here by more than that.
    """
    if before.boot == after.boot:
        return max(0, after.mono_ns - before.mono_ns) // _NS
    uptime = after.mono_ns // _NS
    if (before.clock, after.clock) != ("synchronised", "synchronised"):
        return uptime
    between = (after.wall.astimezone(UTC) - before.wall.astimezone(UTC)) // timedelta(seconds=1)
    return max(uptime, min(between, uptime + OFF_MAX))


def seconds(connection: Connection) -> int:
    """The age that the store has reached; 0 where nobody has counted yet."""
    row = connection.execute("SELECT seconds FROM age").fetchone()
    return int(row[0]) if row else 0


def count(connection: Connection, stamp: Stamp, keep: int) -> int:
    """Count the time up to `stamp`, and set a milestone where one is due; give the age.

    Milestones from before the newest that is `keep` seconds old are of no more use.
    """
    row = connection.execute("SELECT seconds, boot, mono_ns, wall, clock FROM age").fetchone()
    present = row[0] + elapsed(_stamp(*row[1:]), stamp) if row else 0
    connection.execute(
        "INSERT INTO age (one, seconds, boot, mono_ns, wall, clock) VALUES (1, ?, ?, ?, ?, ?) "
        "ON CONFLICT (one) DO UPDATE SET seconds = excluded.seconds, boot = excluded.boot, "
        "mono_ns = excluded.mono_ns, wall = excluded.wall, clock = excluded.clock",
        (present, stamp.boot, stamp.mono_ns, utc_text(stamp.wall), stamp.clock),
    )
    (last,) = connection.execute("SELECT max(seconds) FROM milestone_local").fetchone()
    if last is None or present - last >= EVERY:
        _set_milestone(connection, present)
        _forget(connection, present - keep)
    return int(present)


def settled_since(connection: Connection, lane: tuple[str, str, str], then: int) -> int:
    """Up to which seq a lane (destination, epoch, lane) has been settled ever since `then`.

    By one and the same centre; whatever fell out meanwhile and came back begins anew.
    """
    row = connection.execute(
        "SELECT min(through) FROM milestone AS m JOIN central_epoch AS c "
        "ON c.destination = m.destination AND c.central_epoch = m.central_epoch "
        "WHERE m.destination = ?1 AND epoch = ?2 AND lane = ?3 AND c.retired IS NULL "
        "AND seconds >= (SELECT max(seconds) FROM milestone WHERE destination = ?1 "
        "AND epoch = ?2 AND lane = ?3 AND central_epoch = c.central_epoch AND seconds <= ?4)",
        (*lane, then),
    ).fetchone()
    return int(row[0] or 0)


def local_since(connection: Connection, then: int) -> tuple[int, int]:
    """The last frame, and the last consultation (its rowid), that were there at `then`."""
    row = connection.execute(
        "SELECT frame, consultation FROM milestone_local WHERE seconds <= ? "
        "ORDER BY seconds DESC LIMIT 1",
        (then,),
    ).fetchone()
    return (row[0], row[1]) if row else (0, 0)


def _set_milestone(connection: Connection, present: int) -> None:
    connection.execute(
        "INSERT INTO milestone_local (seconds, frame, consultation) SELECT ?, "
        "(SELECT coalesce(max(frame), 0) FROM frame), "
        "(SELECT coalesce((SELECT min(rowid) - 1 FROM consultation WHERE closed IS NULL), "
        "max(rowid), 0) FROM consultation)",
        (present,),
    )
    connection.execute(
        "INSERT INTO milestone (destination, epoch, lane, seconds, central_epoch, through) "
        "SELECT w.destination, w.epoch, w.lane, ?, w.central_epoch, w.through "
        "FROM watermark AS w JOIN central_epoch AS c ON c.destination = w.destination "
        "AND c.central_epoch = w.central_epoch WHERE c.retired IS NULL",
        (present,),
    )


def _forget(connection: Connection, then: int) -> None:
    connection.execute(
        "DELETE FROM milestone_local WHERE seconds < "
        "(SELECT max(seconds) FROM milestone_local WHERE seconds <= ?)",
        (then,),
    )
    connection.execute(
        "DELETE FROM milestone AS m WHERE seconds < (SELECT max(seconds) FROM milestone AS n "
        "WHERE n.destination = m.destination AND n.epoch = m.epoch AND n.lane = m.lane "
        "AND n.central_epoch = m.central_epoch AND n.seconds <= ?)",
        (then,),
    )


def _stamp(boot: str, mono_ns: int, wall: str, clock: Quality) -> Stamp:
    return Stamp(boot, mono_ns, datetime.fromisoformat(wall), clock)
