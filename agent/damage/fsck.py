"""Check a database whole, on a unit that is stopped: every page, and what stands on it."""

from __future__ import annotations

import hashlib
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from agent.damage import witness
from agent.damage.examine import examine
from agent.damage.image import Image
from agent.damage.settle import torn_blobs
from agent.errors import StoreDamaged
from agent.store.connection import open_reader, translating
from sync.contract.batch import link

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from agent.store.connection import Connection
    from agent.store.holes import Place

_LISTED = 20
"""How many problems of SQLite's own check are listed."""


@dataclass(slots=True)
class Health:
    """What was found. `pages` were read, `bad` can't be; `sound` and `unsound` are records.

    `broken` says why the file itself is damaged; `problems` are sentences for everything else.
    """

    pages: int = 0
    bad: list[int] = field(default_factory=list)
    sound: int = 0
    unsound: list[Place] = field(default_factory=list)
    blobs: int = 0
    torn: list[bytes] = field(default_factory=list)
    broken: str | None = None
    problems: list[str] = field(default_factory=list)

    @property
    def well(self) -> bool:
        """Whether nothing was found."""
        return not (self.broken or self.bad or self.unsound or self.torn or self.problems)

    def shown(self) -> dict[str, Any]:
        """As `--json` prints it; no patient data."""
        return {
            "verdict": "sound" if self.well else "damaged",
            "broken": self.broken,
            "pages": self.pages,
            "bad_pages": self.bad,
            "records_sound": self.sound,
            "records_unsound": [list(each) for each in self.unsound],
            "blobs": self.blobs,
            "blobs_torn": [each.hex() for each in self.torn],
            "problems": self.problems,
        }


def check(folder: Path, key: str) -> Health:
    """Read everything and change nothing; StoreBroken for another key or a failing disk."""
    seen = witness.read(folder)
    found = Health()
    found.broken = examine(folder, key, seen if seen and seen.fits(key) else None)
    with Image(folder, key, committed=True) as image:
        found.pages = image.count
        found.bad = list(image.bad())
    if found.bad and found.broken is None:
        found.broken = f"{len(found.bad)} pages can't be read"
    if found.pages and found.broken is None:
        _inside(folder, key, found)
    return found


def _inside(folder: Path, key: str, found: Health) -> None:
    """Everything that needs SQLite to read; each question on a connection of its own."""
    for ask in (_structure, _records, _raws, _blobs, _identities):
        try:
            with closing(open_reader(folder, key)) as reader, translating():
                ask(reader, found)
        except StoreDamaged as damaged:
            found.broken = str(damaged)
            return


def _structure(reader: Connection, found: Health) -> None:
    rows = reader.execute(f"PRAGMA integrity_check({_LISTED})").fetchall()
    if rows != [("ok",)]:
        found.broken = "; ".join(row[0] for row in rows)


def _records(reader: Connection, found: Health) -> None:
    """Each record against its hash, and each against the one before it."""
    before: tuple[Place, bytes] | None = None
    for place, prev_hash, line, own in _log(reader):
        sound = link(prev_hash, line) == own
        follows = before is None or not _adjoin(before[0], place) or before[1] == prev_hash
        if sound and follows:
            found.sound += 1
        else:
            found.unsound.append(place)
        before = (place, own)
    found.unsound += _missing(reader)


def _log(reader: Connection) -> Iterator[tuple[Place, bytes, bytes, bytes]]:
    """The log in order, without what was told as lost already."""
    for epoch, lane, seq, prev_hash, line, own in reader.execute(
        "SELECT epoch, lane, seq, prev_hash, line, hash FROM record AS r "
        "WHERE NOT EXISTS (SELECT 1 FROM exception AS x WHERE x.outcome = 'lost' "
        "AND x.epoch = r.epoch AND x.lane = r.lane AND x.seq = r.seq) ORDER BY epoch, lane, seq"
    ):
        yield (epoch, lane, seq), prev_hash, line, own


def _missing(reader: Connection) -> Iterator[Place]:
    """Places of the present epoch that hold no record, and should."""
    for epoch, lane, oldest, last in reader.execute(
        "SELECT epoch, lane, oldest, last FROM lane JOIN unit USING (epoch)"
    ).fetchall():
        rows = reader.execute(
            "SELECT seq FROM record WHERE epoch = ? AND lane = ? "
            "UNION SELECT seq FROM anchor WHERE epoch = ? AND lane = ?",
            (epoch, lane, epoch, lane),
        )
        there = {row[0] for row in rows}
        yield from ((epoch, lane, seq) for seq in range(oldest, last + 1) if seq not in there)


def _adjoin(one: Place, other: Place) -> bool:
    return one[:2] == other[:2] and one[2] + 1 == other[2]


def _raws(reader: Connection, found: Health) -> None:
    _count(reader, found, "raw bytes don't fit their hash", "SELECT sha256, content FROM raw")


def _count(reader: Connection, found: Health, words: str, sql: str) -> None:
    rows = reader.execute(sql)
    wrong = sum(hashlib.sha256(content).digest() != sha256 for sha256, content in rows)
    if wrong:
        found.problems.append(f"{wrong} {words}")


def _blobs(reader: Connection, found: Health) -> None:
    (found.blobs,) = reader.execute("SELECT count(*) FROM blob").fetchone()
    found.torn = torn_blobs(reader)
    _zero(
        reader,
        found,
        "blobs count their references wrongly",
        "SELECT count(*) FROM blob WHERE refs <> (SELECT count(*) FROM record_blob AS r "
        "WHERE r.sha256 = blob.sha256)",
    )


def _identities(reader: Connection, found: Health) -> None:
    _zero(
        reader,
        found,
        "records have no identity, or one of other bytes",
        "SELECT count(*) FROM record AS r LEFT JOIN identity AS i USING (record_id) "
        "WHERE i.record_id IS NULL OR i.raw_sha256 IS NOT r.raw_sha256",
    )


def _zero(reader: Connection, found: Health, words: str, sql: str) -> None:
    (wrong,) = reader.execute(sql).fetchone()
    if wrong:
        found.problems.append(f"{wrong} {words}")
