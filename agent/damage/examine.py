"""What a start finds out about the database before it is opened for writing.

It reads the beginning, the log and the ends of the lanes, never all pages: it is done in
milliseconds with a million records. The rest is for `agent.damage.scrub`, after the start.
"""

from __future__ import annotations

import json
import time
from contextlib import closing, suppress
from typing import TYPE_CHECKING

from agent.damage.image import Image
from agent.errors import StoreBroken, StoreDamaged
from agent.store import settling
from agent.store.connection import FILE, open_reader, translating
from agent.store.files import write_durably

if TYPE_CHECKING:
    from pathlib import Path

    from agent.damage.witness import Witness
    from agent.store.connection import Connection

SUSPICION = "suspicion.json"
_HOLDS = 2
"""So often stumbled over, damage needs no page to show for it."""
_STUMBLED = "the agent stumbled over a damaged page of the database"
_PATIENCE = 2.0
"""Seconds for which a start looks for the page that an earlier run stumbled over."""


def examine(folder: Path, key: str, witness: Witness | None) -> str | None:
    """Why the database is damaged, in a sentence; None where nothing speaks for it.

    Raises StoreBroken where it can't be told: another key, or a disk that fails.
    """
    if (folder / f"{FILE}-journal").exists():
        return None  # it is being born, and SQLite takes back what was cut
    with Image(folder, key, committed=True) as image:
        if image.count == 0 and witness is None and not image.log.all:
            return None  # a new folder
        _check_key(image, witness, key)
        return _gone(image) or _head(image) or _tail(image) or _inside(folder, key, image)


def known_last(folder: Path, epoch: str) -> dict[str, int]:
    """The last seq of each lane as `status.json` has told it: written after the commit."""
    try:
        said = json.loads((folder / "status.json").read_bytes())["store"]
        if said["epoch"] != epoch:
            return {}
        return {name: int(lane["last"]) for name, lane in said["lanes"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _check_key(image: Image, witness: Witness | None, key: str) -> None:
    """Raise StoreBroken unless something proves that this key is the right one."""
    if (witness is None or not witness.fits(key)) and not image.any_sound():
        raise StoreBroken(
            "nothing in the database can be read with this key: it is another unit's or an older "
            "one's key, or every page is damaged; put the right key in place"
        )


def _gone(image: Image) -> str | None:
    return "the database file is missing or empty" if image.file_pages == 0 else None


def _head(image: Image) -> str | None:
    return None if image.sound(1) else "the beginning of the database can't be read"


def _tail(image: Image) -> str | None:
    """What SQLite would silently leave out at the end of the file."""
    last = min(image.count, image.file_pages + len(image.log.all) + 1)
    beyond = range(image.file_pages + 1, last + 1)
    if any(not image.sound(each) and not image.unused(each) for each in beyond):
        return "the end of the database file is missing"
    return None


def _inside(folder: Path, key: str, image: Image) -> str | None:
    try:
        with closing(open_reader(folder, key)) as reader, translating():
            (_, frames, _) = reader.execute("PRAGMA wal_checkpoint(NOOP)").fetchone()
            if _shortened(image, frames):
                return "the end of the write-ahead log is damaged or missing"
            return _lanes(folder, reader)
    except StoreDamaged as damaged:
        return str(damaged)


def _shortened(image: Image, frames: int) -> bool:
    """Whether SQLite reads less of the log than was committed.

    A power cut leaves one unfinished commit at its end, and nothing behind that: the next one
    begins only after the one before was fsynced.
    """
    if frames < image.index_frames:
        return True
    if not image.log.whole:
        return any(
            image.log.page(each) != image.file_page(each.page)
            for each in {frame.page: frame for frame in image.log.frames}.values()
        )
    return sum(1 for each in image.log.all if each.commit and each.number > frames) > 1


def _lanes(folder: Path, reader: Connection) -> str | None:
    """Whether each lane ends with the record that it says it ends with."""
    if not reader.execute("SELECT 1 FROM sqlite_master WHERE name = 'unit'").fetchone():
        return None  # it is being born
    row = reader.execute("SELECT epoch FROM unit").fetchone()
    if row is None:
        return None
    said = known_last(folder, row[0])
    for lane, last, head in reader.execute(
        "SELECT lane, last, head FROM lane WHERE epoch = ?", row
    ).fetchall():
        if settling.hash_at(reader, row[0], lane, last) != head:
            return "a lane of the log does not end with its last record"
        if said.get(lane, 0) > last:
            return "the newest records of the log are missing"
    return None


def suspect(folder: Path) -> None:
    """Note for the next start that this run stumbled over damage; where the disk allows it."""
    said = {"times": _suspicion(folder) + 1}
    with suppress(OSError):
        write_durably(folder / SUSPICION, json.dumps(said).encode())


def confirmed(folder: Path, key: str) -> str | None:
    """Why the last run's suspicion holds; None where there was none, or nothing is found.

    One that comes back holds without a page to show: then the pages are sound and don't fit
    together.
    """
    times = _suspicion(folder)
    if times == 0:
        return None
    if times >= _HOLDS:
        return _STUMBLED
    until = time.monotonic() + _PATIENCE
    with Image(folder, key, committed=True) as image:
        for number in range(1, image.count + 1):
            late = time.monotonic() > until
            if late or (not image.sound(number) and not image.unused(number)):
                return _STUMBLED
    return None


def acquit(folder: Path) -> None:
    """Forget the suspicion: it was seen to, or the unit has run well since."""
    (folder / SUSPICION).unlink(missing_ok=True)


def _suspicion(folder: Path) -> int:
    try:
        return int(json.loads((folder / SUSPICION).read_bytes())["times"])
    except FileNotFoundError:
        return 0
    except (ValueError, KeyError, TypeError):
        return _HOLDS
