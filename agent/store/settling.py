"""Settle receipts: SQL that runs inside the writer's transaction around `sync.lane.settle`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from agent.clock import now, utc_text
from agent.store import epochs
from sync.contract.fields import GENESIS
from sync.contract.ranges import Ranges, union
from sync.lane import (
    Ignored,
    LaneState,
    Question,
    Settled,
    Verdict,
    Why,
    proves,
    settle,
    standing_question,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from agent.store.connection import Connection
    from sync.contract.receipt import Held, Receipt


def apply(
    connection: Connection, destination: str, unit: str, receipt: Receipt, *, asked: Question
) -> Verdict:
    """Weigh a verified receipt and write down what it settles, all or nothing.

    `asked` is the newest hello of the link. Where the verdict is RestoredCopy nothing is written,
    and `begin_anew` is to follow.
    """
    questions = (asked, carried_question(connection, destination))
    answering = receipt.answers == asked.session
    verdict = _weigh(connection, destination, unit, receipt, questions, answering=answering)
    if isinstance(verdict, Ignored) and verdict.why.alarming:
        alarm(connection, f"receipt-{verdict.why}", _WORDS[verdict.why])
    return verdict


def apply_carried(connection: Connection, destination: str, unit: str, receipt: Receipt) -> Verdict:
    """The same for a receipt that came in a file, which is late by nature (C-10.11).

    That it is old raises no alarm; and what it says is complete is so still, under the same
    central epoch.
    """
    questions = (carried_question(connection, destination),)
    verdict = _weigh(connection, destination, unit, receipt, questions, answering=False)
    if verdict == Ignored(Why.STALE):
        for held in receipt.chunks:
            if held.complete:
                _hold(connection, destination, receipt.central_epoch, held)
    if isinstance(verdict, Ignored) and verdict.why in _NEVER:
        alarm(connection, f"receipt-{verdict.why}", _WORDS[verdict.why])
    return verdict


def begin_anew(
    connection: Connection, destination: str, receipt: Receipt, go_on: Callable[[], None]
) -> None:
    """Begin a new epoch, as a receipt of another life asks for, unless that was done already.

    As long as everything that is pending takes; `go_on` is called meanwhile.
    """
    if epochs.is_closed(connection, receipt.epoch):
        return
    reason = "the centre knows another life of this unit"
    epochs.fork(connection, destination, reason, receipt.central_epoch, go_on)
    alarm(connection, "restored-copy", _RESTORED)


def present(connection: Connection, destination: str) -> str | None:
    """The central epoch that is believed in; None before the first receipt."""
    row = connection.execute(
        "SELECT central_epoch FROM central_epoch WHERE destination = ? AND retired IS NULL",
        (destination,),
    ).fetchone()
    return None if row is None else str(row[0])


def carried_question(connection: Connection, destination: str) -> Question:
    """What every file on a stick asks at present."""
    return standing_question(state_id(connection), present(connection, destination))


def state_id(connection: Connection) -> str:
    """The id with which this database was born."""
    return str(connection.execute("SELECT state_id FROM unit").fetchone()[0])


def _weigh(
    connection: Connection,
    destination: str,
    unit: str,
    receipt: Receipt,
    asked: Collection[Question],
    *,
    answering: bool,
) -> Verdict:
    if receipt.unit != unit:
        return Ignored(Why.ANOTHER_UNIT)
    if epochs.is_closed(connection, receipt.epoch):
        return Ignored(Why.CLOSED_EPOCH)
    state = load(connection, destination, receipt.epoch, receipt.lane)
    if state is None:
        return Ignored(Why.UNKNOWN_EPOCH)
    believed = present(connection, destination)
    verdict = settle(
        state,
        receipt,
        lambda seq: hash_at(connection, receipt.epoch, receipt.lane, seq),
        _retired(connection, destination),
        fresh=proves(receipt, believed, asked),
        answering=answering,
    )
    if isinstance(verdict, Settled):
        _follow_epoch(connection, destination, receipt.central_epoch)
        _save(connection, destination, verdict)
        for held in receipt.chunks:
            _hold(connection, destination, receipt.central_epoch, held)
    return verdict


def load(connection: Connection, destination: str, epoch: str, lane: str) -> LaneState | None:
    """The state of one lane as a destination has settled it; None for a lane we don't have."""
    row = connection.execute(
        "SELECT last, coalesce(through, 0), coalesce(ahead, '[]'), central_epoch, "
        "coalesce(serial, 0), backed_up_through "
        "FROM lane LEFT JOIN watermark AS w ON w.epoch = lane.epoch AND w.lane = lane.lane "
        "AND w.destination = ? WHERE lane.epoch = ? AND lane.lane = ?",
        (destination, epoch, lane),
    ).fetchone()
    if row is None:
        return None
    last, through, ahead, central_epoch, serial, backed_up = row
    return LaneState(
        epoch=epoch,
        lane=lane,
        last=last,
        through=through,
        ahead=ranges(ahead),
        central_epoch=central_epoch,
        serial=serial,
        backed_up_through=backed_up,
    )


def ranges(text: str) -> Ranges:
    """Ranges as they stand in the database."""
    return msgspec.json.decode(text, type=Ranges)


