"""Do by hand what a start and its salvage do, on a unit that is stopped."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from agent.damage import opening, settle
from agent.damage.salvage import Salvor
from agent.store import holes
from agent.store.store import Store, take

if TYPE_CHECKING:
    from pathlib import Path

    from agent.damage.fsck import Health
    from agent.store.connection import Connection
    from sync.contract.hello import Origin


async def repair(
    folder: Path, key: str, unit: str, origin: Origin, destination: str, found: Health
) -> int:
    """Set aside and salvage where the file is damaged; give up what is unsound on sound pages.

    Returns how many records, pictures and recordings are lost by it. Raises as Store.open does,
    and StoreFull: then it can be run again, and goes on.
    """
    if found.broken is not None:
        _set_aside(folder, key, unit, origin, found.broken)
    store = Store.open(folder, key, unit, origin)
    try:
        before = _lost(store)
        await Salvor(store, destination).run()
        await store.writer.write(lambda connection: _mend(connection, destination, origin, found))
        return _lost(store) - before + len(found.unsound) + len(found.torn)
    finally:
        store.close()


def _lost(store: Store) -> int:
    row = store.reader.execute("SELECT coalesce(sum(lost + blobs_lost), 0) FROM salvage").fetchone()
    return int(row[0])


def _set_aside(folder: Path, key: str, unit: str, origin: str, why: str) -> None:
    lock = take(folder)
    try:
        opening.clear_way(folder, key, unit, origin, known=why)
    finally:
        os.close(lock)


def _mend(connection: Connection, destination: str, origin: Origin, found: Health) -> None:
    (epoch,) = connection.execute("SELECT epoch FROM unit").fetchone()
    for place in found.unsound:
        if place[0] == epoch:
            holes.give_up(connection, destination, origin, place)
    for sha256 in found.torn:
        settle.give_up_blob(connection, origin, sha256)
    connection.execute(
        "UPDATE blob SET refs = counted FROM (SELECT b.sha256 AS name, count(r.seq) AS counted "
        "FROM blob AS b LEFT JOIN record_blob AS r USING (sha256) GROUP BY b.sha256) "
        "WHERE sha256 = name AND refs <> counted"
    )
