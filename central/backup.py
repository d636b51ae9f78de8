"""Copies of a centre that keep its promises: units are told what a copy holds, and of a return."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from central.errors import Misconfigured
from central.files import sync_folder
from central.store import connect, open_store, reading

if TYPE_CHECKING:
    from pathlib import Path

_HELD = """
SELECT unit, epoch, lane, min(through, coalesce((
    SELECT min(e.seq) - 1 FROM entries AS e
    JOIN record_blobs AS r ON r.unit = lanes.unit AND r.record_id = e.record_id
    JOIN blobs AS b ON b.unit = r.unit AND b.sha256 = r.sha256
    WHERE e.lane_id = lanes.id AND b.complete = 0
), through)) FROM lanes
"""
"""How far each lane is whole: a record whose picture was still on its way is not in the copy."""


def back_up(folder: Path, target: Path) -> None:
    """Copy the database while it is in use, then tell units what the copy holds.

    Units keep what no copy holds. Misconfigured where `target` exists.
    """
    try:
        target.touch(mode=0o600, exist_ok=False)
    except OSError as error:
        raise Misconfigured(
            f"{target} can't be made ({error.strerror})", "give a new file name in a folder"
        ) from None
    with reading(folder) as source, closing(connect(target)) as copy:
        source.backup(copy)
        copy.execute("PRAGMA journal_mode = DELETE")
        lanes = copy.execute(_HELD).fetchall()
    sync_folder(target.parent)
    with closing(open_store(folder)) as store, store.transaction():
        for unit, epoch, lane, through in lanes:
            store.log.note_backup(store.log.lane(unit, epoch, lane), through)


def declare_restored(folder: Path) -> str:
    """Give the centre a new central epoch after its database came back from a copy."""
    with closing(open_store(folder)) as store:
        with store.transaction():
            store.begin_epoch()
        return store.central_epoch
