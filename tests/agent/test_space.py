"""Room on the disk: the ballast, the thresholds, and a disk that is full and freed again (T09)."""

from __future__ import annotations

import os
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from agent import control, space, status_file
from agent.errors import StoreFull
from agent.space import Ballast, Room, Space, make_room_to_open
from agent.store.figures import figures
from agent.store.retention import Retention
from agent.verdict import Daemon, Level, judge
from drivers.base import RawFrame
from tests.agent.store.old_unit import OldUnit
from tests.agent.store.truck import CUFF, STAMP, capture, open_store
from tests.faults.disk import VolatileDisk, why_not

from .unit import CEILING, Unit, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from agent.store.store import Store

MIB = 1 << 20
with_fuse = pytest.mark.skipif(why_not() != "", reason=why_not())


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with closing(open_store(tmp_path / "state")) as opened:
        yield opened


@dataclass
class Disk:
    """What the file system says of itself."""

    free: int
    size: int = 8 << 30

    def of(self, _: Path) -> Room:
        return Room(self.free, self.size, 1000, 2000)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    made = Disk(4 << 30)
    monkeypatch.setattr(space.Room, "of", made.of)
    return made


# mypy takes an attribute for what it was when it was last looked at, but not what is asked.
def is_scarce(watched: Space) -> bool:
    return watched.scarce


def refuses(store: Store) -> bool:
    return store.refuses


def test_ballast_is_made_of_real_blocks_and_never_sparse(tmp_path: Path) -> None:
    ballast = Ballast(tmp_path, 3 * MIB)
    assert not ballast.held
    assert ballast.hold()
    found = (tmp_path / space.NAME).stat()
    assert found.st_size == 3 * MIB
    assert found.st_blocks * 512 >= 3 * MIB
    with (tmp_path / space.NAME).open("r+b") as file:
        file.truncate(0)
        file.truncate(3 * MIB)
    assert not ballast.held, "a hole of that length holds no room"
    assert ballast.hold()
    ballast.release()
    ballast.release()
    assert not ballast.held


def test_ballast_that_a_power_cut_left_half_made_is_made_anew(tmp_path: Path) -> None:
    (tmp_path / space.NAME).write_bytes(b"x" * MIB)
    ballast = Ballast(tmp_path, 3 * MIB)
    assert not ballast.held
    assert ballast.hold()


@pytest.mark.parametrize(
    ("size", "ballast"), [(64 << 30, 64 * MIB), (1 << 30, 64 * MIB), (256 * MIB, 16 * MIB)]
)
def test_ballast_of_a_small_disk_is_small(
    tmp_path: Path, disk: Disk, size: int, ballast: int
) -> None:
    disk.size = size
    assert Ballast(tmp_path).size == ballast


async def test_full_disk_releases_the_ballast_and_refuses_what_is_new(
    store: Store, disk: Disk
) -> None:
    watched = Space(store, Ballast(store.folder, 2 * MIB))
    await watched.look()
    assert watched.shown()["ballast"] == "held"
    assert not is_scarce(watched)
    disk.free = 100_000
    await watched.look()
    assert {key: watched.shown()[key] for key in ("ballast", "accepts")} == {
        "ballast": "released",
        "accepts": False,
    }
    assert is_scarce(watched)
    for refused in (
        store.record(capture(b"no")),
        store.record_all([capture(b"no"), capture(b"either")]),
        store.keep(RawFrame("x", b"no"), CUFF, "1", STAMP),
    ):
        with pytest.raises(StoreFull, match="the disk is full: nothing was saved just now"):
            await refused
    await store.outbox("centre").alarm("code", "what has to be settled still is")
    disk.free = 9 * MIB  # more than was released, but not the margin beyond it
    await watched.look()
    assert store.refuses
    disk.free = 10 * MIB
    await watched.look()
    assert watched.shown()["ballast"] == "held"
    assert (await store.record(capture(b"yes"))).new


async def test_write_that_the_disk_refused_releases_the_ballast_whatever_is_free(
    store: Store, disk: Disk
) -> None:
    """A quota fills up without the file system saying so."""
    watched = Space(store, Ballast(store.folder, 2 * MIB))
    await watched.look()
    pages = await store.writer.write(lambda c: c.execute("PRAGMA page_count").fetchone()[0])
    await store.writer.write(lambda c: c.execute(f"PRAGMA max_page_count = {pages}"))
    with pytest.raises(StoreFull):
        await store.record(capture(b"much", blobs=(os.urandom(300_000),)))
    await watched.look()
    assert refuses(store)
    await store.writer.write(lambda c: c.execute("PRAGMA max_page_count = 1000000"))
    await watched.look()
    assert not refuses(store)
    assert disk.free > 0


