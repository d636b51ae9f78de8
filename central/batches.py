"""Taking a batch: every line settled, each refused alone or stored once (contract, part 4)."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from central.errors import RecordFault
from central.lines import Line, read_blob_lost, read_closed, read_line, read_lost, same_reading
from central.logbook import Entry, Lane
from central.seams import check_lost, check_seams
from sync.contract.batch import Batch, chain
from sync.contract.errors import ContractFault
from sync.contract.receipt import Refusal

if TYPE_CHECKING:
    from central.lines import EpochClosed, Lost
    from central.store import Store


class Taking:
    """One batch on its way into the store, within the store's transaction.

    Afterwards `lanes` holds every lane on which something was said, `dropped` the blobs whose
    bytes contradicted a record and are asked for again, and `new` counts the records stored.
    """

    def __init__(self, store: Store, batch: Batch) -> None:
        header = batch.header
        self._store = store
        self._batch = batch
        self._lane = store.log.lane(header.unit, header.epoch, header.lane)
        previous = bytes.fromhex(header.prev_hash)
        values = chain(previous, batch.lines)
        self._hashes = dict(enumerate(values, header.first))
        self._previous = dict(enumerate((previous, *values[:-1]), header.first))
        self.lanes: dict[int, Lane] = {self._lane.id: self._lane}
        self.dropped: set[bytes] = set()
        self.new = 0

    def run(self) -> None:
        """Settle every seq that isn't; ContractFault `chain` or `conflict` changes nothing."""
        header = self._batch.header
        known = self._store.log.entries(self._lane, header.first - 1, header.last + 1)
        check_seams(self._batch, self._hashes, known)
        for seq, line in self._batch:
            if seq not in known or known[seq].outcome == "lost":
                self._settle(seq, line)
        for lane in self.lanes.values():
            self._store.log.advance(lane)

    def _settle(self, seq: int, line: bytes) -> None:
        record_id, again, refusal = None, False, None
        try:
            record_id, again = self._take(line)
        except RecordFault as fault:
            refusal = Refusal(seq=seq, code=fault.code, reason=fault.reason)
        outcome: Entry = Entry(
            self._hashes[seq], self._previous[seq], "refused" if refusal else "taken"
        )
        self._store.log.enter(self._lane, seq, outcome, record_id, refusal, again=again)

    def _take(self, line: bytes) -> tuple[str, bool]:
        """Store a record, or know it again; every check stands before the first change.

        Gives its id, and whether what is kept of it are the bytes of another telling.
        """
        record = read_line(line, self._store.origin)
        unit, line_hash = self._lane.unit, hashlib.sha256(line).digest()
        stored = self._store.log.line(unit, record.record)
        if stored is not None:
            if stored == line or same_reading(record, stored):
                return record.record, stored != line
            raise RecordFault("conflict", "the record id is known with other content")
        lost, closed = read_lost(record), read_closed(record)
        read_blob_lost(record)
        self._check_sizes(record)
        if closed:  # known from now on, also where nothing of it ever came
            self._check_closed(closed)
            self._store.log.lane(unit, closed.epoch, closed.lane)
        if lost:
            self._give_up(lost)
        self._store.log.keep(unit, record.record, record.kind, line, line_hash)
        self.new += 1
        self._refer(record)
        return record.record, False

    def _check_closed(self, closed: EpochClosed) -> None:
        if closed.epoch == self._batch.header.epoch:
            raise RecordFault("conflict", "the record closes the epoch in which it stands")

    def _check_sizes(self, record: Line) -> None:
        for each in record.blobs:
            blob = self._store.blobs.find(self._lane.unit, bytes.fromhex(each.sha256))
            settled = blob is not None and (blob.complete or blob.referenced)
            if blob and settled and blob.size != each.size:
                raise RecordFault("blob-size", "the centre knows the blob with another size")

    def _refer(self, record: Line) -> None:
        unit, blobs = self._lane.unit, self._store.blobs
        for place, each in enumerate(record.blobs):
            sha256 = bytes.fromhex(each.sha256)
            blob = blobs.find(unit, sha256) or blobs.expect(unit, sha256, each.size)
            if blob.size != each.size:
                # The record is signed, the chunks that came before it are not.
                blobs.drop(unit, blob, each.size)
                self.dropped.add(sha256)
            blobs.refer(unit, record.record, place, each)

    def _give_up(self, lost: Lost) -> None:
        """Settle a seq as lost, unless its record is here."""
        own = self._batch.header
        stated = bytes.fromhex(lost.hash)
        lane = self._store.log.lane(own.unit, own.epoch, lost.lane)
        known = self._store.log.entries(lane, lost.seq, lost.seq + 1)
        if lane.id == self._lane.id:
            known |= self._coming(lost.seq, lost.seq + 1)
        try:
            news = check_lost(stated, known.get(lost.seq), known.get(lost.seq + 1))
        except ContractFault as fault:
            raise RecordFault(fault.code, fault.reason) from None
        self.lanes.setdefault(lane.id, lane)
        if news:
            self._store.log.enter(lane, lost.seq, Entry(stated, None, "lost"), None, None)

    def _coming(self, first: int, last: int) -> dict[int, Entry]:
        """The entries that this very batch brings."""
        return {
            seq: Entry(self._hashes[seq], self._previous[seq], "taken")
            for seq in range(first, last + 1)
            if seq in self._hashes
        }
