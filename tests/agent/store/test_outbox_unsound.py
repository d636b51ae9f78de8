"""A record that can't be read back as it was written blocks nobody (T05, T06)."""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING

import pytest

from sync.plan import Plan

from .truck import capture, open_store

if TYPE_CHECKING:
    from pathlib import Path

DAMAGE = {
    "altered": "UPDATE record SET line = CAST(replace(line, '36.0', '63.0') AS BLOB) WHERE seq = ?",
    "missing": "DELETE FROM record WHERE seq = ?",
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("seq", [1, 3, 5])
async def test_unsound_record_is_set_aside_and_all_others_are_offered(
    tmp_path: Path, damage: str, seq: int
) -> None:
    store = open_store(tmp_path / "a")
    try:
        for n in range(5):
            await store.record(capture(b"%d" % n))
        lines = dict(store.reader.execute("SELECT seq, line FROM record").fetchall())
        await store.writer.write(lambda c: c.execute(DAMAGE[damage], (seq,)))
        outbox, plan = store.outbox("centre"), Plan()
        await outbox.hello(str(uuid.uuid4()))
        offered: dict[int, bytes] = {}
        while len(offered) < 4:
            parcel = await asyncio.wait_for(outbox.next_batch(plan, 100_000), 10)
            offered |= dict(parcel.batch)
        assert offered == {n: line for n, line in lines.items() if n != seq}
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(outbox.next_batch(plan, 100_000), 0.2)
        (alarm,) = store.reader.execute("SELECT code FROM alarm").fetchall()
        assert alarm == ("record-unsound",)
    finally:
        store.close()
