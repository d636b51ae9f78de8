"""What a reading costs, and whether the file gets smaller: T10, T11 and T16, scaled down."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from agent.errors import StoreFull
from agent.store.connection import FILE

from .old_unit import OldUnit
from .truck import capture

if TYPE_CHECKING:
    from collections.abc import Iterator

TURNS = 30
PER_READING = 112 << 10
"""Bytes written to files for one reading that is saved alone, checkpoints included."""


@pytest.fixture
def unit(tmp_path: Path) -> Iterator[OldUnit]:
    with closing(OldUnit(tmp_path / "state")) as made:
        yield made


def size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob(f"{FILE}*") if path.suffix != ".db-shm")


async def fill(unit: OldUnit, readings: int, picture: int) -> None:
    await unit.consult()
    for part in range(readings // 20):
        await unit.store.record_all(
            [
                capture(b"%d-%d" % (part, n), blobs=(os.urandom(picture),) if n % 5 == 0 else ())
                for n in range(20)
            ]
        )
    await unit.dismiss()


async def test_file_shrinks_after_the_drain_of_a_large_backlog(unit: OldUnit) -> None:
    """T11: once it has aged out, below 1.2 of what is alive, and of what never was more."""
    await fill(unit, 400, 60_000)
    full = size(unit.folder)
    await unit.settle()
    await unit.record(*(b"young %d" % n for n in range(50)))
    await unit.grow_old()
    left = size(unit.folder)
    reader = unit.store.reader
    pages, empty = (
        reader.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count")
    )
    assert left < 1.2 * (pages - empty) * 4096
    assert left < full / 8
    assert (unit.folder / f"{FILE}-wal").stat().st_size < full / 8


async def test_full_quota_is_never_seen_while_more_is_drained_than_comes(unit: OldUnit) -> None:
    """T10: what is settled and backed up makes room at once; only what waits takes any."""
    assert await taken(unit, make_room=True) == TURNS
    assert await taken(unit, make_room=False) < TURNS, "the quota is too large to show anything"


async def taken(unit: OldUnit, *, make_room: bool) -> int:
    """Record more than the quota holds, draining all the while; how many times that went well."""
    quota = 700
    await unit.store.writer.write(lambda c: c.execute(f"PRAGMA max_page_count = {quota}"))
    for turn in range(TURNS):
        await unit.consult()
        try:
            await unit.record(b"%d" % turn, blobs=(os.urandom(150_000),))
        except StoreFull:
            return turn
        finally:
            await unit.dismiss()
        await unit.settle()
        await unit.note_backup(turn + 1)
        pages = unit.store.reader.execute("PRAGMA page_count").fetchone()[0]
        if make_room and pages > quota // 2:
            unit.scarce = 1
            await unit.retention().make_room()
    return TURNS


async def test_reading_costs_no_more_bytes_than_its_bound(unit: OldUnit) -> None:
    """T16: counted by the kernel as this process writes them, checkpoints included."""
    await unit.consult()
    readings, before = 400, written()
    for number in range(readings):
        await unit.record(b"%d" % number)
    assert 0 < (written() - before) / readings < PER_READING


def written() -> int:
    """Bytes that this process has handed to write calls."""
    lines = Path("/proc/self/io").read_text("ascii").splitlines()
    return int(dict(line.split(": ") for line in lines)["wchar"])
