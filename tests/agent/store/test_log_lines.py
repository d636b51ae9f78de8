"""What the agent itself tells stands in the same log, in the same chain."""

from __future__ import annotations

import json
from contextlib import closing
from typing import TYPE_CHECKING
from uuid import UUID

import pytest

from agent.event import Event
from sync.contract.batch import link
from sync.contract.fields import GENESIS

from .truck import STAMP, capture, open_store, power_cut

if TYPE_CHECKING:
    from pathlib import Path

SAID = {"boot": "boot", "mono_ns": 1, "offset_ms": 42}
EVENT = Event("clock-adjusted", STAMP, "simulated", SAID)


async def test_event_is_a_line_of_the_background_lane_in_its_own_chain(tmp_path: Path) -> None:
    with closing(open_store(tmp_path)) as store:
        await store.record(capture(b"one"))
        await store.tell(EVENT)
        await store.tell(EVENT)
        rows = store.reader.execute(
            "SELECT seq, line, prev_hash, hash, record_id FROM record WHERE lane = 'background' "
            "ORDER BY seq"
        ).fetchall()
        assert [row[0] for row in rows] == [1, 2]
        head = GENESIS
        for _, line, before, after, record in rows:
            assert (before, after) == (head, link(head, line))
            head = after
            told = json.loads(line)
            assert (told["record"], told["kind"]) == (record, "clock-adjusted")
            assert told["clock-adjusted"] == SAID
            assert told["context"]["method"] == "agent"
        assert store.reader.execute(
            "SELECT last, head FROM lane WHERE lane = 'background'"
        ).fetchone() == (2, head)
        assert len({UUID(row[4]) for row in rows}) == 2
        assert store.reader.execute("SELECT count(*) FROM identity").fetchone() == (3,)
        assert store.reader.execute("SELECT count(*) FROM tray").fetchone() == (1,)
        clinical = store.reader.execute("SELECT last FROM lane WHERE lane = 'clinical'").fetchone()
        assert clinical == (1,)


async def test_event_survives_a_power_cut_right_after_it_was_told(tmp_path: Path) -> None:
    store = open_store(tmp_path / "a")
    await store.tell(EVENT)
    with closing(power_cut(store, tmp_path / "b")) as again:
        assert again.reader.execute("SELECT kind FROM record").fetchall() == [("clock-adjusted",)]


async def test_event_wakes_the_outbox_and_is_offered(tmp_path: Path) -> None:
    with closing(open_store(tmp_path)) as store:
        outbox = store.outbox("centre")
        woken = outbox._woken
        await store.tell(EVENT)
        assert woken.is_set()
        hello = await outbox.hello("session")
        assert {each.lane: each.last for each in hello.lanes}["background"] == 1


async def test_event_of_an_unknown_kind_is_a_fault_and_leaves_nothing(tmp_path: Path) -> None:
    with closing(open_store(tmp_path)) as store:
        with pytest.raises(KeyError):
            await store.tell(Event("weather", STAMP, "simulated", {}))
        await store.tell(EVENT)
        assert store.reader.execute("SELECT count(*) FROM record").fetchone() == (1,)
