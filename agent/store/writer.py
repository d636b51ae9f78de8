"""The writer: one thread, one connection, group commit.

Everything that was queued goes into one transaction, each job behind its own savepoint; a
caller hears of success after the COMMIT that fsynced, and of nothing else. Work that can wait
(retention) stands behind: it runs alone, one job at a time, when nobody else wants anything. Work
that is long and can't be cut (a fork of the log) runs alone as well, and without a savepoint, for
which SQLite would keep every page that it changes in memory.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING, Any, TypeGuard, TypeVar

from sqlcipher3 import dbapi2 as sqlite

from agent.errors import StoreBroken, StoreClosed, StoreFull
from agent.store.connection import Connection, fold, translate

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
Job = tuple["Callable[[Connection], Any]", "Future[Any]"]
GROUP_MAX = 256
_LOOK = 1.0
"""Seconds between two looks at whether a long job goes on."""
_CALLERS = (sqlite.IntegrityError, sqlite.ProgrammingError)


class Writer:
    """Runs jobs on the write connection. A job gets the connection and must not commit.

    `refusals` counts the transactions that a full disk has refused.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._jobs: deque[Job] = deque()
        self._behind: deque[Job] = deque()
        self._alone: deque[Job] = deque()
        self._moved = 0.0
        self._news = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="store-writer")
        self._closed = False
        self.broken: StoreBroken | None = None
        self.refusals = 0

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    async def write(self, job: Callable[[Connection], T]) -> T:
        """Run a job in the next transaction; return its result once that is on disk.

        Cancelling the wait does not undo the job. Raises what the job raised, StoreFull,
        StoreBroken or StoreClosed; then nothing of it was changed.
        """
        return await asyncio.wrap_future(self.submit(job))

    async def write_behind(self, job: Callable[[Connection], T]) -> T:
        """Run a job in a transaction of its own, once nobody waits; raises as `write`.

        Whoever comes meanwhile waits for this job and its COMMIT: it should end soon, and at once
        when `awaited`.
        """
        return await asyncio.wrap_future(self._queue(self._behind, job))

    async def write_alone(self, job: Callable[[Connection], T]) -> T:
        """Run a long job in a transaction of its own, before the others, who wait; as `write`.

        It calls `go_on` again and again, so that nobody takes the thread for stuck.
        """
        return await asyncio.wrap_future(self._queue(self._alone, job))

    def go_on(self) -> None:
        """A long job says that it has come further."""
        self._moved = time.monotonic()

    async def fold(self) -> None:
        """Fold the write-ahead log into the file once nobody waits: only then does that shrink."""
        await asyncio.wrap_future(self._queue(self._behind, fold))

    @property
    def awaited(self) -> bool:
        """Whether somebody waits for the job that stands behind to end."""
        return bool(self._jobs)

    def submit(self, job: Callable[[Connection], T]) -> Future[T]:
        """Queue a job; the future ends after the COMMIT."""
        return self._queue(self._jobs, job)

    async def answer(self) -> None:
        """Return once the thread has answered, or a long job gone on: the watchdog's question."""
        asked = time.monotonic()
        answer = self.submit(lambda connection: connection.execute("SELECT 1").fetchone())
        waiting = asyncio.wrap_future(answer)
        while self._moved < asked and not waiting.done():
            await asyncio.wait({waiting}, timeout=_LOOK)
        if waiting.done():
            waiting.result()
        else:
            waiting.cancel()

    def close(self) -> None:
        """Finish what is queued and end the thread; the connection is closed."""
        with self._news:
            self._closed = True
            self._news.notify()
        self._thread.join()

    def _queue(self, jobs: deque[Job], job: Callable[[Connection], T]) -> Future[T]:
        future: Future[T] = Future()
        with self._news:
            if self._closed:
                future.set_exception(self.broken or StoreClosed("the store is closed"))
            else:
                jobs.append((job, future))
                self._news.notify()
        return future

    def _run(self) -> None:
        while self.broken is None and (task := self._next()):
            task()
        self._refuse_rest()
        self._connection.close()

    def _next(self) -> Callable[[], None] | None:
        """Wait for a job, and take with it all that can go with it; None: it is the end."""
        with self._news:
            self._news.wait_for(lambda: self._alone or self._jobs or self._behind or self._closed)
            if self._alone:
                return partial(self._run_alone, self._alone.popleft())
            if self._jobs:
                most = min(len(self._jobs), GROUP_MAX)
                return partial(self._commit, [self._jobs.popleft() for _ in range(most)])
            if self._closed:
                return None
            return partial(self._run_alone, self._behind.popleft())

    def _commit(self, group: list[Job]) -> None:
        done: list[tuple[Future[Any], Any]] = []
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            for job, future in group:
                if future.set_running_or_notify_cancel():
                    self._attempt(job, future, done)
            self._connection.execute("COMMIT")
        except sqlite.Error as error:
            self._undo(group, translate(error))
            return
        for future, result in done:
            future.set_result(result)

    def _run_alone(self, job: Job) -> None:
        """Run one job that has no company, and needs no savepoint for it."""
        work, future = job
        if not future.set_running_or_notify_cancel():
            return
        try:
            if work is fold:  # which can't be in a transaction
                result = work(self._connection)
            else:
                begun = time.monotonic()
                self._connection.execute("BEGIN IMMEDIATE")
                result = work(self._connection)
                # A COMMIT can't say that it goes on: it may take as long as the work has taken.
                self._moved = 2 * time.monotonic() - begun
                self._connection.execute("COMMIT")
        except Exception as error:  # noqa: BLE001 - whatever it is, the caller is told
            self._undo([job], translate(error) if _is_of_the_disk(error) else error)
        else:
            future.set_result(result)
        finally:
            self.go_on()

    def _attempt(
        self,
        job: Callable[[Connection], Any],
        future: Future[Any],
        done: list[tuple[Future[Any], Any]],
    ) -> None:
        """Run one job; a fault of its own undoes it alone, a fault of the disk the group."""
        self._connection.execute("SAVEPOINT job")
        try:
            done.append((future, job(self._connection)))
        except Exception as error:
            if _is_of_the_disk(error):
                raise
            self._connection.execute("ROLLBACK TO job")
            future.set_exception(error)
        finally:
            if self._connection.in_transaction:
                self._connection.execute("RELEASE job")

    def _undo(self, group: list[Job], error: Exception) -> None:
        if isinstance(error, StoreBroken):
            # After a failed fsync nothing in memory can be trusted: only a new process can.
            with self._news:
                self.broken, self._closed = error, True
        self.refusals += isinstance(error, StoreFull)
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")
        for _, future in group:
            if not future.done():
                future.set_exception(error)

    def _refuse_rest(self) -> None:
        for _, future in (*self._alone, *self._jobs, *self._behind):
            if future.set_running_or_notify_cancel():
                future.set_exception(self.broken or StoreClosed("the store is closed"))


def _is_of_the_disk(error: Exception) -> TypeGuard[sqlite.Error]:
    """Whether the database failed, and not the job that asked something wrong of it."""
    return isinstance(error, sqlite.Error) and not isinstance(error, _CALLERS)
