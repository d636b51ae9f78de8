"""Retention beside damage: what is half gone is no damage, and a salvaged unit counts anew."""

from __future__ import annotations

import os
from contextlib import closing
from typing import TYPE_CHECKING

from agent.damage.settle import torn_blobs
from agent.store import purge
from agent.store.connection import FILE
from tests.model.unit import LANE

from .damage import salvage
from .old_unit import DAYS, OldUnit
from .truck import open_store

if TYPE_CHECKING:
    from pathlib import Path

    from agent.store.connection import Connection


async def test_blob_that_is_on_its_way_out_is_no_damage(tmp_path: Path) -> None:
    with closing(OldUnit(tmp_path / "state")) as unit:
        await unit.consult()
        await unit.record(b"old", blobs=(os.urandom(200_000),))
        await unit.dismiss()
        await unit.settle()
        await unit.grow_old(DAYS - 1)
        writer, once = unit.store.writer, iter((True, True))
        lane = purge.Lane("centre", unit.store.epoch, LANE)
        await writer.write(lambda c: purge._let_go(c, lane, _row(c)))
        await writer.write(lambda c: purge.content(c, lambda: next(once, False)))
        assert unit.count("chunk") == 2
        assert torn_blobs(unit.store.reader) == []


def _row(connection: Connection) -> tuple[int, str, bytes, bytes]:
    sql = "SELECT seq, record_id, raw_sha256, hash FROM record"
    found: tuple[int, str, bytes, bytes] = connection.execute(sql).fetchone()
    return found


async def test_salvaged_unit_counts_its_days_anew_and_loses_nothing(tmp_path: Path) -> None:
    """The numbers of frames and consultations are new, so old milestones would mean others."""
    with closing(OldUnit(tmp_path / "state")) as unit:
        await unit.consult()
        await unit.record(b"one", b"two")
        await unit.dismiss()
        await unit.settle()
        await unit.record(b"pending")
        await unit.grow_old(DAYS - 1)
        unit.store.close()
        with (unit.folder / FILE).open("r+b") as file:
            file.write(bytes(8192))
        unit.store = open_store(unit.folder)
        unit.outbox = unit.store.outbox("centre")
        assert (await salvage(unit.store))["records"] == 3
        assert unit.count("milestone") == unit.count("milestone_local") == 0
        unit.live(2)
        await unit.sweep()
        lines = unit.store.reader.execute("SELECT count(*) FROM record WHERE lane = 'clinical'")
        assert lines.fetchone() == (3,)
