"""Taking in sealed files from a stick, and writing the receipts that they earned back onto it.

They go through the same ledger as what a broker brings, one transaction a group, beside a
receiver that may run at the same time (contract, part 10).
"""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from errno import ENOENT
from itertools import islice
from typing import TYPE_CHECKING

from central.errors import CentreError
from central.ledger import GROUP_MAX, Inbound
from sync.contract.entries import FILE_MAX, Entry, encode_receipts
from sync.contract.errors import ContractFault
from sync.contract.fields import UNIT
from sync.contract.receipt import encode_receipt
from sync.contract.sealed import SUFFIXES, folders, open_file
from sync.contract.topics import ROOTS, topic
from sync.stick import StickFault, names_below, open_shelf

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

    from central.ledger import Committed, Ledger
    from central.store import EnrolledUnit, Store
    from sync.contract.envelope import SigningKey
    from sync.contract.receipt import Receipt
    from sync.stick import Shelf

_ROOM = FILE_MAX - (256 << 10)
"""Bytes of receipts after which a file is closed: the next one still fits."""


@dataclass(slots=True)
class Intake:
    """What came of one unit's folder. `refused` counts files and messages by code.

    `remarks` are sentences for a person; with any, or anything refused, not all was taken.
    """

    unit: str
    files: int = 0
    new: int = 0
    receipts: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    remarks: list[str] = field(default_factory=list)


class Desk:
    """One centre at which a stick is handed in."""

    def __init__(
        self, store: Store, ledger: Ledger, signing: SigningKey, sealing: X25519PrivateKey
    ) -> None:
        self._store = store
        self._ledger = ledger
        self._signing = signing
        self._sealing = sealing

    def take_in(self, root: Path) -> list[Intake]:
        """Commit everything below a stick's first folder; repeating it changes nothing.

        Raises StickFault where the stick can't be read, StoreUnavailable where the database
        can't be written (what was committed before stands), CentreError for a stick of others.
        """
        origin = self._store.origin
        names = names_below(root, ROOTS[origin].split("/"))
        units = [name for name in names if UNIT.fullmatch(name)]
        if not units:
            raise CentreError(_nothing(root, origin))
        return [self._take_unit(root, unit) for unit in units]

    def _take_unit(self, root: Path, name: str) -> Intake:
        intake = Intake(name)
        unit = self._store.unit(name)
        place = folders(self._store.origin, name, "up")
        if unit is None:
            intake.remarks.append("it is not enrolled here: enrol it, then import again")
            return intake
        try:
            with open_shelf(root, place, SUFFIXES["up"]) as shelf:
                told = self._take_shelf(shelf, unit, intake)
        except StickFault as fault:
            intake.remarks.append("there is nothing in it" if fault.code == ENOENT else str(fault))
            return intake
        if told:
            self._write(root, unit, told, intake)
        return intake

    def _take_shelf(self, shelf: Shelf, unit: EnrolledUnit, intake: Intake) -> list[Receipt]:
        """Commit the files in order; the newest hello is answered before and after them."""
        listing = shelf.list()
        intake.remarks += [f"left out: {words}" for words in listing.left_out]
        hello = self._newest_hello(shelf, listing.numbers, unit)
        told = self._answer(unit, hello)
        unopened: Counter[str] = Counter()
        for number in listing.numbers:
            try:
                entries = self._open(shelf, number, unit)
            except ContractFault as fault:
                unopened[fault.code] += 1
                continue
            told += self._take_file(unit, entries, intake)
        intake.refused += unopened
        self._ledger.count_files(unit.unit, unopened)
        return [*told, *self._answer(unit, hello)]

    def _take_file(
        self, unit: EnrolledUnit, entries: tuple[Entry, ...], intake: Intake
    ) -> list[Receipt]:
        """Commit one file; give the receipts that say what is held of blobs."""
        intake.files += 1
        told: list[Receipt] = []
        for group in _groups(entries):
            committed = self._commit(unit, group)
            intake.new += committed.new
            intake.refused += committed.refused
            told += [each for each in committed.receipts if each.chunks and not each.answers]
        return told

    def _newest_hello(
        self, shelf: Shelf, numbers: Sequence[int], unit: EnrolledUnit
    ) -> Entry | None:
        for number in reversed(numbers):
            with suppress(ContractFault):
                for entry in self._open(shelf, number, unit):
                    if entry.channel == "up/hello":
                        return entry
        return None

    def _answer(self, unit: EnrolledUnit, hello: Entry | None) -> list[Receipt]:
        return [*self._commit(unit, (hello,)).receipts] if hello else []

    def _open(self, shelf: Shelf, number: int, unit: EnrolledUnit) -> tuple[Entry, ...]:
        content = shelf.read(number)
        if content is None:
            raise ContractFault("unreadable", "the file can't be read")
        return open_file(content, unit.key_of(), self._sealing)

    def _commit(self, unit: EnrolledUnit, group: Sequence[Entry]) -> Committed:
        return self._ledger.commit(
            [
                Inbound(topic(unit.origin, unit.unit, each.channel), each.frame, carried=True)
                for each in group
            ]
        )

    def _write(
        self, root: Path, unit: EnrolledUnit, told: Sequence[Receipt], intake: Intake
    ) -> None:
        """What is committed is safe: where receipts can't be written, only they are missing."""
        place = folders(unit.origin, unit.unit, "down")
        try:
            with open_shelf(root, place, SUFFIXES["down"], make=True) as shelf:
                shelf.lock()
                shelf.tidy()
                for frames in _files(encode_receipt(each, self._signing) for each in told):
                    shelf.write(encode_receipts(frames))
                    intake.receipts += len(frames)
        except StickFault as fault:
            intake.remarks.append(f"all is committed, but without receipts for the unit: {fault}")


def _groups(entries: Sequence[Entry]) -> Iterator[tuple[Entry, ...]]:
    left = iter(entries)
    while group := tuple(islice(left, GROUP_MAX)):
        yield group


def _files(frames: Iterator[bytes]) -> Iterator[list[bytes]]:
    gathered: list[bytes] = []
    for frame in frames:
        gathered.append(frame)
        if sum(map(len, gathered)) > _ROOM:
            yield gathered
            gathered = []
    if gathered:
        yield gathered


def _nothing(root: Path, origin: str) -> str:
    others = [each for each in ROOTS if each != origin]
    foreign = any(names_below(root, ROOTS[each].split("/")) for each in others)
    if foreign:
        return f"{root} holds only what is of the other origin: this centre is {origin}"
    return f"{root} holds no sealed files: name the folder that qafila export was given"
