"""A record that can't be read back as it was written blocks nobody (T05, T06)."""

from __future__ import annotations

import asyncio
import json
import uuid
from typing import TYPE_CHECKING

import pytest

from agent.store.figures import figures
from central import report
from sync.plan import Plan

from .damage import Delivery
from .truck import capture, open_store

if TYPE_CHECKING:
    from pathlib import Path

DAMAGE = {
    "altered": "UPDATE record SET line = CAST(replace(line, '36.0', '63.0') AS BLOB) WHERE seq = ?",
    "missing": "DELETE FROM record WHERE seq = ?",
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("seq", [1, 3, 5])
async def test_unsound_record_is_told_as_lost_and_all_others_are_offered(
    tmp_path: Path, damage: str, seq: int
) -> None:
    """T05, T06, C-4.7."""
    store = open_store(tmp_path / "a")
    try:
        for n in range(5):
            await store.record(capture(b"%d" % n))
        lines = dict(store.reader.execute("SELECT seq, line FROM record").fetchall())
        value = store.reader.execute("SELECT hash FROM record WHERE seq = ?", (seq,)).fetchone()[0]
        await store.writer.write(lambda c: c.execute(DAMAGE[damage], (seq,)))
        outbox, plan = store.outbox("centre"), Plan()
        await outbox.hello(str(uuid.uuid4()))
        offered: dict[tuple[str, int], bytes] = {}
        while len(offered) < 5:
            parcel = await asyncio.wait_for(outbox.next_batch(plan, 100_000), 10)
            lane = parcel.batch.header.lane
            offered |= {(lane, each): line for each, line in parcel.batch}
        lost = json.loads(offered.pop(("background", 1)))
        assert offered == {("clinical", n): line for n, line in lines.items() if n != seq}
        assert lost["lost"]["reason"]
        assert {key: lost["lost"][key] for key in ("lane", "seq", "hash")} == {
            "lane": "clinical",
            "seq": seq,
            "hash": value.hex(),
        }
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(outbox.next_batch(plan, 100_000), 0.2)
        (alarm,) = store.reader.execute("SELECT code FROM alarm").fetchall()
        assert alarm == ("record-unsound",)
    finally:
        store.close()


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("seq", [1, 3, 5])
async def test_lost_record_is_settled_at_the_real_centre(
    tmp_path: Path, damage: str, seq: int
) -> None:
    """T05, T06: the hole is closed, nothing waits behind it, and the figures say so."""
    centre = Delivery(tmp_path / "centre")
    store = open_store(tmp_path / "a")
    try:
        for n in range(5):
            await store.record(capture(b"%d" % n))
        await store.writer.write(lambda c: c.execute(DAMAGE[damage], (seq,)))
        await centre.drain(store)
        await centre.drain(store)
        found = figures(store.reader, "centre")
        assert (found["pending"], found["lost"], found["confirmed"]) == (0, 1, 5)
        assert found["lanes"]["clinical"]["through"] == 5
        assert len(centre.lines()) == 4 + 1
        (unit,) = report.status(centre.folder).units
        assert {each.lane: each.lost for each in unit.lanes}["clinical"] == 1
    finally:
        store.close()
        centre.close()