def hash_at(connection: Connection, epoch: str, lane: str, seq: int) -> bytes | None:
    """Our chain's value at a seq: from the log, or from the anchors that outlive it."""
    if seq == 0:
        return GENESIS
    for table in ("record", "anchor"):
        row = connection.execute(
            f"SELECT hash FROM {table} WHERE epoch = ? AND lane = ? AND seq = ?",  # noqa: S608
            (epoch, lane, seq),
        ).fetchone()
        if row is not None:
            return bytes(row[0])
    return None


def alarm(connection: Connection, code: str, detail: str) -> None:
    """Raise an alarm, or count it once more."""
    at = utc_text(now().wall)
    connection.execute(
        "INSERT INTO alarm (code, detail, first_seen, last_seen, count) VALUES (?, ?, ?, ?, 1) "
        "ON CONFLICT (code) DO UPDATE SET detail = excluded.detail, "
        "last_seen = excluded.last_seen, count = count + 1",
        (code, detail, at, at),
    )


UNSOUND = "it can't be read back as it was written"
"""Why a record is lost whose line is not what its hash says."""


def alarm_unsound(connection: Connection) -> None:
    """Say that a record of the log is lost, in itself and without a damaged page."""
    alarm(connection, "record-unsound", f"a record is lost: {UNSOUND}")


_RESTORED = "this is a copy of a unit that went on elsewhere: it began a new epoch"
_WORDS = {
    Why.STALE: "a receipt older than one already taken was ignored",
    Why.RETIRED: "a receipt of a centre that was since replaced was ignored",
    Why.IMPOSSIBLE: "a receipt names another history than this unit's and was ignored",
    Why.ANOTHER_UNIT: "a receipt for another unit was ignored",
    Why.UNPROVEN: "a receipt of another centre that answers no question of ours was ignored",
    Why.UNKNOWN_EPOCH: "a receipt for an epoch this unit never had was ignored",
}
_NEVER = frozenset({Why.IMPOSSIBLE, Why.ANOTHER_UNIT})
"""What no genuine receipt of any age says."""


def _retired(connection: Connection, destination: str) -> frozenset[str]:
    rows = connection.execute(
        "SELECT central_epoch FROM central_epoch WHERE destination = ? AND retired IS NOT NULL",
        (destination,),
    )
    return frozenset(row[0] for row in rows)


def _follow_epoch(connection: Connection, destination: str, central_epoch: str) -> None:
    """Retire every other central epoch; what blobs it held is to be proven anew."""
    at = utc_text(now().wall)
    new = connection.execute(
        "INSERT INTO central_epoch (destination, central_epoch, first_seen) VALUES (?, ?, ?) "
        "ON CONFLICT DO NOTHING",
        (destination, central_epoch, at),
    ).rowcount
    if new:
        connection.execute(
            "UPDATE central_epoch SET retired = ? "
            "WHERE destination = ? AND central_epoch <> ? AND retired IS NULL",
            (at, destination, central_epoch),
        )
        connection.execute(
            "DELETE FROM blob_settled WHERE destination = ? AND central_epoch <> ?",
            (destination, central_epoch),
        )


def _save(connection: Connection, destination: str, verdict: Settled) -> None:
    state = verdict.state
    connection.execute(
        "INSERT INTO watermark (destination, epoch, lane, central_epoch, serial, through, ahead, "
        "backed_up_through) VALUES (?, ?, ?, ?, ?, ?, ?, ?) "
        "ON CONFLICT (destination, epoch, lane) DO UPDATE SET "
        "central_epoch = excluded.central_epoch, serial = excluded.serial, "
        "through = excluded.through, ahead = excluded.ahead, "
        "backed_up_through = excluded.backed_up_through",
        (
            destination,
            state.epoch,
            state.lane,
            state.central_epoch,
            state.serial,
            state.through,
            msgspec.json.encode(state.ahead).decode(),
            state.backed_up_through,
        ),
    )
    at = utc_text(now().wall)
    connection.executemany(
        "INSERT INTO exception (destination, epoch, lane, seq, outcome, code, reason, at) "
        "VALUES (?, ?, ?, ?, 'refused', ?, ?, ?) ON CONFLICT DO NOTHING",
        (
            (destination, state.epoch, state.lane, each.seq, each.code, each.reason, at)
            for each in verdict.refused
        ),
    )
    if verdict.refused:
        alarm(connection, "record-refused", "the centre refused a record: see `qafila pending`")
    if verdict.replays:
        alarm(connection, "centre-replay", "the centre holds less than before: sending it again")


def _hold(connection: Connection, destination: str, central_epoch: str, held: Held) -> None:
    """Note what the centre holds of a blob; less than before is believed as well."""
    row = connection.execute(
        "SELECT size FROM blob WHERE sha256 = ?", (bytes.fromhex(held.sha256),)
    ).fetchone()
    if row is None or row[0] != held.size:
        return
    connection.execute(
        "INSERT INTO blob_settled (destination, sha256, central_epoch, have, complete) "
        "VALUES (?, ?, ?, ?, ?) ON CONFLICT (destination, sha256) DO UPDATE SET "
        "central_epoch = excluded.central_epoch, have = excluded.have, "
        "complete = excluded.complete",
        (
            destination,
            bytes.fromhex(held.sha256),
            central_epoch,
            msgspec.json.encode(union((), held.have)).decode(),
            int(held.complete),
        ),
    )
