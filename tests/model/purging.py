"""A unit that lets go of what is confirmed, and a centre that makes backups, for the models."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeVar

import msgspec

from agent.store import age
from agent.store.backlog import read_blob
from agent.store.retention import Retention
from tests.agent.store.truck import STAMP

from .centre import ModelCentre
from .disk import DiskUnit
from .unit import LANE

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.clock import Stamp
    from sync.contract.receipt import Receipt

    from .centre import Lane

T = TypeVar("T")
DAYS = 3


class PowerCut(Exception):  # noqa: N818 - no error
    """The power goes between two slices."""


class BackedUpCentre(ModelCentre):
    """Tells in its receipts what its newest backup holds, blobs and all."""

    def __init__(self, unit: str) -> None:
        super().__init__(unit)
        self.backed_up: int | None = None
        self.blob_of: dict[int, bytes] = {}

    def back_up(self) -> None:
        """Copy everything; a record counts with its blob only."""
        super().back_up()
        (entries,) = list(self.ledger.entries.values())[:1] or [{}]
        through = 0
        while through + 1 in entries and self._whole(through + 1):
            through += 1
        self.backed_up = through

    def restore(self) -> None:
        """Come back; nothing is known of a backup of the copy itself."""
        super().restore()
        self.backed_up = None

    def receipt(
        self,
        lane: Lane,
        answers: str | None = None,
        blobs: tuple[bytes, ...] = (),
        *,
        whole: bool = False,
    ) -> Receipt:
        """What is committed, and what of it is in the backup."""
        found = super().receipt(lane, answers, blobs, whole=whole)
        return msgspec.structs.replace(found, backed_up_through=self.backed_up)

    def _whole(self, seq: int) -> bool:
        sha256 = self.blob_of.get(seq)
        size, have = self.ledger.blobs.get(sha256 or b"", (0, ()))
        return sha256 is None or have == ((0, size - 1),)


@dataclass
class Heard:
    """What the receipts that a unit took have said, as plain sets: written from the contract."""

    central_epoch: str | None = None
    settled: dict[int, int] = field(default_factory=dict)
    whole: set[bytes] = field(default_factory=set)
    refused: set[int] = field(default_factory=set)
    backed_up: int | None = None
    through: int = 0

    def hear(self, receipt: Receipt, today: int) -> None:
        """C-7.3 to C-7.7 and C-8.7; `settled` keeps since which day each seq has been."""
        same = receipt.central_epoch == self.central_epoch
        fallen = receipt.through < self.through
        if not same:
            self.settled, self.whole = {}, set()
        missing = {n for a, b in receipt.missing for n in range(a, b + 1)}
        said = set(range(1, receipt.last + 1)) - missing
        beyond = {n for n in self.settled if n > receipt.last} if not fallen else set()
        self.settled = {n: self.settled.get(n, today) for n in said | beyond}
        self.central_epoch, self.through = receipt.central_epoch, receipt.through
        self.backed_up = receipt.backed_up_through
        self.refused |= {each.seq for each in receipt.refused if each.last is None}
        for held in receipt.chunks:
            change = self.whole.add if held.complete else self.whole.discard
            change(bytes.fromhex(held.sha256))

    def may_go(self, seq: int, blob: bytes | None, today: int, *, scarce: bool) -> bool:
        """Whether the unit may let go of a record that is assigned."""
        if seq not in self.settled or seq in self.refused or seq > self.through:
            return False
        if blob is not None and blob not in self.whole:
            return False
        if scarce:
            return self.backed_up is not None and seq <= self.backed_up
        old = today - self.settled[seq] >= DAYS
        return old and (self.backed_up is None or seq <= self.backed_up)


class PurgingUnit(DiskUnit):
    """A real store with retention; the clock is the test's."""

    def __init__(self) -> None:
        super().__init__()
        self.today = 0

    def sample(self) -> Stamp:
        """The present day, by a clock that nobody sets."""
        return replace(STAMP, mono_ns=1 + self.today * age.DAY * 1_000_000_000)

    def live_a_day(self) -> None:
        """Let a day go by, and let the store count it."""
        self.today += 1
        stamp = self.sample()
        self._run(self._store.writer.write(lambda c: age.count(c, stamp, DAYS * age.DAY)))

    def purge(self, slices: int, *, scarce: bool) -> None:
        """Sweep; the power goes after so many slices."""
        left = iter(range(slices))
        retention = Retention(
            self._store, "centre", DAYS, sample=self.sample, scarce=lambda: scarce
        )
        plain = retention._slice

        async def counted(job: Callable[..., T]) -> T:
            if next(left, None) is None:
                raise PowerCut
            return await plain(job)

        retention._slice = counted  # type: ignore[method-assign] # to cut before a slice
        try:
            self._run(retention.make_room() if scarce else retention.sweep())
        except PowerCut:
            self.crash()

    def assign(self) -> None:
        """Say whose every reading is."""
        sql = "UPDATE tray SET assigned_by = 'nurse'"
        self._run(self._store.writer.write(lambda c: c.execute(sql)))

    def kept(self) -> dict[int, bytes]:
        """The line of each record that is here."""
        rows = self._store.reader.execute("SELECT seq, line FROM record WHERE lane = ?", (LANE,))
        return {seq: bytes(line) for seq, line in rows}

    def blob(self, sha256: bytes, size: int) -> bytes:
        """The bytes of a blob, as far as they are here."""
        return read_blob(self._store.reader, sha256, 0, size - 1)

    def left_over(self) -> list[tuple[str, int]]:
        """How many rows of content are here."""
        tables = ("record", "raw", "blob", "chunk", "record_blob", "tray", "frame")
        counts = [
            self._store.reader.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
            for table in tables
        ]
        return [pair for pair in zip(tables, counts, strict=True) if pair[1]]
