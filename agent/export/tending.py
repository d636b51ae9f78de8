"""A stick that stays plugged in: brought up to date again and again, and its receipts taken.

All of it happens in a thread that is a daemon: a kernel that waits for a bad stick may hold it,
but never a save, the uplink, or the agent's end.
"""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import suppress
from errno import EACCES, EDQUOT, ENOENT, ENOSPC, EPERM, EROFS
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import structlog

from agent.errors import StoreError
from agent.export.carry import Carried, Carrier
from agent.export.returning import take_back
from sync.contract.sealed import SUFFIXES, folders
from sync.stick import StickFault, naming, open_shelf

if TYPE_CHECKING:
    from agent.export.desk import Desk
    from agent.store.store import Store

EVERY_S: Final = 10.0
"""Seconds between two looks: what was stored meanwhile goes into one file."""
STALL_S: Final = 60.0
"""Seconds for which a stick may take over one file before it is said not to answer."""
_BREATH_S = 0.05
"""Seconds between two files, for everybody else who wants the processor."""
_ASKING = frozenset({EROFS, EACCES, EPERM, ENOSPC, EDQUOT})
"""What does not pass by itself: somebody should look at once."""
_LOG = structlog.get_logger("qafila.export")


class Tending:
    """One folder in which a stick is mounted, or not. `run` ends by cancellation only."""

    def __init__(self, desk: Desk, store: Store, folder: str) -> None:
        self._desk = desk
        self._store = store
        self._root = Path(folder)
        self._carrier = Carrier(desk.source, self._breathe)
        self._beat = time.monotonic()
        self._ending = threading.Event()
        self._state, self._detail = "waiting", ""
        self._carried: Carried | None = None
        self._whole: float | None = None

    async def run(self) -> None:
        """Keep the stick up to date; nothing that goes wrong with it ends this."""
        self._ending.clear()  # an earlier run may have failed
        try:
            while True:
                await self._round()
                await asyncio.sleep(EVERY_S)
        finally:
            self._ending.set()

    def shown(self) -> dict[str, Any]:
        """The stick as `status.json` carries it."""
        age = None if self._whole is None else time.monotonic() - self._whole
        return shown(self._state, self._detail, age, self._carried)

    async def _round(self) -> None:
        begun = time.monotonic()
        try:
            carried = await self._apart()
        except StickFault as fault:
            self.show("asking" if fault.code in _ASKING else "unavailable", str(fault))
            return
        except StoreError as fault:  # whether the store itself stands, its writer says elsewhere
            self.show("asking", str(fault))
            return
        self._carried = carried
        if carried.whole:
            self._whole = begun
        if carried.full:
            self.show("asking", str(carried.full))
        elif carried.whole:
            self.show("whole", _strange(carried))
        else:
            self.show("asking", "some records can't be read back as they were written")

    def show(self, state: str, detail: str) -> None:
        """Say how the stick is from now on."""
        if state != self._state:
            _LOG.info("stick", state=state, reason=detail)
        self._state, self._detail = state, detail

    async def _apart(self) -> Carried:
        """Work in a thread of its own, however long it takes; say so where it stalls."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Carried] = loop.create_future()
        self._beat = time.monotonic()
        thread = threading.Thread(target=self._work, args=(loop, done), name="stick", daemon=True)
        thread.start()
        try:
            while not done.done():
                await asyncio.wait({done}, timeout=EVERY_S)
                if not done.done() and time.monotonic() - self._beat > STALL_S:
                    self.show("unavailable", f"{self._root} does not answer: pull it out")
            return done.result()
        finally:
            done.cancel()  # nobody asks any more; the thread ends before its next file

    def _work(self, loop: asyncio.AbstractEventLoop, done: asyncio.Future[Carried]) -> None:
        try:
            result, fault = self._tend(loop), None
        except Exception as error:  # noqa: BLE001 - raised where it is awaited, not lost here
            result, fault = None, error

        def tell() -> None:
            if done.done():
                return
            if result is not None:
                done.set_result(result)
            elif fault is not None:
                done.set_exception(fault)

        with suppress(RuntimeError):  # the loop is closed: nobody is left to tell
            loop.call_soon_threadsafe(tell)

    def _tend(self, loop: asyncio.AbstractEventLoop) -> Carried:
        self._refuse_own_disk()

        def settle(frame: bytes) -> str:
            self._breathe()
            work = asyncio.run_coroutine_threadsafe(self._desk.settle(frame), loop)
            return work.result()

        origin, unit = self._store.origin, self._store.unit
        take_back(self._root, origin, unit, settle)
        place = folders(origin, unit, "up")
        with open_shelf(self._root, place, SUFFIXES["up"], make=True) as shelf:
            return self._carrier.bring_up_to_date(shelf)

    def _refuse_own_disk(self) -> None:
        """A folder without a stick in it must not pass for one: it lies on the same disk."""
        with naming(str(self._root)):
            same = self._root.stat().st_dev == self._store.folder.stat().st_dev
        if same:
            words = "nothing is mounted there, it is the unit's own disk: plug a stick in"
            raise StickFault(str(self._root), ENOENT, words)

    def _breathe(self) -> None:
        self._beat = time.monotonic()
        if self._ending.wait(_BREATH_S):
            raise StickFault(str(self._root), ENOENT, "the agent is stopping")


def shown(
    state: str, detail: str, whole_seconds: float | None, carried: Carried | None
) -> dict[str, Any]:
    """What `status.json` says of a stick: how long ago it was whole, and what it lacked last."""
    return {
        "state": state,
        "detail": detail,
        "whole_seconds": None if whole_seconds is None else round(whole_seconds),
        "files": carried.files if carried else None,
        "pending": carried.pending if carried else None,
        "lacking": carried.lacking if carried else None,
        "lacking_bytes": carried.lacking_bytes if carried else None,
    }


def _strange(carried: Carried) -> str:
    if not carried.strange:
        return ""
    return f"{carried.strange} files on it are not of this unit's present keys, and stay"
