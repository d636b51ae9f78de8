"""Promise 1: what `record()` returned for is on disk, whatever is cut next (T01 to T03, T52).

The disk is FUSE's: nothing is durable before fsync, and of the rest a random part is kept.
"""

from __future__ import annotations

import asyncio
import random
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from agent.clock import now
from agent.errors import StoreBroken, StoreFull
from agent.store import schema
from tests.faults.disk import VolatileDisk, why_not
from tests.faults.feed import take_reading, written
from tests.faults.power import Base, Ledger, Outcome, cut_often, cut_once, examine, judge
from tests.faults.scribe import Code, State, learn_migration, open_scribe, record_some
from tests.faults.volatile import PAGE, Disk

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from agent.store.store import Store

pytestmark = pytest.mark.timeout(400)
with_power = pytest.mark.skipif(why_not() != "", reason=why_not())
LYING = "lie"


@pytest.fixture(scope="module")
def settled_unit(tmp_path_factory: pytest.TempPathFactory) -> Base:
    """A unit that has been in use for a while."""
    folder = tmp_path_factory.mktemp("unit") / "state"

    async def fill(store: Store) -> None:
        chance = random.Random(0)
        for turn in range(40):
            await record_some(store, chance, f"before-{turn}")

    with closing(open_scribe(folder)) as store:
        asyncio.run(fill(store))
    return Base(folder, tuple(each for each, _ in examine(folder)))


@pytest.fixture
def knows_migration() -> Iterator[None]:
    """Know the migration that the scribe makes, as the next version of the program would."""
    migrations = list(schema.store._migrations)
    learn_migration()
    yield
    schema.store._migrations = migrations


def held(outcomes: list[Outcome]) -> None:
    """Every cut was clean, and together they were about something."""
    assert [each for each in outcomes if not each.clean] == []
    assert sum(each.acknowledged for each in outcomes) > 0


@with_power
@pytest.mark.parametrize("state", [State.IDLE, State.INGESTING, State.DRAINING, State.PURGING])
def test_power_cut_loses_nothing_that_was_acknowledged(state: State) -> None:
    """T01, T02, T03, T07."""
    held([cut_once(0, state), *cut_often(1, state, cuts=5)])


@with_power
def test_power_cut_while_the_store_is_born_leaves_a_folder_that_starts() -> None:
    """T52."""
    held([cut_once(seed, State.BORN, at=1 + 200 * seed) for seed in range(5)])


@with_power
@pytest.mark.usefixtures("knows_migration")
def test_power_cut_in_a_migration_loses_no_row_and_the_migration_resumes(
    settled_unit: Base,
) -> None:
    """T52."""
    outcomes = [
        cut_once(seed, State.MIGRATING, base=settled_unit, at=30 + 35 * seed) for seed in range(4)
    ]
    held(outcomes)
    assert min(each.acknowledged for each in outcomes) >= 160


@with_power
@pytest.mark.usefixtures("knows_migration")
def test_harness_catches_a_migration_in_pieces(settled_unit: Base) -> None:
    code = Code.MIGRATES_IN_PIECES
    outcomes = [
        cut_once(seed, State.MIGRATING, code, base=settled_unit, at=30 + 35 * seed)
        for seed in range(3)
    ]
    assert any(each.broken for each in outcomes)


@with_power
@pytest.mark.parametrize("code", [Code.SYNCHRONOUS_NORMAL, Code.SAYS_SO_BEFORE_COMMIT])
def test_harness_catches_the_mutant(code: Code, settled_unit: Base) -> None:
    """T02."""
    outcomes = [cut_once(0, State.INGESTING, code, base=settled_unit)]
    outcomes += cut_often(1, State.INGESTING, 5, code, settled_unit)
    assert sum(each.lost for each in outcomes) > 0


@with_power
def test_harness_catches_a_purge_of_what_is_pending() -> None:
    """T07."""
    outcome = cut_once(1, State.PURGING, Code.PURGES_WHAT_IS_PENDING, at=5000)
    assert outcome.lost > 0


@with_power
def test_harness_catches_a_disk_whose_fsync_lies(settled_unit: Base) -> None:
    outcome = cut_once(1, State.INGESTING, Code.AS_IT_IS, LYING, base=settled_unit, at=2000)
    assert outcome.lost or outcome.broken


