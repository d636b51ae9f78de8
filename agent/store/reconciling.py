"""What became of each record on which unit and centre differ, and the latest result, in SQL."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec

from agent.clock import now, utc_text
from agent.store import epochs, settling
from sync.contract.batch import link
from sync.contract.digest import ABSENT

if TYPE_CHECKING:
    from agent.clock import Stamp
    from agent.store.connection import Connection
    from sync.comparing import Comparison, Named

WORDS = {
    "resent": "the centre did not have it whole any more: it is sent again",
    "lost": "neither side has it whole any more",
    "lacking": "this unit does not have it any more; the centre has it",
    "damaged": "it is damaged on this unit; the centre has it",
    "conflict": "the two sides have different records here: call the platform",
}
"""What became of a record that differs, in words for people."""


@dataclass(frozen=True, slots=True)
class Last:
    """When the latest comparison ended, and whether the centre answered."""

    at: str
    boot: str
    mono_ns: int
    answered: bool

    def age(self, stamp: Stamp) -> float:
        """Seconds since then; infinite where the clock of another boot was behind this."""
        if stamp.boot == self.boot:
            return (stamp.mono_ns - self.mono_ns) / 1e9
        passed = (stamp.wall - datetime.fromisoformat(self.at)).total_seconds()
        return passed if passed >= 0 else math.inf


def last(connection: Connection, destination: str) -> Last | None:
    """The latest comparison, None where there was none."""
    row = connection.execute(
        "SELECT at, boot, mono_ns, outcome <> 'unanswered' FROM reconciliation "
        "WHERE destination = ?",
        (destination,),
    ).fetchone()
    return None if row is None else Last(row[0], row[1], row[2], bool(row[3]))


def conclude(connection: Connection, destination: str, comparison: Comparison) -> None:
    """Keep the result in the place of the one before; raise an alarm where it differs anew."""
    before = (listed(connection, destination) or {"differing": []})["differing"]
    named = sorted(comparison.differing, key=lambda each: (each.epoch, each.lane, each.seq))
    differing = [_told(connection, each) for each in named]
    stamp = now()
    row = (
        utc_text(stamp.wall),
        stamp.boot,
        stamp.mono_ns,
        _outcome(comparison),
        comparison.records,
        len(comparison.days),
        msgspec.json.encode(differing).decode(),
    )
    connection.execute(
        "INSERT INTO reconciliation "
        "(destination, number, at, boot, mono_ns, outcome, records, days, differing) "
        "VALUES (?, 1, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (destination) DO UPDATE SET "
        "number = number + 1, at = excluded.at, boot = excluded.boot, "
        "mono_ns = excluded.mono_ns, outcome = excluded.outcome, records = excluded.records, "
        "days = excluded.days, differing = excluded.differing",
        (destination, *row),
    )
    # What is known since yesterday and can't be mended stands in the result, and alarms nobody.
    if any(each not in before for each in differing):
        settling.alarm(connection, "reconcile-differs", _alarm(comparison, differing))


def shown(connection: Connection, destination: str) -> dict[str, Any] | None:
    """The latest comparison in figures: no record is named here."""
    found = listed(connection, destination)
    if found is None:
        return None
    named = found.pop("differing")
    return found | {"differing": len(named), "lost": _count(named, "lost")}


def listed(connection: Connection, destination: str) -> dict[str, Any] | None:
    """The latest comparison with every record that it named."""
    row = connection.execute(
        "SELECT number, at, outcome, records, days, differing FROM reconciliation "
        "WHERE destination = ?",
        (destination,),
    ).fetchone()
    before = last(connection, destination)
    if row is None or before is None:
        return None
    age = before.age(now())
    return {
        "number": row[0],
        "at": row[1],
        "age_seconds": None if math.isinf(age) else round(age),
        "outcome": row[2],
        "records": row[3],
        "days": row[4],
        "differing": msgspec.json.decode(row[5]),
    }


def _outcome(comparison: Comparison) -> str:
    if comparison.differing:
        return "differs"
    return "equal" if comparison.answered else "unanswered"


def _alarm(comparison: Comparison, differing: list[dict[str, Any]]) -> str:
    more = "" if comparison.whole else "at least "
    lost = _count(differing, "lost")
    words = f"{more}{len(differing)} records differed between this unit and the centre"
    return (
        f"{words}, {lost} of them lost on both sides: see `qafila reconcile`"
        if lost
        else (f"{words}: see `qafila reconcile`")
    )


def _count(differing: list[dict[str, Any]], what: str) -> int:
    return sum(each["what"] == what for each in differing)


def _told(connection: Connection, named: Named) -> dict[str, Any]:
    record, day, state = _here(connection, named)
    what = {"whole": "resent"}.get(state, "lost") if named.found == ABSENT else state
    if what == "resent" and epochs.is_closed(connection, named.epoch):
        epochs.log_again(connection, named.epoch, named.lane, named.seq)
    return {
        "epoch": named.epoch,
        "lane": named.lane,
        "seq": named.seq,
        "day": named.day or day,
        "record": record,
        "what": "conflict" if what == "whole" else what,
    }


def _here(connection: Connection, named: Named) -> tuple[str | None, str | None, str]:
    """The record's id, its day, and what this unit has of it: whole, damaged, or lacking."""
    place = (named.epoch, named.lane, named.seq)
    row = connection.execute(
        "SELECT record_id, prev_hash, line, hash, substr(wall, 1, 10) FROM record "
        "WHERE epoch = ? AND lane = ? AND seq = ?",
        place,
    ).fetchone()
    if row is not None:
        record, previous, line, own, day = row
        return record, day, "whole" if link(previous, line) == own else "damaged"
    known = connection.execute(
        "SELECT record_id FROM identity WHERE epoch = ? AND lane = ? AND seq = ?", place
    ).fetchone()
    return known[0] if known else None, None, "lacking"
