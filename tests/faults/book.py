"""The outside ledger of the conservation oracle, and its verdict.

It is kept by whoever asked the agent, in another process than the agent's, and says «saved» of
nothing but what the agent answered with a record id.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from central import report

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

CAMERA, STICK = "oracle-camera", "oracle-stick"
"""What the two devices are called in the unit's settings."""
NAMELESS = "oracle"
"""Begins the name of every person here, and of no other."""
ROWS_OF_A_PAGE = 8
"""The most records, or pieces of pictures, that a page of 4,096 bytes can cost: each has 479 and
more on it, and the rest on pages of its own (sqlite.org/fileformat2.html, part 1.6)."""
_GIVEN_UP = "given up"


class Said(StrEnum):
    """What the agent said last of one reading."""

    NOTHING = "nothing"
    REFUSED = "refused"
    SAVED = "saved"


@dataclass(frozen=True, slots=True)
class Reading:
    """What a reading says: digits as they were typed, its box, hex hashes of bytes and blobs."""

    kind: str
    values: tuple[str, ...]
    box: str
    raw: str
    blobs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Found:
    """A record of the centre; `by` is how it came, `name` who or what took it, if told."""

    record: str
    by: str
    name: str | None
    reading: Reading


@dataclass
class Book:
    """Everything that was asked of the agent, and what it answered."""

    entered: dict[str, Reading] = field(default_factory=dict)
    said: dict[str, Said] = field(default_factory=dict)
    records: dict[str, str] = field(default_factory=dict)
    shown: dict[str, str] = field(default_factory=dict)
    """Of each frame that the camera shows, its hash and that of the picture made of it."""
    photographed: set[str] = field(default_factory=set)
    unanswered: int = 0
    """Pictures that were asked for and neither saved nor refused, as far as anybody knows."""
    on_stick: set[str] = field(default_factory=set)
    flips: int = 0
    """How many bits were flipped on the disk of the unit."""

    def ask(self, name: str, reading: Reading) -> None:
        """A person is about to enter a reading; the name is used for this one only."""
        self.entered[name], self.said[name] = reading, Said.NOTHING

    def hear(self, name: str, answer: dict[str, Any] | None) -> None:
        """Note down what the agent answered to an entry; None where it hung up."""
        self.said[name] = said(answer)
        if answer and self.said[name] is Said.SAVED:
            self.records[name] = answer["record"]

    def hear_camera(self, answer: dict[str, Any] | None) -> None:
        """Note down what the agent answered when it was asked for a picture."""
        match said(answer):
            case Said.SAVED:
                assert answer
                self.photographed.add(answer["record"])
            case Said.NOTHING:
                self.unanswered += 1

    @property
    def acknowledged(self) -> int:
        """How many readings the agent called saved."""
        return len(self.records) + len(self.photographed)


def said(answer: dict[str, Any] | None) -> Said:
    """What an answer means. Only a full disk, and a device that is away, say «not saved»."""
    if answer is None:
        return Said.NOTHING
    if answer["ok"]:
        return Said.SAVED
    refusals = ("the disk is full", "takes no pictures", "no camera is sending", "camera went")
    aloud = any(each in answer["error"] for each in refusals)
    return Said.REFUSED if aloud else Said.NOTHING


@dataclass(frozen=True)
class Verdict:
    """`missing`: acknowledged and not at the centre as it was. `told`: what the unit has told the
    centre will never come. `lost`: more missing than told, or more told than flipped bits cost.
    `duplicates`: there twice, or there without ever having been taken. `unsettled`: what the unit
    itself still waits for."""

    acknowledged: int
    at_centre: int
    lost: int
    duplicates: int
    unsettled: int = 0
    missing: int = 0
    told: int = 0

    @property
    def clean(self) -> bool:
        """Whether everything is there exactly once, nothing else is, and the unit knows it."""
        return not (self.lost or self.duplicates or self.unsettled)


def judge(book: Book, folder: Path, unsettled: int = 0) -> Verdict:
    """Compare the book with what a centre's folder holds."""
    every = list(found(folder))
    by = {way: [each for each in every if each.by == way] for way in ("entered", CAMERA, STICK)}
    known = sum(map(len, by.values()))
    missing = _lost_entries(book, by["entered"]) + _lost_pictures(book, by[CAMERA])
    told = _told_lost(folder)
    return Verdict(
        acknowledged=book.acknowledged,
        at_centre=known,
        lost=unexcused(missing, told, book.flips),
        duplicates=_surplus_entries(book, by["entered"])
        + _surplus_pictures(book, by[CAMERA])
        + _surplus_imports(book, by[STICK])
        + sum(each.by == "stranger" for each in every)
        + _told_twice(folder, book.flips),
        unsettled=unsettled,
        missing=missing,
        told=told,
    )


