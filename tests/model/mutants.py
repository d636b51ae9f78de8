"""The parts of the simulation, each broken in one place: every one of them must be caught."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from sync.contract.ranges import union
from sync.lane import Question, Settled

from .ledger import MemoryCentre, _database
from .log import Disk, Log, MemoryOutbox

if TYPE_CHECKING:
    from sync.contract.receipt import Receipt
    from sync.lane import Verdict
    from sync.outbox import BatchParcel
    from sync.plan import Plan


class SettlesTooEarly(MemoryOutbox):
    """It takes what it has sent for settled."""

    async def next_batch(self, plan: Plan, budget: int) -> BatchParcel:
        """Send, and believe."""
        parcel = await super().next_batch(plan, budget)
        log = self._disk.log.lanes[parcel.place.lane]
        ahead = union(log.state.ahead, ((parcel.place.first, parcel.place.last),))
        log.state = replace(log.state, ahead=ahead)
        return parcel


class IgnoresMissing(MemoryOutbox):
    """It takes the highest seq of a receipt for a watermark."""

    async def settle(self, receipt: Receipt) -> Verdict:
        """Believe that nothing is missing."""
        verdict = await super().settle(receipt)
        log = self._disk.log.lanes[receipt.lane]
        if isinstance(verdict, Settled) and receipt.missing:
            log.state = replace(log.state, through=receipt.last, ahead=())
        return verdict


class BelievesAnyCentre(MemoryOutbox):
    """It follows another central epoch though that answers no question of its own."""

    async def settle(self, receipt: Receipt) -> Verdict:
        """Take every receipt for fresh."""
        self._asked = Question(receipt.answers or "", self._disk.log.believed)
        return await super().settle(receipt)


class KeepsBlobs(MemoryOutbox):
    """It believes another centre to hold the blobs that the one before it held."""

    def __init__(self, disk: Disk) -> None:
        super().__init__(disk)
        disk.log.__class__ = _KeepingLog


class _KeepingLog(Log):
    def _follow(self, central_epoch: str) -> None:
        if central_epoch not in self.centres:
            self.centres.append(central_epoch)


class SaysSoBeforeCommit(Disk):
    """It says «on the disk» of what is still in memory."""

    async def save(self, lane: str, line: bytes, blob: bytes | None) -> None:
        """Say so at once."""
        self._ask(lambda log: log.append(lane, line, blob))


class ForgetsWhatItSaid(MemoryCentre):
    """It says so in a receipt, and has not committed."""

    def take(self, channel: str, payload: bytes) -> list[bytes]:
        """Answer, then go on from what was there before."""
        before = _database()
        self._sql.backup(before)
        receipts = super().take(channel, payload)
        if channel.startswith("up/log") and len(receipts) == 1:
            self._sql.close()
            self._sql = before
            self._open()
        else:
            before.close()
        return receipts