async def test_ballast_that_finds_no_room_leaves_the_store_closed(
    store: Store, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched = Space(store, Ballast(store.folder, 2 * MIB))
    disk.free = 0
    await watched.look()

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    disk.free = 4 << 30
    await watched.look()
    assert store.refuses
    assert not (store.folder / space.NAME).exists()


def test_full_disk_gives_up_its_ballast_before_the_store_is_opened(
    tmp_path: Path, disk: Disk
) -> None:
    make_room_to_open(tmp_path / "not born yet")
    Ballast(tmp_path).hold()
    make_room_to_open(tmp_path)
    assert (tmp_path / space.NAME).exists()
    disk.free = 0
    make_room_to_open(tmp_path)
    assert not (tmp_path / space.NAME).exists()


@with_fuse
async def test_disk_full_of_unconfirmed_readings_frees_itself_once_the_link_is_there() -> None:
    """T09, T10: receipts are settled and records let go of, and nobody deletes a file by hand."""
    with VolatileDisk() as fuse, closing(OldUnit(fuse.folder / "state")) as unit:
        watched = Space(unit.store, Ballast(unit.folder, 3 * MIB))
        fuse.tell("room", 14 * MIB)
        await watched.look()
        assert watched.shown()["ballast"] == "held"
        saved = await fill(unit)
        await watched.look()
        assert watched.shown()["accepts"] is False
        assert figures(unit.store.reader, "centre")["pending"] == saved
        await unit.dismiss()
        await unit.settle()
        assert figures(unit.store.reader, "centre")["confirmed"] == saved
        await unit.note_backup(saved)
        retention = Retention(unit.store, "centre", 30, scarce=lambda: watched.scarce)
        assert (await retention.make_room()).records == saved
        await watched.look()
        assert watched.shown()["accepts"] is True
        assert (await unit.store.record(capture(b"again", blobs=(os.urandom(MIB),)))).new


async def fill(unit: OldUnit) -> int:
    """Save until the disk is full; how many were saved."""
    await unit.consult()
    for number in range(64):
        try:
            await unit.store.record(capture(b"%d" % number, blobs=(os.urandom(300_000),)))
        except StoreFull:
            return number
    raise AssertionError("the disk is too large")


@with_fuse
def test_full_disk_is_said_to_the_nurse_and_on_the_screen_and_heals_without_a_restart(
    tmp_path: Path,
) -> None:
    """T09 of the agent as it runs: refused aloud, the backlog whole, accepted again by itself."""
    with VolatileDisk() as fuse, Unit(fuse.folder / "unit") as unit:
        unit.log, unit.runtime = tmp_path / "agent.log", tmp_path / "run"
        unit.write("")
        unit.start()
        unit.until(lambda status: status["disk"]["ballast"] == "held", "the ballast")
        assert enter(unit)["ok"]
        fuse.tell("full")
        asked = refused = 0
        while not refused and asked < 5000:
            answer = enter(unit)
            refused += not answer["ok"]
            asked += answer["ok"]
        assert answer["error"] == "the disk is full: nothing was saved just now; free some space"
        shown = until(lambda: _closed(unit), "status.json to say so")
        verdict = judge(shown, 0.0, Daemon.RUNNING)
        assert verdict.level is Level.CRITICAL
        assert "the disk is full, readings are refused: free some space now" in verdict.line
        assert shown["disk"]["ballast"] == "released"
        fuse.tell("heal")
        unit.until(lambda status: status["disk"]["accepts"], "readings to be taken again")
        assert enter(unit)["ok"]
        found = unit.ask("status")["status"]
        assert found["store"]["saved"] == asked + 2
        assert found["disk"]["ballast"] == "held"


def enter(unit: Unit) -> dict[str, Any]:
    """Enter a reading by hand."""
    entry = {"do": "enter", "box": "1", "kind": "pulse", "value": "72", "actor": "nurse"}
    return control.ask(unit.runtime, entry, CEILING)


def _closed(unit: Unit) -> dict[str, Any] | None:
    """`status.json` of the full disk itself, once it tells of it."""
    try:
        shown, _ = status_file.read(unit.state)
    except (OSError, ValueError):
        return None
    return None if shown["disk"]["accepts"] else shown
