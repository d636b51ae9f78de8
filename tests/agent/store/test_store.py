"""The store: what is saved, in which order, and what a second opening finds."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import stat
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from sqlcipher3 import dbapi2 as sqlite
from sqlite_utils import Migrations

from agent.errors import (
    Conflict,
    KeyMissing,
    StoreBroken,
    StoreBusy,
    StoreClosed,
    StoreFull,
)
from agent.store import connection as opening
from agent.store import frames, schema
from agent.store.backlog import read_blob
from agent.store.figures import figures
from agent.store.keys import load_key, make_key
from agent.store.store import Store
from drivers.base import RawFrame
from sync.contract.batch import link
from sync.contract.fields import GENESIS, LANES

from .truck import CUFF, STAMP, UNIT, capture, open_store, power_cut

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator
    from pathlib import Path

    from sync.contract.hello import Origin


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(tmp_path / "state")
    yield opened
    opened.close()


def rows(store: Store, sql: str) -> list[tuple[Any, ...]]:
    return store.reader.execute(sql).fetchall()


async def test_saved_reading_survives_a_power_cut_right_after_record(tmp_path: Path) -> None:
    store = open_store(tmp_path / "a")
    stored = await store.record(capture(b"one"))
    again = power_cut(store, tmp_path / "b")
    try:
        assert rows(again, "SELECT record_id FROM record") == [(str(stored.record_id),)]
    finally:
        again.close()


async def test_record_returns_only_after_the_commit_was_synced(tmp_path: Path) -> None:
    """Promise 1: with the writer held before COMMIT, record() does not return."""
    store = open_store(tmp_path / "a")
    try:
        assert rows(store, "PRAGMA journal_mode") == [("wal",)]
        level = await store.writer.write(lambda c: c.execute("PRAGMA synchronous").fetchone()[0])
        assert level == 2, "synchronous must be FULL"
        held = asyncio.Event()
        release = asyncio.Event()
        loop = asyncio.get_running_loop()

        def hold(_: sqlite3.Connection) -> None:
            loop.call_soon_threadsafe(held.set)
            asyncio.run_coroutine_threadsafe(release.wait(), loop).result()

        blocked = asyncio.ensure_future(store.writer.write(hold))
        await held.wait()
        saving = asyncio.ensure_future(store.record(capture(b"one")))
        await asyncio.sleep(0.05)
        assert not saving.done()
        release.set()
        await blocked
        assert (await saving).new
    finally:
        store.close()


async def test_auto_vacuum_is_incremental_in_the_file_itself(store: Store) -> None:
    assert rows(store, "PRAGMA auto_vacuum") == [(2,)]


async def test_chain_links_every_record_of_a_lane_without_gaps(store: Store) -> None:
    for raw in (b"a", b"b", b"c"):
        await store.record(capture(raw))
    found = rows(store, "SELECT seq, prev_hash, hash, line FROM record ORDER BY seq")
    assert [row[0] for row in found] == [1, 2, 3]
    before = GENESIS
    for _, prev_hash, own, line in found:
        assert prev_hash == before
        assert own == link(before, line)
        before = own
    assert rows(store, "SELECT last, head FROM lane WHERE lane = 'clinical'") == [(3, before)]


async def test_every_lane_of_the_contract_is_born_with_the_epoch(store: Store) -> None:
    assert {row[0] for row in rows(store, "SELECT lane FROM lane")} == set(LANES)


async def test_cuff_that_sends_its_memory_again_changes_nothing(store: Store) -> None:
    """T42, T45."""
    first = await store.record(capture(b"timed", repeatable=True))
    second = await store.record(capture(b"timed", repeatable=True))
    assert first.new
    assert not second.new
    assert second.record_id == first.record_id
    assert rows(store, "SELECT count(*) FROM record") == [(1,)]


async def test_two_equal_readings_without_a_time_never_merge(store: Store) -> None:
    """T28."""
    first = await store.record(capture(b"same"))
    second = await store.record(capture(b"same"))
    assert first.record_id != second.record_id
    assert rows(store, "SELECT count(*) FROM record") == [(2,)]
    assert rows(store, "SELECT count(*) FROM raw") == [(1,)]


async def test_same_id_with_other_raw_bytes_is_a_conflict_and_quarantined(store: Store) -> None:
    stored = await store.record(capture(b"timed", repeatable=True))
    await store.writer.write(
        lambda c: c.execute(
            "UPDATE identity SET raw_sha256 = x'00' WHERE record_id = ?", (str(stored.record_id),)
        )
    )
    frame = await store.keep(RawFrame("2A35", b"timed"), CUFF, "1", STAMP)
    with pytest.raises(Conflict):
        await store.record(capture(b"timed", repeatable=True, frames=(frame,)))
    assert rows(store, "SELECT outcome FROM frame") == [("quarantined",)]
    assert rows(store, "SELECT count(*) FROM record") == [(1,)]


async def test_ids_outlive_the_records_they_name(store: Store) -> None:
    await store.record(capture(b"timed", repeatable=True))
    await store.writer.write(lambda c: c.execute("DELETE FROM record"))
    assert not (await store.record(capture(b"timed", repeatable=True))).new


async def test_reading_and_its_frame_are_settled_in_one_commit(store: Store) -> None:
    frame = await store.keep(RawFrame("2A1C", b"raw", "Cuff"), CUFF, "1", STAMP)
    (kept,) = frames.undecoded(store.reader)
    assert (kept.content, kept.name, kept.stamp) == (b"raw", "Cuff", STAMP)
    stored = await store.record(capture(b"raw", frames=(frame,)))
    assert frames.undecoded(store.reader) == []
    assert rows(store, "SELECT outcome, record_id FROM frame") == [
        ("recorded", str(stored.record_id))
    ]
    assert rows(store, "SELECT content FROM raw") == [(b"raw",)]


async def test_picture_commits_with_its_reading_and_is_counted_by_reference(store: Store) -> None:
    picture = os.urandom(200_000)
    await store.record(capture(b"one", blobs=(picture,)))
    await store.record(capture(b"two", blobs=(picture,)))
    sha256 = hashlib.sha256(picture).digest()
    assert rows(store, "SELECT sha256, size, refs FROM blob") == [(sha256, len(picture), 2)]
    assert read_blob(store.reader, sha256, 0, len(picture) - 1) == picture
    for first, last in ((0, 0), (65_535, 65_536), (131_000, 199_999), (70_000, 70_001)):
        assert read_blob(store.reader, sha256, first, last) == picture[first : last + 1]


async def test_picture_that_a_reading_names_twice_is_counted_once(store: Store) -> None:
    await store.record(capture(b"one", blobs=(b"picture", b"picture")))
    assert rows(store, "SELECT refs FROM blob") == [(1,)]


async def test_a_failing_job_undoes_itself_and_nobody_else(store: Store) -> None:
    def fail(connection: sqlite3.Connection) -> None:
        connection.execute("DELETE FROM record")
        raise ValueError("mine")

    results = await asyncio.gather(
        store.record(capture(b"a")),
        store.writer.write(fail),
        store.record(capture(b"b")),
        return_exceptions=True,
    )
    assert isinstance(results[1], ValueError)
    assert rows(store, "SELECT count(*) FROM record") == [(2,)]


async def test_many_callers_share_commits(store: Store) -> None:
    commits = 0

    def count(statement: str) -> None:
        nonlocal commits
        commits += statement == "COMMIT"

    await store.writer.write(lambda c: c.set_trace_callback(count))
    await asyncio.gather(*(store.record(capture(b"%d" % n)) for n in range(500)))
    assert commits < 250
    assert rows(store, "SELECT max(seq) FROM record") == [(500,)]


async def test_full_disk_is_refused_aloud_and_heals_without_a_restart(store: Store) -> None:
    """T09."""
    await store.record(capture(b"before"))
    pages = await store.writer.write(lambda c: c.execute("PRAGMA page_count").fetchone()[0])
    await store.writer.write(lambda c: c.execute(f"PRAGMA max_page_count = {pages}"))
    with pytest.raises(StoreFull, match="disk is full"):
        await store.record(capture(b"too much", blobs=(os.urandom(500_000),)))
    await store.writer.write(lambda c: c.execute("PRAGMA max_page_count = 1000000"))
    assert (await store.record(capture(b"after"))).new
    assert rows(store, "SELECT count(*) FROM record") == [(2,)]
    assert rows(store, "SELECT count(*) FROM blob") == [(0,)]


async def test_broken_disk_ends_the_writer_for_good(store: Store) -> None:
    """After a failed fsync nothing in memory can be trusted, so nothing more is accepted."""

    def fail(_: sqlite3.Connection) -> None:
        raise sqlite.OperationalError("disk I/O error")

    with pytest.raises(StoreBroken):
        await store.writer.write(fail)
    with pytest.raises(StoreBroken):
        await store.record(capture(b"after"))
    with pytest.raises(StoreBroken):
        await store.writer.answer()


async def test_closed_store_says_so(tmp_path: Path) -> None:
    store = open_store(tmp_path / "a")
    store.close()
    with pytest.raises(StoreClosed):
        await store.record(capture(b"late"))


async def test_close_finishes_what_is_queued(tmp_path: Path) -> None:
    store = open_store(tmp_path / "a")
    saving = [asyncio.ensure_future(store.record(capture(b"%d" % n))) for n in range(50)]
    await asyncio.sleep(0)
    store.close()
    assert all(each.new for each in await asyncio.gather(*saving))


def test_second_agent_on_the_same_folder_is_refused(tmp_path: Path) -> None:
    store = open_store(tmp_path / "a")
    try:
        with pytest.raises(StoreBusy, match="another agent"):
            open_store(tmp_path / "a")
    finally:
        store.close()
    open_store(tmp_path / "a").close()


@pytest.mark.parametrize(("unit", "origin"), [("other", "simulated"), (UNIT, "clinical")])
def test_folder_belongs_to_the_unit_and_origin_it_was_born_with(
    tmp_path: Path, unit: str, origin: Origin
) -> None:
    folder = tmp_path / "a"
    open_store(folder).close()
    with pytest.raises(StoreBroken, match="belongs to unit"):
        Store.open(folder, load_key(folder), unit, origin)


def test_disk_without_its_key_shows_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "a"
    store = open_store(folder)
    asyncio.run(store.record(capture(b"PATIENT-MARK", blobs=(b"PICTURE-MARK" * 100,))))
    store.close()
    stored = b"".join(path.read_bytes() for path in folder.glob("qafila.db*"))
    assert b"SQLite format" not in stored
    assert b"MARK" not in stored
    with pytest.raises(StoreBroken):
        Store.open(folder, "0" * 96, UNIT, "simulated")
    open_store(folder).close()


def test_newer_database_is_not_touched(tmp_path: Path) -> None:
    """T51: of a generation that this version can't work with."""
    folder = tmp_path / "a"
    open_store(folder).close()
    key = load_key(folder)
    with closing(opening.open_writer(folder, key)) as connection:
        connection.execute(f"PRAGMA user_version = {schema.GENERATION + 1}")
    with pytest.raises(StoreBroken, match="newer qafila"):
        open_store(folder)


