"""The composition root: the one place where settings, store, drivers and uplink meet."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog
from sqlcipher3 import dbapi2 as sqlite

from agent import __version__, control, preview, status_file
from agent.board import Board
from agent.clock import boot_id, now
from agent.clock_watch import ClockWatch
from agent.consultations import open_boxes
from agent.damage.care import Care
from agent.damage.examine import suspect
from agent.device_verbs import DeviceVerbs
from agent.errors import StoreBroken, StoreDamaged, StoreFull
from agent.export.part import ExportPart
from agent.known_time import KnownTime
from agent.notify import notify, watchdog_interval
from agent.recovery import recover
from agent.space import Ballast, Space, make_room_to_open
from agent.stations import Stations
from agent.store.books import StoreBooks
from agent.store.connection import translate, translating
from agent.store.figures import figures
from agent.store.keys import load_key
from agent.store.retention import Retention
from agent.store.store import Store
from agent.store_verbs import StoreVerbs
from agent.supervisor import keep
from agent.uplink import DESTINATION, Impulse, build_uplink, shown
from agent.uplink_verbs import UplinkVerbs
from drivers.errors import Misconfigured

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from config.model import Settings
    from sync.uplink import Uplink

STATUS_EVERY = 2.0
SLOW = "slow"
SLOW_AT_ONCE = 4
"""A picture, a stick, a damaged page and the ballast, each without waiting for another."""
_LOG = structlog.get_logger("qafila")


async def run(settings: Settings) -> None:
    """Run the agent until SIGTERM or SIGINT. AgentError where it can't start or go on."""
    store = _open(settings)
    try:
        with translating():  # what is read before anything is supervised
            await _Agent(store, settings).run()
    except* StoreDamaged:
        suspect(store.folder)
        raise
    finally:
        store.close()


