"""The store as the rest of the agent knows it."""

from __future__ import annotations

import fcntl
import os
import uuid
from typing import TYPE_CHECKING

from sqlite_utils import Database

from agent.damage import opening, salvage, witness
from agent.errors import Conflict, StoreBroken, StoreBusy, StoreFull
from agent.store import epochs, frames, log, receipts, schema, settling
from agent.store.connection import FULL, Connection, open_reader, open_writer
from agent.store.keys import sync_folder
from agent.store.outbox import StoreOutbox
from agent.store.writer import Writer

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from uuid import UUID

    from agent.capture import Capture
    from agent.clock import Stamp
    from agent.event import Event
    from agent.request import Request
    from drivers.base import Device, RawFrame, Stored
    from sync.contract.hello import Origin
    from sync.contract.receipt import Receipt
    from sync.lane import Verdict


class Store:
    """One state folder, open. `origin` was fixed when the folder was born.

    While `refuses`, nothing new is taken: what is left of a full disk is for settling and purging.
    """

    def __init__(
        self, folder: Path, lock: int, writer: Writer, reader: Connection, key: str
    ) -> None:
        self.folder = folder
        self.writer = writer
        self.reader = reader
        self.key = key
        self.refuses = False
        self._lock = lock
        self._outboxes: list[StoreOutbox] = []
        self.unit, self.origin, self.epoch = _unit(reader)

    @classmethod
    def open(cls, folder: Path, key: str, unit: str, origin: Origin) -> Store:
        """Open a state folder, or bring it to life; migrate it where that is due.

        A damaged database is set aside first (`agent.damage`), and a new one begun. Raises
        StoreBusy for a folder that another agent works on, StoreBroken for another key, a
        failing disk, or a folder that belongs to another unit or origin.
        """
        folder.mkdir(mode=0o750, parents=True, exist_ok=True)
        lock = take(folder)
        try:
            opening.clear_way(folder, key, unit, origin)
            connection = open_writer(folder, key)
            try:
                _prepare(connection, unit, origin)
                _register(connection, folder, key)
                sync_folder(folder)
                witness.keep(folder, key, connection, schema.GENERATION)
                reader = open_reader(folder, key)
            except BaseException:
                connection.close()
                raise
        except BaseException:
            os.close(lock)
            raise
        writer = Writer(connection)
        writer.start()
        return cls(folder, lock, writer, reader, key)

    def close(self) -> None:
        """Finish what is queued, close the database and let go of the folder."""
        self.reader.close()  # first, so that the writer's end folds the log into the file
        self.writer.close()
        os.close(self._lock)

    def outbox(self, destination: str) -> StoreOutbox:
        """The log as a destination sees it."""
        box = StoreOutbox(self.reader, self.writer, destination, self.unit, self.origin)
        self._outboxes.append(box)
        return box

    async def record(self, capture: Capture) -> Stored:
        """Store a measurement; returns after fsync. StoreFull, StoreBroken, Conflict."""
        (stored,) = await self.record_all([capture])
        return stored

    async def record_all(self, captures: Sequence[Capture]) -> list[Stored]:
        """Store measurements in one commit: all of them, or none. Raises as `record`."""
        self._admit()
        try:
            stored = await self.writer.write(
                lambda connection: [_record(connection, each) for each in captures]
            )
        except Conflict as conflict:
            await self._quarantine(captures[0], str(conflict))
            raise
        self.wake()
        return stored

    async def settle_carried(self, destination: str, receipt: Receipt) -> Verdict:
        """Apply a verified receipt that came in a file; see `receipts.settle`."""
        verdict = await receipts.settle(
            self.writer,
            destination,
            receipt,
            lambda connection: settling.apply_carried(connection, destination, self.unit, receipt),
        )
        self.wake()
        return verdict

    async def tell(self, event: Event) -> None:
        """Store what the agent itself has to tell; returns after fsync. StoreFull, StoreBroken."""
        await self.writer.write(lambda connection: log.append_event(connection, event))
        self.wake()

    def wake(self) -> None:
        """Something was stored: every outbox looks again."""
        for outbox in self._outboxes:
            outbox.wake()

    async def request(self, request: Request) -> UUID:
        """Store an urgent request; returns its id after fsync. StoreFull, StoreBroken."""
        record = await self.writer.write(lambda connection: log.append_request(connection, request))
        for outbox in self._outboxes:
            outbox.wake()
        return record

    async def keep(self, frame: RawFrame, device: Device, box: str | None, stamp: Stamp) -> int:
        """Store a frame before it is decoded; returns its number after fsync. StoreFull."""
        self._admit()
        return await self.writer.write(
            lambda connection: frames.keep(connection, frame, device, box, stamp)
        )

    async def conclude(self, frame: int, outcome: str, reason: str) -> None:
        """Settle a kept frame that became no record."""
        await self.writer.write(
            lambda connection: frames.conclude(connection, frame, outcome, reason)
        )

    def _admit(self) -> None:
        if self.refuses:
            raise StoreFull(FULL)

    async def _quarantine(self, capture: Capture, reason: str) -> None:
        for frame in capture.frames:
            await self.conclude(frame, "quarantined", reason)


def _record(connection: Connection, capture: Capture) -> Stored:
    stored = log.append(connection, capture)
    frames.link_record(connection, capture.frames, stored.record_id)
    return stored


def take(folder: Path) -> int:
    """Hold a state folder alone until the descriptor is closed; StoreBusy."""
    file = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o640)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(file)
        raise StoreBusy(
            f"another agent works on {folder}: stop it first, or give this one its own folder"
        ) from None
    return file


def _prepare(connection: Connection, unit: str, origin: Origin) -> None:
    """Migrate, and give birth to the unit where the folder is new."""
    database = Database(connection)
    (generation,) = connection.execute("PRAGMA user_version").fetchone()
    if generation > schema.GENERATION:
        raise StoreBroken(opening.newer_version(generation))
    if generation < schema.GENERATION:  # before the migrations: a cut between must not lie
        connection.execute(f"PRAGMA user_version = {schema.GENERATION}")
    schema.store.apply(database)
    row = connection.execute("SELECT name, origin FROM unit").fetchone()
    if row is None:
        _bear(connection, unit, origin)
    elif tuple(row) != (unit, origin):
        raise StoreBroken(opening.another_unit(tuple(row), (unit, origin)))


def _register(connection: Connection, folder: Path, key: str) -> None:
    connection.execute("BEGIN IMMEDIATE")
    salvage.register(folder, connection, key)
    connection.execute("COMMIT")


def _bear(connection: Connection, unit: str, origin: Origin) -> None:
    connection.execute("BEGIN IMMEDIATE")
    connection.execute(
        "INSERT INTO unit (one, name, origin, state_id, epoch) VALUES (1, ?, ?, ?, ?)",
        (unit, origin, str(uuid.uuid4()), epochs.bear(connection)),
    )
    connection.execute("COMMIT")


def _unit(reader: Connection) -> tuple[str, Origin, str]:
    name, origin, epoch = reader.execute("SELECT name, origin, epoch FROM unit").fetchone()
    return name, origin, epoch