async def test_backlog_is_readable_by_the_version_before_and_by_the_one_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """T51: whichever `current` points to after a power cut in an update, or on the way back."""
    folder = tmp_path / "a"
    migrations = schema.store._migrations
    before = Migrations("qafila")
    before._migrations = migrations[:-1]
    saved = 0
    for version in (before, schema.store, before, schema.store):
        monkeypatch.setattr(schema, "store", version)
        with closing(open_store(folder)) as store:
            rows = store.reader.execute("SELECT count(*) FROM record").fetchone()[0]
            assert rows == saved
            blob = b"picture %d" % saved
            await store.record(capture(b"reading %d" % saved, blobs=(blob,), box=None))
            saved += 1
    with closing(open_store(folder)) as store:
        assert store.reader.execute("SELECT count(*) FROM blob_due").fetchone()[0] == saved
        assert figures(store.reader, "centre")["tray"] == saved


def test_old_sqlite_with_the_wal_reset_fault_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_key(tmp_path)
    monkeypatch.setattr(sqlite, "sqlite_version_info", (3, 46, 1))
    with pytest.raises(StoreBroken, match="corrupt"):
        open_store(tmp_path)


def test_readers_can_not_write(tmp_path: Path) -> None:
    store = open_store(tmp_path / "a")
    try:
        with pytest.raises(sqlite.OperationalError, match="readonly"):
            store.reader.execute("DELETE FROM unit")
    finally:
        store.close()


