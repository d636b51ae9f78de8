"""The outside ledger of the conservation oracle, and its verdict."""

from __future__ import annotations

import sqlite3
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from central import report
from tests.faults.feed import Written
from tests.faults.power import told

if TYPE_CHECKING:
    from pathlib import Path


class Said(StrEnum):
    """What a unit said last of one reading."""

    TRYING = "try"
    REFUSED = "refused"
    SAVED = "ok"


@dataclass
class Book:
    """Every reading that was ever taken, by the hash of its raw bytes."""

    taken: dict[str, Written] = field(default_factory=dict)
    said: dict[str, Said] = field(default_factory=dict)

    def hear(self, line: str) -> None:
        """Note down what the unit said; what was saved once stays saved."""
        word, *rest = line.split()
        if not line.endswith("\n") or word not in set(Said):
            return
        if word == Said.TRYING:
            self.taken[rest[0]] = Written.read(rest)
        if self.said.get(rest[0]) is not Said.SAVED:
            self.said[rest[0]] = Said(word)

    @property
    def acknowledged(self) -> list[Written]:
        """Every reading for which `record()` returned."""
        return [self.taken[raw] for raw, said in self.said.items() if said is Said.SAVED]

    @property
    def possible(self) -> set[Written]:
        """Every reading that may be at the centre: one that was refused aloud may not."""
        return {self.taken[raw] for raw, said in self.said.items() if said is not Said.REFUSED}


@dataclass(frozen=True)
class Verdict:
    """`lost`: acknowledged and not at the centre as it was. `duplicates`: there twice, or there
    without ever having been taken."""

    acknowledged: int
    at_centre: int
    lost: int
    duplicates: int

    @property
    def clean(self) -> bool:
        """Whether everything is there exactly once, and nothing else is."""
        return not (self.lost or self.duplicates)


def judge(book: Book, folder: Path) -> Verdict:
    """Compare the book with what a centre's folder holds."""
    blobs = {each.sha256: each.content_sha256 for each in report.blobs(folder) if each.complete}
    there = [told(line, blobs) for _, _, line in report.lines(folder)]
    copies = Counter(each.raw for each in there)
    found, possible = set(there), book.possible
    return Verdict(
        acknowledged=len(book.acknowledged),
        at_centre=len(there),
        lost=sum(each not in found for each in book.acknowledged),
        duplicates=sum(count - 1 for count in copies.values())
        + sum(each not in possible for each in found)
        + _told_twice(folder),
    )


def _told_twice(folder: Path) -> int:
    """How many entries of the centre's log say a record that another one says already."""
    uri = f"{(folder / 'central.db').absolute().as_uri()}?mode=ro"
    with closing(sqlite3.connect(uri, uri=True)) as connection:
        (surplus,) = connection.execute(
            "SELECT count(*) - count(DISTINCT record_id) FROM entries WHERE outcome = 'taken'"
        ).fetchone()
    return int(surplus)
