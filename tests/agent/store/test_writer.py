"""What stands behind: it runs alone, after whoever waits, and holds nobody up."""

from __future__ import annotations

import asyncio
import threading
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING

import pytest

from agent.errors import StoreClosed
from agent.store.connection import FILE, open_reader
from agent.store.keys import load_key

from .truck import capture, open_store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from agent.store.connection import Connection
    from agent.store.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with closing(open_store(tmp_path / "a")) as opened:
        yield opened


class Held:
    """A job that keeps the writer busy until it is let go."""

    def __init__(self, store: Store) -> None:
        self._begun, self._go = threading.Event(), threading.Event()
        store.writer.submit(self._hold)
        assert self._begun.wait(10)

    def _hold(self, _: Connection) -> None:
        self._begun.set()
        assert self._go.wait(10)

    def let_go(self) -> None:
        self._go.set()


async def test_what_can_wait_runs_after_everything_that_waits(store: Store) -> None:
    order: list[str] = []
    held = Held(store)
    behind = asyncio.ensure_future(store.writer.write_behind(lambda _: order.append("behind")))
    await asyncio.sleep(0)

    def save(number: int, _: Connection) -> None:
        order.append(f"save {number}")

    saving = [store.writer.submit(partial(save, n)) for n in range(300)]
    held.let_go()
    await behind
    assert order == [*(f"save {n}" for n in range(300)), "behind"]
    assert all(each.done() for each in saving)


async def test_job_that_stands_behind_hears_that_somebody_waits(store: Store) -> None:
    begun, looked = threading.Event(), threading.Event()

    def job(_: Connection) -> tuple[bool, bool]:
        before = store.writer.awaited
        begun.set()
        assert looked.wait(10)
        return before, store.writer.awaited

    working = asyncio.ensure_future(store.writer.write_behind(job))
    await asyncio.to_thread(begun.wait, 10)
    saving = asyncio.ensure_future(store.record(capture(b"one")))
    await asyncio.sleep(0)
    looked.set()
    assert await working == (False, True)
    assert (await saving).new


async def test_close_finishes_saves_and_refuses_what_can_wait(tmp_path: Path) -> None:
    store = open_store(tmp_path / "b")
    held = Held(store)
    behind = asyncio.ensure_future(store.writer.write_behind(lambda _: None))
    await asyncio.sleep(0)
    saved = store.writer.submit(lambda _: "saved")
    threading.Timer(0.1, held.let_go).start()
    store.close()
    assert saved.result(0) == "saved"
    with pytest.raises(StoreClosed):
        await behind
    with pytest.raises(StoreClosed):
        await store.writer.fold()


async def test_fold_shortens_the_log_and_waits_for_no_reader(store: Store) -> None:
    log = store.folder / f"{FILE}-wal"
    await store.record(capture(b"one", blobs=(b"x" * 300_000,)))
    assert log.stat().st_size > 300_000
    with closing(open_reader(store.folder, load_key(store.folder))) as other:
        cursor = other.execute("SELECT offset FROM chunk")
        cursor.fetchone()
        await store.record(capture(b"two"))
        await asyncio.wait_for(store.writer.fold(), 5)
        assert log.stat().st_size > 0, "the reader still needs it"
        cursor.close()
    await store.writer.fold()
    assert log.stat().st_size == 0
