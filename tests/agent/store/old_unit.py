"""A unit that has been in use for a while: its centre, its clock, and what it still holds."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from agent.consultations import close_consultation
from agent.store.age import DAY
from agent.store.retention import Retention
from sync.plan import Plan
from tests.model.centre import ModelCentre
from tests.model.unit import LANE

from .truck import STAMP, UNIT, capture, open_store

if TYPE_CHECKING:
    from pathlib import Path

    from agent.clock import Quality, Stamp
    from agent.store.retention import Done

DAYS = 7


class OldUnit:
    """A store, its outbox, and a clock that a test moves. `days` is the retention."""

    def __init__(self, folder: Path, days: int = DAYS) -> None:
        self.folder = folder
        self.store = open_store(folder)
        self.outbox = self.store.outbox("centre")
        self.centre = ModelCentre(UNIT)
        self.stamp = STAMP
        self.scarce = 0
        self._days = days

    def close(self) -> None:
        self.store.close()

    def sample(self) -> Stamp:
        return self.stamp

    def live(self, days: float) -> None:
        """Let days go by, with the computer on."""
        self.stamp = replace(
            self.stamp,
            mono_ns=self.stamp.mono_ns + int(days * DAY) * 1_000_000_000,
            wall=self.stamp.wall + timedelta(days=days),
        )

    def boot(self, wall: timedelta = timedelta(), clock: Quality = "synchronised") -> None:
        """Start the computer anew, with the wall clock moved by so much."""
        self.stamp = replace(
            self.stamp,
            boot=str(uuid.uuid4()),
            mono_ns=1_000_000_000,
            wall=self.stamp.wall + wall,
            clock=clock,
        )

    def retention(self) -> Retention:
        return Retention(
            self.store, "centre", self._days, scarce=self._is_scarce, sample=self.sample
        )

    def _is_scarce(self) -> bool:
        self.scarce -= 1
        return self.scarce >= 0

    async def sweep(self) -> Done:
        return await self.retention().sweep()

    async def grow_old(self, days: float = DAYS + 1) -> Done:
        """Set milestones day by day, and sweep at the end."""
        await self.sweep()
        for _ in range(int(days)):
            self.live(1)
            done = await self.sweep()
        return done

    async def record(
        self,
        *names: bytes,
        repeatable: bool = False,
        blobs: tuple[bytes, ...] = (),
        frames: tuple[int, ...] = (),
    ) -> None:
        for name in names:
            said = capture(name, repeatable=repeatable, blobs=blobs, frames=frames)
            await self.store.record(said)

    async def settle(self, *, chunks: bool = True) -> None:
        """Say hello, settle the answers, send everything that is pending."""
        outbox, centre = self.outbox, self.centre
        for receipt in centre.greet(await outbox.hello(str(uuid.uuid4()))):
            await outbox.settle(receipt)
        plan = Plan()
        while plan.stretch(outbox._views()) is not None:
            parcel = await outbox.next_batch(plan, 20_000)
            await outbox.settle(centre.take_batch(parcel.batch))
            plan.arrive(parcel.place)
        while chunks and plan.piece(outbox._blobs(), 64 << 10) is not None:
            chunk = await outbox.next_chunk(plan, 64 << 10)
            await outbox.settle(centre.take_chunk(chunk.chunk, (self.store.epoch, LANE)))
            plan.arrive(chunk.place)

    async def note_backup(self, through: int | None) -> None:
        """What the next receipts say of a backup."""
        await self.store.writer.write(
            lambda c: c.execute("UPDATE watermark SET backed_up_through = ?", (through,))
        )

    async def consult(self, box: str = "1", patient: str = "patient-7") -> str:
        """Open a consultation, long before the readings."""
        name = str(uuid.uuid4())
        await self.store.writer.write(
            lambda c: c.execute(
                "INSERT INTO consultation VALUES (?, ?, ?, 'nurse', '2026-01-01T00:00:00.000Z', "
                "NULL)",
                (name, box, patient),
            )
        )
        return name

    async def dismiss(self, box: str = "1") -> None:
        """Close the consultation of a box."""
        await self.store.writer.write(lambda c: close_consultation(c, box))

    async def assign_all(self) -> None:
        """Say whose the readings of the tray are."""
        await self.store.writer.write(lambda c: c.execute("UPDATE tray SET assigned_by = 'nurse'"))

    def count(self, table: str) -> int:
        (count,) = self.store.reader.execute(f"SELECT count(*) FROM {table}").fetchone()
        return int(count)

    def seqs(self) -> list[int]:
        rows = self.store.reader.execute(
            "SELECT seq FROM record WHERE lane = ? ORDER BY seq", (LANE,)
        )
        return [row[0] for row in rows]