def unexcused(missing: int, told: int, flips: int) -> int:
    """How many are missing that nobody was told of, or were told lost beyond what flips cost."""
    return max(missing, told) - min(told, flips * ROWS_OF_A_PAGE)


def found(folder: Path) -> Iterator[Found]:
    """Every record of a centre but what the agent has to tell of itself."""
    lines = [
        (record, json.loads(line, parse_float=str, parse_int=str))
        for _, record, line in report.lines(folder)
    ]
    blobs = {
        told["blob-lost"]["sha256"]: _GIVEN_UP for _, told in lines if told["kind"] == "blob-lost"
    } | {each.sha256: each.content_sha256 for each in report.blobs(folder) if each.complete}
    for record, told in lines:
        if told["context"].get("method", "agent") != "agent":
            yield _found(record, told, blobs)


def _found(record: str, told: dict[str, Any], blobs: dict[str, str]) -> Found:
    context = told["context"]
    reading = Reading(
        kind=told["kind"],
        values=tuple(_values(told["entries"])),
        box=context["box"] or "",
        raw=told["raw"]["sha256"],
        blobs=tuple(blobs.get(each["sha256"], "missing") for each in told["blobs"]),
    )
    device: str | None = (context["device"] or {}).get("name")
    if context["method"] == "manual" and str(context["actor"]).startswith(NAMELESS):
        return Found(record, "entered", context["actor"], reading)
    return Found(record, device if device in {CAMERA, STICK} else "stranger", device, reading)


def _values(entries: Iterable[dict[str, Any]]) -> Iterator[str]:
    for entry in entries:
        resource = entry["resource"]
        for part in (resource, *resource.get("component", ())):
            if "valueQuantity" in part:
                yield part["valueQuantity"]["value"]


def _lost_entries(book: Book, there: list[Found]) -> int:
    held = {(each.name, each.record, each.reading) for each in there}
    return sum(
        (name, record, book.entered[name]) not in held for name, record in book.records.items()
    )


def _surplus_entries(book: Book, there: list[Found]) -> int:
    copies = Counter(each.name for each in there)
    possible = {name for name, word in book.said.items() if word is not Said.REFUSED}
    return sum(count - 1 for count in copies.values()) + sum(
        each.name not in possible or each.reading != book.entered[each.name] for each in there
    )


def _sound(book: Book, each: Found) -> bool:
    """Whether it is one of the frames that the camera shows, and the picture made of it."""
    made = book.shown.get(each.reading.raw)
    return made is not None and each.reading.blobs == (made,)


def _lost_pictures(book: Book, there: list[Found]) -> int:
    held = {each.record for each in there if _sound(book, each)}
    return len(book.photographed - held)


def _surplus_pictures(book: Book, there: list[Found]) -> int:
    """Pictures twice, of no frame, or more of them than the asking can account for."""
    records = [each.record for each in there]
    strange = [each for each in there if not (_sound(book, each) or _given_up(each))]
    unknown = len(set(records) - book.photographed) - book.unanswered
    return len(records) - len(set(records)) + len(strange) + max(0, unknown)


def _surplus_imports(book: Book, there: list[Found]) -> int:
    """A stick tells its pictures again at every start: each is one reading for ever."""
    copies = Counter(each.reading.raw for each in there)
    return sum(count - 1 for count in copies.values()) + sum(
        each.reading.raw not in book.on_stick
        or not (each.reading.blobs == (each.reading.raw,) or _given_up(each))
        for each in there
    )


def _given_up(each: Found) -> bool:
    """Whether its picture is one that the unit has told it has lost."""
    return _GIVEN_UP in each.reading.blobs


def _told_lost(folder: Path) -> int:
    """How many records and blobs the unit has told will never come."""
    (unit,) = report.status(folder).units
    return sum(lane.lost for lane in unit.lanes) + unit.blobs_lost


def digest(content: bytes) -> str:
    """The hash by which bytes are known here, in hex."""
    return hashlib.sha256(content).hexdigest()


def _told_twice(folder: Path, flips: int) -> int:
    """How many entries of the centre's log say a record that another one says already.

    After a salvage the new epoch says again what no receipt had settled in the old one, and a
    stick tells what is still on its way out of the damaged database: then only what no stick
    tells counts, and in one epoch.
    """
    said = "FROM entries JOIN lanes ON lanes.id = lane_id WHERE outcome = 'taken'"
    each = "record_id"
    if flips:
        each = "epoch || record_id"
        said += " AND record_id NOT IN (SELECT value FROM json_each(?))"
    sticks = json.dumps([each.record for each in found(folder) if each.by == STICK])
    uri = f"{(folder / 'central.db').absolute().as_uri()}?mode=ro"
    with closing(sqlite3.connect(uri, uri=True)) as connection:
        (surplus,) = connection.execute(
            f"SELECT count(*) - count(DISTINCT {each}) {said}",
            (sticks,) if flips else (),
        ).fetchone()
    return int(surplus)
