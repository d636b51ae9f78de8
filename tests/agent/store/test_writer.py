"""What stands behind holds nobody up, and what takes long is neither stuck nor in memory."""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import closing
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from sqlcipher3 import dbapi2 as sqlite

from agent.errors import StoreClosed, StoreFull
from agent.store import writer
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


async def test_long_job_runs_before_the_others_and_keeps_no_savepoint(store: Store) -> None:
    """For a savepoint SQLite keeps every page that is changed in memory, and looks through them."""
    order: list[str] = []

    def job(connection: Connection) -> str:
        order.append("long")
        with pytest.raises(sqlite.OperationalError, match="no such savepoint"):
            connection.execute("RELEASE job")
        return "done"

    held = Held(store)
    saving = asyncio.ensure_future(store.writer.write(lambda _: order.append("save")))
    working = asyncio.ensure_future(store.writer.write_alone(job))
    await asyncio.sleep(0)
    held.let_go()
    assert await working == "done"
    await saving
    assert order == ["long", "save"]


@pytest.mark.parametrize("way", ["alone", "behind"])
@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (ValueError("its own"), ValueError),
        (sqlite.IntegrityError("its own"), sqlite.IntegrityError),
        (sqlite.OperationalError("disk is full"), StoreFull),
    ],
)
async def test_job_without_company_that_fails_changes_nothing_and_the_next_is_heard(
    store: Store, fault: Exception, said: type[Exception], way: str
) -> None:
    await store.record(capture(b"one"))

    def job(connection: Connection) -> None:
        connection.execute("DELETE FROM tray")
        connection.execute("DELETE FROM record")
        raise fault

    write = store.writer.write_alone if way == "alone" else store.writer.write_behind
    with pytest.raises(said):
        await write(job)
    assert (await store.record(capture(b"two"))).new
    assert store.reader.execute("SELECT count(*) FROM record").fetchone() == (2,)


async def test_long_job_that_goes_on_is_an_answer_and_one_that_hangs_is_none(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "_LOOK", 0.01)
    hangs, ends = threading.Event(), threading.Event()

    def job(_: Connection) -> None:
        while not hangs.is_set():
            store.writer.go_on()
            time.sleep(0.001)
        assert ends.wait(10)

    working = asyncio.ensure_future(store.writer.write_alone(job))
    await asyncio.wait_for(store.writer.answer(), 10)
    hangs.set()
    await asyncio.sleep(0.05)
    answer = asyncio.ensure_future(store.writer.answer())
    await asyncio.sleep(0.1)
    assert not answer.done()
    ends.set()
    await asyncio.gather(working, answer)


async def test_commit_may_take_as_long_as_what_it_commits_and_no_longer(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = 0.0
    committing, ends = threading.Event(), threading.Event()
    monkeypatch.setattr(writer, "_LOOK", 0.01)
    monkeypatch.setattr(writer, "time", SimpleNamespace(monotonic=lambda: seconds))

    def hold(statement: str) -> None:
        if statement == "COMMIT":
            committing.set()
            ends.wait(60)

    def job(connection: Connection) -> None:
        nonlocal seconds
        connection.set_trace_callback(hold)
        seconds += 100.0

    working = asyncio.ensure_future(store.writer.write_alone(job))
    await asyncio.to_thread(committing.wait, 60)
    seconds += 99.0
    await asyncio.wait_for(store.writer.answer(), 60)
    assert not working.done()
    seconds += 2.0
    answer = asyncio.ensure_future(store.writer.answer())
    await asyncio.sleep(0.1)
    assert not answer.done()
    ends.set()
    await asyncio.gather(working, answer)