class _Agent:
    """Everything that runs, and the words in which it is asked."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store = store
        self._settings = settings
        self._board = Board()
        self._stations = Stations(store, self._board, settings)
        self._device_verbs = DeviceVerbs(store, self._stations, settings)
        impulse = Impulse()
        self._books = StoreBooks(store, DESTINATION)
        self._known = KnownTime(store.folder)
        self._begun = time.monotonic()
        self._uplink, self._no_uplink = _uplink(store, settings, impulse, self._books, self._known)
        has_uplink = self._uplink is not None
        self._uplink_verbs = UplinkVerbs(impulse, self._books, has_uplink=has_uplink)
        self._space = Space(store, Ballast(store.folder))
        self._export = ExportPart(store, settings)
        self._unwritten = False
        self._stop = asyncio.Event()

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(SLOW_AT_ONCE, SLOW))
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        recovered = await recover(self._store)
        await self._store.writer.answer()
        _LOG.info("started", unit=self._store.unit, version=__version__, recovered=recovered)
        try:
            await self._together()
        except* _Stopped:
            pass
        finally:
            self._write_status()
        _LOG.info("stopped", unit=self._store.unit)

    async def _together(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._until_stopped(), name="stop")
            tasks.create_task(self._control(), name="control")
            tasks.create_task(self._preview(), name="preview")
            tasks.create_task(self._tell_status(), name="status")
            tasks.create_task(self._watch_store(), name="watchdog")
            tasks.create_task(self._stations.run(), name="stations")
            tasks.create_task(self._watch_clock(), name="clock")
            tasks.create_task(self._care(), name="care")
            tasks.create_task(self._watch_space(), name="space")
            tasks.create_task(self._keep_retention(), name="retention")
            tasks.create_task(self._export.run(), name="export")
            if self._uplink is not None:
                tasks.create_task(self._keep_uplink(self._uplink), name="uplink")

    async def _until_stopped(self) -> None:
        await self._stop.wait()
        notify("STOPPING=1")
        raise _Stopped

    async def _keep_uplink(self, uplink: Uplink) -> None:
        await keep("uplink", uplink.run, uplink.state.show)

    async def _watch_clock(self) -> None:
        await keep("clock", ClockWatch(self._store).run, lambda *_: None)

    async def _care(self) -> None:
        care = Care(self._store, DESTINATION, self._salvaged)
        await keep("care", care.run, lambda *_: None)

    async def _salvaged(self, table: str, frames: Sequence[int]) -> None:
        """Serve devices that were bound, decode frames that were not, as soon as they are back."""
        if table == "binding":
            self._stations.take_up(self._settings)
        if table == "frame":
            await recover(self._store, frames)

    async def _watch_space(self) -> None:
        await keep("space", self._space.run, lambda *_: None)

    async def _keep_retention(self) -> None:
        days = self._settings.retention.days
        retention = Retention(self._store, DESTINATION, days, scarce=lambda: self._space.scarce)
        await keep("retention", retention.run, lambda *_: None)

    async def _watch_store(self) -> None:
        """Ping systemd only after the writer has answered; end with a broken store."""
        interval = watchdog_interval()
        while True:
            with contextlib.suppress(StoreFull):  # of a job in the same commit: it has answered
                await self._store.writer.answer()
            if interval is not None:
                notify("WATCHDOG=1")
            await asyncio.sleep(interval or STATUS_EVERY)

    async def _tell_status(self) -> None:
        while True:
            self._write_status()
            await asyncio.sleep(STATUS_EVERY)

    def _write_status(self) -> None:
        try:
            status_file.write(self._store.folder, self.status())
            self._unwritten = False
        except OSError as error:
            if not self._unwritten:
                _LOG.warning("status-unwritten", reason=error.strerror)
            self._unwritten = True

    def status(self) -> dict[str, Any]:
        """How the unit is; no patient data."""
        stamp = now()
        return {
            "version": status_file.VERSION,
            "agent": __version__,
            "unit": self._store.unit,
            "origin": self._store.origin,
            "boot": boot_id(),
            "written": status_file.moment(),
            "running_seconds": round(time.monotonic() - self._begun),
            "clock": stamp.clock,
            "time_known": self._known.hear(stamp),
            "disk": self._space.shown(),
            **self._of_store(),
            "uplink": shown(self._uplink, self._no_uplink),
            "export": self._export.shown(),
            "devices": self._board.shown(),
            "unbound": list(self._board.unbound),
        }

    def _of_store(self) -> dict[str, Any]:
        reader = self._store.reader
        try:
            return {
                "store": figures(reader, DESTINATION),
                "consultations": open_boxes(reader),
                "reconciliation": self._books.shown(),
            }
        except sqlite.Error as error:
            raise translate(error) from None

    async def _preview(self) -> None:
        """Nothing is recorded by it: where it can't listen, the unit works on without it."""
        folder = Path(self._settings.unit.runtime)
        try:
            await preview.serve(folder, self._stations.next_frame)
        except control.CantListen as wrong:
            _LOG.error("no-preview", remedy=str(wrong))

    async def _control(self) -> None:
        await control.serve(
            Path(self._settings.unit.runtime),
            {
                "ping": self._ping,
                "status": self._status,
                **StoreVerbs(self._store).verbs(),
                **self._uplink_verbs.verbs(),
                **self._device_verbs.verbs(),
                **self._export.verbs.verbs(),
            },
            lambda: notify("READY=1"),
        )

    async def _ping(self, _: Mapping[str, Any]) -> dict[str, Any]:
        return {"unit": self._store.unit}

    async def _status(self, _: Mapping[str, Any]) -> dict[str, Any]:
        return {"status": self.status()}


class _Stopped(Exception):  # noqa: N818 - no error
    """Somebody asked us to stop."""


def _open(settings: Settings) -> Store:
    folder = Path(settings.unit.state)
    try:
        make_room_to_open(folder)
        return Store.open(folder, load_key(folder), settings.unit.name, settings.unit.origin)
    except OSError as error:
        path = error.filename or folder
        raise StoreBroken(f"$.unit.state: {path} can't be used: {error.strerror}") from None


def _uplink(
    store: Store, settings: Settings, impulse: Impulse, books: StoreBooks, known: KnownTime
) -> tuple[Uplink | None, str]:
    """The uplink, or why there is none: a wrong one must not keep the unit from recording."""
    try:
        return build_uplink(store, settings, impulse, books, known.latest), ""
    except Misconfigured as wrong:
        _LOG.error("misconfigured", child="uplink", remedy=wrong.remedy)
        return None, wrong.remedy