class TestKey:
    def test_made_key_is_for_its_owner_only(self, tmp_path: Path) -> None:
        path = make_key(tmp_path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o400
        assert len(load_key(tmp_path)) == 96

    def test_key_is_made_once(self, tmp_path: Path) -> None:
        make_key(tmp_path)
        with pytest.raises(FileExistsError):
            make_key(tmp_path)

    def test_missing_key_names_the_remedy(self, tmp_path: Path) -> None:
        with pytest.raises(KeyMissing, match="qafila init"):
            load_key(tmp_path)

    def test_key_that_others_can_read_is_refused(self, tmp_path: Path) -> None:
        make_key(tmp_path).chmod(0o444)
        with pytest.raises(KeyMissing, match="chmod 0400"):
            load_key(tmp_path)

    @pytest.mark.parametrize("text", ["", "secret", "0" * 95, "g" * 96])
    def test_text_that_can_not_be_a_key_is_refused(self, tmp_path: Path, text: str) -> None:
        path = make_key(tmp_path)
        path.chmod(0o600)
        path.write_text(text)
        path.chmod(0o400)
        with pytest.raises(KeyMissing, match="96 hexadecimal"):
            load_key(tmp_path)

    def test_credential_of_systemd_comes_first(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        make_key(tmp_path)
        sealed = tmp_path / "credentials"
        sealed.mkdir()
        (sealed / "store.key").write_text("ab" * 48)
        monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(sealed))
        assert load_key(tmp_path) == "ab" * 48


async def test_record_line_is_kept_as_the_bytes_that_travel(store: Store) -> None:
    await store.record(capture(b"raw"))
    ((line,),) = rows(store, "SELECT line FROM record")
    assert b'"value":36.0' in line, "the device's digits are information"
    said = json.loads(line)
    assert said["raw"]["sha256"] == hashlib.sha256(b"raw").hexdigest()
    (entry,) = said["entries"]
    assert "subject" not in entry["resource"]
    assert "profile" not in entry["resource"].get("meta", {})


async def test_first_migration_carries_what_can_not_be_added_later(store: Store) -> None:
    columns = {row[1] for row in rows(store, "PRAGMA table_info(record)")}
    context = {
        "boot", "mono_ns", "wall", "clock", "box", "consultation", "actor", "origin",
        "driver", "driver_version", "prev_hash", "hash", "raw_sha256",
    }  # fmt: skip
    assert context <= columns
    tables = {row[0] for row in rows(store, "SELECT name FROM sqlite_master")}
    assert {"epoch", "anchor", "watermark", "exception", "frame", "chunk", "blob"} <= tables


def test_readers_key_is_needed_too(tmp_path: Path) -> None:
    folder = tmp_path / "a"
    open_store(folder).close()
    with pytest.raises(StoreBroken):
        opening.open_reader(folder, "1" * 96)
    with closing(opening.open_reader(folder, load_key(folder))) as reader:
        assert reader.execute("SELECT name FROM unit").fetchone() == (UNIT,)
