"""A centre that came back older than what the unit still has: unit and centre, end to end."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

from agent.clock import now
from agent.store.retention import Retention
from central import backup, report

from .ledger_link import LedgerLink, connected, session
from .rig import DESTINATION, Place

if TYPE_CHECKING:
    from agent.clock import Stamp

DAYS = 30
PICTURE = bytes(range(256)) * 200


async def deliver(here: Place) -> LedgerLink:
    """One session, until the centre has confirmed everything."""
    with here.centre.ledger() as ledger:
        link = LedgerLink(here.unit, here.centre, ledger)
        async with session(here.unit, link) as state:
            await connected(state)
            await here.unit.settled()
        return link


async def age_out(here: Place) -> None:
    """Let the days go by, and let what is assigned and confirmed go."""
    sql = "UPDATE tray SET assigned_by = 'nurse' WHERE why <> 'stays'"
    await here.unit.store.writer.write(lambda c: c.execute(sql))
    stamp = now()

    def after(days: int) -> Stamp:
        return replace(
            stamp,
            mono_ns=stamp.mono_ns + days * 86_400_000_000_000,
            wall=stamp.wall + timedelta(days=days),
        )

    for day in (0, DAYS + 1):
        retention = Retention(here.unit.store, DESTINATION, DAYS, sample=partial(after, day))
        await retention.sweep()


def kept(here: Place) -> list[int]:
    rows = here.unit.store.reader.execute(
        "SELECT seq FROM record WHERE lane = 'clinical' ORDER BY seq"
    )
    return [row[0] for row in rows]


async def test_replay_from_the_oldest_where_more_is_gone(here: Place) -> None:
    """C-8.6, C-9.10: retention has run, then the centre came back from an older copy."""
    copy = here.centre.folder / "copy.db"
    await here.unit.record_many(2)
    await deliver(here)
    backup.back_up(here.centre.folder, copy)
    await here.unit.record_many(2)
    await here.unit.record(PICTURE)
    await here.unit.store.writer.write(
        lambda c: c.execute(
            "UPDATE tray SET why = 'stays' WHERE record_id = "
            "(SELECT record_id FROM record WHERE seq = 4 AND lane = 'clinical')"
        )
    )
    await deliver(here)
    await age_out(here)
    assert kept(here) == [3, 4, 5], "the centre's backup holds the first two only"
    backup.back_up(here.centre.folder, here.centre.folder / "newer.db")
    await deliver(here)
    await age_out(here)
    assert kept(here) == [4], "nobody has said whose the fourth is"
    await here.unit.record_many(2)
    await deliver(here)

    copy.replace(here.centre.folder / "central.db")
    backup.declare_restored(here.centre.folder)
    link = await deliver(here)
    sent = [(each.header.first, each.header.last) for each in link.batches()]
    assert sent == [(4, 4), (6, 7)], "what is gone is not offered, what is left is"
    lane = next(
        each for each in report.status(here.centre.folder).units[0].lanes if each.lane == "clinical"
    )
    assert (lane.through, lane.taken, lane.lost) == (7, 5, 2)
    assert here.centre.whole_blobs() == set(), "the picture went with its record"
    assert here.unit.pending() == 0
    assert "centre-replay" in here.unit.alarms()
