"""A centre as the contract describes it, in memory: the other side of every model and simulation.

It is written from `docs/reference/contract.md`, not from `central/`, so that the two check
each other. A line that holds `POISON` is one it refuses.
"""

from __future__ import annotations

import copy
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sync.contract.batch import chain
from sync.contract.fields import GENESIS
from sync.contract.ranges import Ranges, normal, union
from sync.contract.receipt import (
    MISSING_MAX,
    REFUSED_MAX,
    Held,
    Receipt,
    Refusal,
    check_receipt,
)

if TYPE_CHECKING:
    from sync.contract.batch import Batch
    from sync.contract.chunk import Chunk
    from sync.contract.hello import Hello

Lane = tuple[str, str]


@dataclass(slots=True)
class Ledger:
    """What would be on the centre's disk."""

    entries: dict[Lane, dict[int, tuple[bytes, bytes, bytes]]] = field(default_factory=dict)
    refused: dict[Lane, set[int]] = field(default_factory=dict)
    blobs: dict[bytes, tuple[int, Ranges]] = field(default_factory=dict)


class ModelCentre:
    """Takes batches and chunks in any order, any number of times."""

    def __init__(self, unit: str) -> None:
        self.unit = unit
        self.epoch = str(uuid.uuid4())
        self.ledger = Ledger()
        self.serial = 0
        self.offered: dict[Lane, int] = {}
        self.ever: dict[str, set[tuple[str, str, int]]] = {self.epoch: set()}
        self.held_ever: dict[str, set[bytes]] = {self.epoch: set()}
        self._backup = copy.deepcopy(self.ledger)

    def back_up(self) -> None:
        """Copy everything to a safe place."""
        self._backup = copy.deepcopy(self.ledger)

    def restore(self) -> None:
        """Come back from the backup; the administrator declares a new central epoch."""
        self.ledger = copy.deepcopy(self._backup)
        self.epoch, self.serial = str(uuid.uuid4()), 0
        self.ever[self.epoch] = {
            (*lane, seq) for lane, entries in self.ledger.entries.items() for seq in entries
        }
        self.held_ever[self.epoch] = {
            sha256 for sha256, (size, have) in self.ledger.blobs.items() if have == ((0, size - 1),)
        }

    def greet(self, hello: Hello) -> list[Receipt]:
        """Answer a hello: one receipt for each lane that it offers."""
        for offer in hello.lanes:
            self.offered[offer.epoch, offer.lane] = offer.first
        return [
            self.receipt((offer.epoch, offer.lane), hello.session, whole=True)
            for offer in hello.lanes
        ]

    def greet_late(self, hello: Hello) -> list[Receipt]:
        """Answer a hello that came in a file: it takes nothing back (C-10.8)."""
        for offer in hello.lanes:
            lane = (offer.epoch, offer.lane)
            self.offered[lane] = max(self.offered.get(lane, 1), offer.first)
        return [
            self.receipt((offer.epoch, offer.lane), hello.session, whole=True)
            for offer in hello.lanes
        ]

    def take_batch(self, batch: Batch) -> Receipt:
        """Commit a batch, then say so."""
        header = batch.header
        lane = (header.epoch, header.lane)
        entries = self.ledger.entries.setdefault(lane, {})
        before = bytes.fromhex(header.prev_hash)
        hashes = chain(before, batch.lines)
        for (seq, line), own, previous in zip(batch, hashes, (before, *hashes), strict=False):
            known = entries.setdefault(seq, (own, previous, line))
            assert known == (own, previous, line), "the unit rewrote its history"
            if b"POISON" in line:
                self.ledger.refused.setdefault(lane, set()).add(seq)
                self.offered[lane] = min(self.offered.get(lane, 1), seq)
            self.ever[self.epoch].add((*lane, seq))
        return self.receipt(lane)

    def take_chunk(self, chunk: Chunk, lane: Lane) -> Receipt:
        """Commit a chunk, then say what is held of its blob."""
        size, have = self.ledger.blobs.get(chunk.sha256, (chunk.size, ()))
        have = union(have, ((chunk.offset, chunk.last),))
        self.ledger.blobs[chunk.sha256] = (size, have)
        if have == ((0, size - 1),):
            self.held_ever[self.epoch].add(chunk.sha256)
        return self.receipt(lane, blobs=(chunk.sha256,))

    def receipt(
        self,
        lane: Lane,
        answers: str | None = None,
        blobs: tuple[bytes, ...] = (),
        *,
        whole: bool = False,
    ) -> Receipt:
        """What is committed of a lane, within the bounds of C-7.8."""
        self.serial += 1
        entries = self.ledger.entries.get(lane, {})
        refused = sorted(
            seq for seq in self.ledger.refused.get(lane, ()) if seq >= self.offered.get(lane, 1)
        )
        edge = refused[REFUSED_MAX] - 1 if len(refused) > REFUSED_MAX else max(entries, default=0)
        through = 0
        while through + 1 in entries and through < edge:
            through += 1
        held = normal((seq, seq) for seq in entries if through < seq <= edge)
        gaps = [
            (after + 1, before - 1)
            for (_, after), (before, _) in zip(((0, through), *held), held, strict=False)
        ]
        last = gaps[MISSING_MAX][0] - 1 if len(gaps) > MISSING_MAX else max(edge, through)
        told = blobs or (tuple(self.ledger.blobs) if whole else ())
        receipt = Receipt(
            central_epoch=self.epoch,
            serial=self.serial,
            unit=self.unit,
            epoch=lane[0],
            lane=lane[1],
            through=through,
            head_hash=(entries[through][0] if through else GENESIS).hex(),
            last=last,
            missing=tuple(gaps[:MISSING_MAX]),
            refused=tuple(
                Refusal(seq=seq, code="poison", reason="refused by the model")
                for seq in refused[:REFUSED_MAX]
            ),
            chunks=tuple(self._held(sha256) for sha256 in told),
            answers=answers,
        )
        check_receipt(receipt)
        return receipt

    def _held(self, sha256: bytes) -> Held:
        size, have = self.ledger.blobs[sha256]
        return Held(sha256=sha256.hex(), size=size, have=have[:16])
