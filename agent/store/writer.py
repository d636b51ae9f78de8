"""The writer: one thread, one connection, group commit.

Everything that was queued goes into one transaction, each job behind its own savepoint; a
caller hears of success after the COMMIT that fsynced, and of nothing else.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, TypeVar

from sqlcipher3 import dbapi2 as sqlite

from agent.errors import StoreBroken, StoreClosed, StoreError
from agent.store.connection import Connection, translate

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
Job = tuple["Callable[[Connection], Any]", "Future[Any]"]
GROUP_MAX = 256
_CALLERS = (sqlite.IntegrityError, sqlite.ProgrammingError)


class Writer:
    """Runs jobs on the write connection. A job gets the connection and must not commit."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="store-writer")
        self._closing = threading.Lock()
        self._closed = False
        self.broken: StoreBroken | None = None

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    async def write(self, job: Callable[[Connection], T]) -> T:
        """Run a job in the next transaction; return its result once that is on disk.

        Cancelling the wait does not undo the job. Raises what the job raised, StoreFull,
        StoreBroken or StoreClosed; then nothing of it was changed.
        """
        return await asyncio.wrap_future(self.submit(job))

    def submit(self, job: Callable[[Connection], T]) -> Future[T]:
        """Queue a job; the future ends after the COMMIT."""
        future: Future[T] = Future()
        with self._closing:
            if self._closed:
                future.set_exception(self.broken or StoreClosed("the store is closed"))
            else:
                self._jobs.put((job, future))
        return future

    async def answer(self) -> None:
        """Return once the thread has answered: the watchdog's question."""
        await self.write(lambda connection: connection.execute("SELECT 1").fetchone())

    def close(self) -> None:
        """Finish what is queued and end the thread; the connection is closed."""
        with self._closing:
            if not self._closed:
                self._closed = True
                self._jobs.put(None)
        self._thread.join()

    def _run(self) -> None:
        ending = False
        while not ending and self.broken is None:
            group, ending = self._group()
            if group:
                self._commit(group)
        self._refuse_rest()
        self._connection.close()

    def _group(self) -> tuple[list[Job], bool]:
        """Wait for one job, and take with it all that is queued by then."""
        group: list[Job] = []
        item = self._jobs.get()
        while item is not None:
            group.append(item)
            if len(group) == GROUP_MAX:
                return group, False
            try:
                item = self._jobs.get_nowait()
            except queue.Empty:
                return group, False
        return group, True

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
            if isinstance(error, sqlite.Error) and not isinstance(error, _CALLERS):
                raise
            self._connection.execute("ROLLBACK TO job")
            future.set_exception(error)
        finally:
            if self._connection.in_transaction:
                self._connection.execute("RELEASE job")

    def _undo(self, group: list[Job], error: StoreError) -> None:
        if isinstance(error, StoreBroken):
            # After a failed fsync nothing in memory can be trusted: only a new process can.
            with self._closing:
                self.broken, self._closed = error, True
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")
        for _, future in group:
            if not future.done():
                future.set_exception(error)

    def _refuse_rest(self) -> None:
        while not self._jobs.empty():
            item = self._jobs.get_nowait()
            if item is not None and item[1].set_running_or_notify_cancel():
                item[1].set_exception(self.broken or StoreClosed("the store is closed"))
