"""Damaged databases, set aside: each in a folder of its own, by renaming, and never removed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from agent.clock import now, utc_text
from agent.damage import witness
from agent.store.connection import FILE
from agent.store.files import write_durably
from agent.store.keys import sync_folder

if TYPE_CHECKING:
    from pathlib import Path

FOLDER = "damaged"
_BEGUN, _DONE = "begun.json", "why.json"


class Why(msgspec.Struct, frozen=True):
    """Why and when (UTC) a database was set aside; `last` are seqs by lane it surely had."""

    reason: str
    found: str
    last: dict[str, int] = {}


def set_aside(folder: Path, why: Why) -> Path:
    """Move the database and all that belongs to it away, untouched; give its new folder.

    It can be cut anywhere: `finish` goes on at the next start, before anything is opened.
    """
    place = _fresh(folder)
    write_durably(place / _BEGUN, msgspec.json.encode(why))
    _move(folder, place)
    return place


def finish(folder: Path) -> None:
    """Bring to its end what a crash has cut, so that a database and its log stay together."""
    for begun in sorted((folder / FOLDER).glob(f"*/{_BEGUN}")):
        _move(folder, begun.parent)


def places(folder: Path) -> dict[str, Why]:
    """Every database set aside, by the name of its folder, oldest first."""
    found = {path.parent.name: path for path in (folder / FOLDER).glob(f"*/{_DONE}")}
    return {
        name: msgspec.json.decode(found[name].read_bytes(), type=Why)
        for name in sorted(found, key=int)
    }


def moment() -> str:
    """Now, as `Why.found` has it."""
    return utc_text(now().wall)


def _move(folder: Path, place: Path) -> None:
    for each in sorted(folder.iterdir()):
        if each.name.startswith(FILE) or each.name == witness.NAME:
            each.rename(place / each.name)
    sync_folder(place)
    sync_folder(folder)
    (place / _BEGUN).rename(place / _DONE)
    sync_folder(place)


def _fresh(folder: Path) -> Path:
    """A folder that nothing lies in yet; a number that was used is never used again."""
    top = folder / FOLDER
    top.mkdir(mode=0o700, exist_ok=True)
    used = [int(each.name) for each in top.iterdir() if each.name.isdigit()]
    place = top / str(max(used, default=0) + 1)
    place.mkdir(mode=0o700)
    sync_folder(top)
    sync_folder(folder)
    return place
