"""Replay below what a unit still keeps: the rest is sent, the centre says what is gone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from central import report

from .ledger_link import LedgerLink, session
from .rig import UNIT, Centre, Place

if TYPE_CHECKING:
    import sqlite3
    from pathlib import Path


def age_out(sql: sqlite3.Connection, through: int) -> None:
    """What retention does: the record goes, its place in the chain stays."""
    place = "FROM record WHERE lane = 'clinical' AND seq <= ?"
    sql.execute(f"INSERT INTO anchor SELECT epoch, lane, seq, hash {place}", (through,))
    sql.execute(f"DELETE {place}", (through,))
    sql.execute("UPDATE lane SET oldest = ? WHERE lane = 'clinical'", (through + 1,))


@pytest.mark.parametrize("kept", [0, 1, 4])
async def test_a_centre_that_lost_everything_gets_what_is_kept_and_counts_the_rest_as_gone(
    kept: int, here: Place, tmp_path: Path
) -> None:
    """C-8.6, C-9.10: also where nothing at all is kept: then the hello's head stands for it."""
    await here.unit.record_many(10)
    with here.centre.ledger() as ledger:
        async with session(here.unit, LedgerLink(here.unit, here.centre, ledger)):
            await here.unit.settled()
    await here.unit.store.writer.write(lambda sql: age_out(sql, 10 - kept))
    heir = Centre(tmp_path / "heir")
    heir.key = here.centre.key
    heir.enrol(UNIT, here.unit.key)
    with heir.ledger() as ledger:
        link = LedgerLink(here.unit, heir, ledger)
        async with session(here.unit, link):
            await here.unit.settled("what is kept")
            await here.unit.record()
            await here.unit.settled("what is new")
    assert sum(len(each.lines) for each in link.batches()) == kept + 1
    (unit,) = report.status(heir.folder).units
    (lane,) = (each for each in unit.lanes if each.lane == "clinical")
    assert (lane.through, lane.taken, lane.lost) == (11, kept + 1, 10 - kept)
    assert here.unit.alarms()["centre-replay"] >= 1
    assert sorted(heir.records()) == sorted(list(here.unit.saved)[10 - kept :])
