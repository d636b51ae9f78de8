"""The verdict: both databases opened and compared record by record, byte by byte.

Nothing here trusts a counter of the program: the unit's log, the centre's tables and the files
the centre wrote are read for themselves, and every hash is computed anew.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlcipher3 import dbapi2 as sqlite

from agent.store.connection import open_reader
from agent.store.keys import load_key
from agent.store.listing import readings

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from agent.store.connection import Connection

Window = tuple[int, int]
"""From a cut to its end, in nanoseconds since boot."""
_ALL = 1_000_000
_RECORD_ID = 36
"""Characters of a record's id, which an exported file's name begins with."""


@dataclass(frozen=True, slots=True)
class Saved:
    """One record on the truck, as its database holds it."""

    record: str
    device: str
    sha256: str
    mono_ns: int
    tray: bool
    blobs: tuple[str, ...]
    said: tuple[str, bytes]
    timed: bool


@dataclass(frozen=True, slots=True)
class Comparison:
    """What the two databases say of each other."""

    devices: dict[str, int]
    offline: dict[str, int]
    saved: int
    confirmed: int
    at_centre: int
    lost: int
    duplicates: int
    tray: int

    @property
    def sound(self) -> bool:
        """Nothing lost, nothing doubled, everything confirmed, every device read offline."""
        whole = self.lost == 0 and self.duplicates == 0 and self.saved == self.confirmed
        return whole and self.at_centre == self.saved and all(self.offline.values())


def compare(
    truck: Path, centre: Path, files: Path, told: Mapping[str, int], cuts: Iterable[Window]
) -> Comparison:
    """Compare the truck's state folder, the centre's folder and its exported files.

    `told` counts what each simulated device has said; what it said and no record holds is lost.
    """
    saved, confirmed = _on_truck(truck)
    there, surplus = _at_centre(centre)
    written = _files(files)
    whole = [
        each
        for each in saved
        if there.get(each.record) == each.sha256
        and written.issuperset((each.record, blob) for blob in each.blobs)
    ]
    by_device = Counter(each.device for each in saved)
    unsaved = sum(max(0, count - by_device[name]) for name, count in told.items())
    windows = tuple(cuts)
    offline = Counter(
        each.device for each in saved if any(a <= each.mono_ns <= b for a, b in windows)
    )
    repeats = Counter(each.said for each in saved if each.timed)
    strangers = len(there.keys() - {each.record for each in saved})
    return Comparison(
        devices={name: by_device[name] for name in told},
        offline={name: offline[name] for name in told},
        saved=len(saved),
        confirmed=confirmed,
        at_centre=len(there) + surplus,
        lost=len(saved) - len(whole) + unsaved,
        duplicates=surplus + strangers + sum(count - 1 for count in repeats.values()),
        tray=sum(each.tray for each in saved),
    )


def _files(folder: Path) -> set[tuple[str, str]]:
    """The record that each exported file is named after, and the hash of its bytes."""
    return {
        (path.name[:_RECORD_ID], _hash(path.read_bytes()))
        for path in folder.rglob("*")
        if path.is_file()
    }


def _on_truck(folder: Path) -> tuple[list[Saved], int]:
    """Every record with its blobs' hashes as computed from their bytes, and how many confirmed."""
    with closing(open_reader(folder, load_key(folder))) as connection:
        content = _blobs(connection)
        rows = connection.execute(
            "SELECT r.record_id, r.line, r.mono_ns, t.record_id IS NOT NULL "
            "FROM record AS r LEFT JOIN tray AS t USING (record_id) "
            "WHERE r.kind <> 'clock-adjusted' ORDER BY r.lane, r.seq"
        )
        saved = [_saved(row, content) for row in rows]
        listed = readings(connection, "centre", _ALL)
    return saved, sum(each["where"] == "confirmed" for each in listed)


def _saved(row: tuple[str, bytes, int, int], content: Mapping[str, str]) -> Saved:
    record, line, mono_ns, tray = row
    said: dict[str, Any] = json.loads(line)
    device = said["context"]["device"]
    return Saved(
        record=record,
        device=device["name"],
        sha256=_hash(line),
        mono_ns=mono_ns,
        tray=bool(tray),
        blobs=tuple(content.get(each["sha256"], "missing") for each in said["blobs"]),
        said=(device["id"], bytes.fromhex(said["raw"]["sha256"])),
        timed=said["device_time"] is not None,
    )


def _blobs(connection: Connection) -> dict[str, str]:
    """The name of each blob, and the hash its bytes really have."""
    found: dict[str, Any] = {}
    for name, piece in connection.execute(
        "SELECT sha256, content FROM chunk ORDER BY sha256, offset"
    ):
        found.setdefault(bytes(name).hex(), hashlib.sha256()).update(piece)
    return {name: digest.hexdigest() for name, digest in found.items()}


def _at_centre(folder: Path) -> tuple[dict[str, str], int]:
    """Each record's hash, computed from its line; and how many entries tell one twice."""
    path = folder / "central.db"
    with closing(sqlite.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
        rows = connection.execute(
            "SELECT record_id, line FROM records WHERE kind <> 'clock-adjusted'"
        ).fetchall()
        entries = connection.execute(
            "SELECT count(*) - count(DISTINCT record_id) FROM entries WHERE outcome = 'taken'"
        ).fetchone()[0]
    return {record: _hash(line) for record, line in rows}, int(entries)


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