@with_power
async def test_full_disk_is_said_aloud_and_freed_space_is_used_without_a_restart() -> None:
    """T09."""
    with VolatileDisk() as disk:
        folder, ledger, chance = disk.folder / "state", Ledger(), random.Random(1)
        store = open_scribe(folder)
        await keep(store, ledger, chance, "before")
        disk.tell("full")
        refused = 0
        for number in range(200):
            try:
                await keep(store, ledger, chance, f"full-{number}")
            except StoreFull:
                refused += 1
        assert refused > 0
        disk.tell("heal")
        await keep(store, ledger, chance, "after")
        store.close()
        disk.cut(1)
        outcome = judge(disk.backing / "state", ledger, State.INGESTING, 1)
        assert outcome.clean, outcome
        assert outcome.acknowledged == len(examine(disk.backing / "state"))


@with_power
async def test_failed_fsync_acknowledges_nothing_and_ends_the_store() -> None:
    with VolatileDisk() as disk:
        folder, ledger, chance = disk.folder / "state", Ledger(), random.Random(2)
        store = open_scribe(folder)
        await keep(store, ledger, chance, "before")
        disk.tell("fail", "fsync", "EIO")
        for number in range(3):
            with pytest.raises(StoreBroken):
                await keep(store, ledger, chance, f"unsynced-{number}")
        disk.tell("heal")  # what was not written stays unwritten: only a new process may go on
        with pytest.raises(StoreBroken):
            await keep(store, ledger, chance, "after")
        store.close()
        disk.cut(2)
        outcome = judge(disk.backing / "state", ledger, State.INGESTING, 2)
        assert outcome.clean, outcome
        assert outcome.acknowledged == 1


@with_power
async def test_restart_after_a_failed_fsync_does_not_build_on_what_was_never_written(
    tmp_path: Path,
) -> None:
    with VolatileDisk() as disk:
        folder, ledger, chance = disk.folder / "state", Ledger(), random.Random(3)
        store = open_scribe(folder)
        await keep(store, ledger, chance, "before")
        disk.tell("fail", "fsync", "EIO")
        with pytest.raises(StoreBroken):
            await keep(store, ledger, chance, "unsynced")
        store.close()
        disk.tell("heal")
        store = open_scribe(folder)
        for number in range(10):
            await keep(store, ledger, chance, f"after-{number}")
        for seed in range(4):
            image = tmp_path / str(seed)
            image.mkdir()
            disk.tell("image", image, seed)
            outcome = judge(image / "state", ledger, State.INGESTING, seed)
            assert outcome.clean, outcome
        store.close()


async def keep(store: Store, ledger: Ledger, chance: random.Random, name: str) -> None:
    """Record, and note it in the ledger once `record()` has returned."""
    capture = take_reading(name, chance, now(), "simulated")
    await store.record(capture)
    ledger.acknowledged.append(written(capture))


def after_cut(disk: Disk, seed: int) -> dict[str, bytes]:
    """Path and content of what the next boot finds."""
    return {path: content for path, content, *_ in disk.cut(random.Random(seed))}


def test_disk_keeps_what_was_synced_whatever_the_seed() -> None:
    for seed in range(50):
        disk = Disk({}, set())
        disk.create("/a", 0o600)
        disk.names["/a"].write(b"x" * 3 * PAGE, 0)
        disk.names["/a"].sync()
        disk.sync_folder("/")
        disk.names["/a"].write(b"y" * PAGE, PAGE)
        content = after_cut(disk, seed)["/a"]
        assert content[:PAGE] + content[2 * PAGE :] == b"x" * 2 * PAGE


def test_disk_keeps_a_random_part_of_what_was_not_synced() -> None:
    seen = set()
    for seed in range(200):
        disk = Disk({"/a": (b"x" * 2 * PAGE, 0o600)}, set())
        disk.names["/a"].write(b"y" * 2 * PAGE, 0)
        seen.add(bytes(after_cut(disk, seed)["/a"][::PAGE]))
    assert seen == {b"xx", b"xy", b"yx", b"yy"}


def test_disk_may_forget_a_name_whose_folder_was_not_synced() -> None:
    found = set()
    for seed in range(50):
        disk = Disk({"/old": (b"o", 0o600)}, set())
        disk.create("/new", 0o600)
        disk.names["/new"].write(b"n", 0)
        disk.names["/new"].sync()
        disk.remove("/old")
        found.add(frozenset(after_cut(disk, seed)))
    assert len(found) == 4


def test_disk_loses_the_pages_of_a_failed_fsync_for_good() -> None:
    disk = Disk({"/a": (b"x" * PAGE, 0o600)}, set())
    disk.names["/a"].write(b"y" * PAGE, 0)
    disk.names["/a"].forget()
    disk.names["/a"].sync()
    assert after_cut(disk, 1)["/a"] == b"x" * PAGE
