"""Salvage: every row of the intact pages, each once, under whatever was hit."""

from __future__ import annotations

import asyncio
import json
import shutil
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from agent.consultations import open_boxes, open_consultation
from agent.damage import btree, salvage, settle
from agent.damage.care import scrub
from agent.damage.cipher import PAGE
from agent.damage.examine import suspect
from agent.damage.image import Image
from agent.damage.logfile import STEP
from agent.damage.salvage import Salvor
from agent.damage.tables import tables
from agent.damage.territory import Territory
from agent.errors import StoreDamaged, StoreFull
from agent.store.bindings import Binding, bind, bindings, release
from agent.store.connection import FILE, open_reader
from agent.store.figures import figures
from agent.store.frames import undecoded
from agent.store.keys import load_key
from agent.store.listing import pending
from agent.store.outbox import StoreOutbox
from drivers.base import RawFrame

from .damage import Delivery, flip_page, ignore, pages_of, told
from .damage import salvage as salvaged
from .truck import CUFF, STAMP, as_it_is, capture, open_store, tells_a_value

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from agent.store.store import Store

RECORDS = 60


@pytest.fixture(scope="module")
def truck(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return asyncio.run(_make(tmp_path_factory.mktemp("salvage") / "state"))


async def _make(folder: Path) -> Path:
    store = open_store(folder)
    for n in range(RECORDS):
        blobs = (b"picture %d" % n * 2_000,) if n % 10 == 0 else ()
        await store.record(capture(b"%d" % n, repeatable=True, blobs=blobs))
    await store.keep(RawFrame("2A1C", b"never decoded"), CUFF, "1", STAMP)
    number = await store.keep(RawFrame("2A1C", b"odd"), CUFF, "1", STAMP)
    await store.conclude(number, "quarantined", "too short")
    for name in ("a", "b"):
        box = Binding(f"ble:{name}", "blood-pressure", name, "1", f"F{name}", "tester")
        await store.writer.write(partial(bind, binding=box))
    await store.writer.write(lambda c: release(c, "b", "tester"))
    await store.writer.write(lambda c: open_consultation(c, "1", "patient", "nurse"))
    store.close()
    return folder


@pytest.fixture
def state(truck: Path, tmp_path: Path) -> Path:
    as_it_is(truck, tmp_path / "state")
    return tmp_path / "state"


def damaged(state: Path, *numbers: int) -> Store:
    """Flip a bit on each of these pages, and start as if a run had stumbled over them."""
    for number in numbers:
        flip_page(state, number)
    suspect(state)
    return open_store(state)


def records(store: Store) -> dict[str, bytes]:
    return dict(store.reader.execute("SELECT record_id, line FROM record WHERE lane = 'clinical'"))


def before(state: Path) -> dict[str, dict[str, Any]]:
    """Each table of a healthy folder, as SQLite reads it."""
    with closing(open_reader(state, load_key(state))) as reader:
        return {name: _rows(reader, name) for name in tables(reader)}


def _rows(reader: Any, table: str) -> dict[str, Any]:
    cursor = reader.execute(f"SELECT * FROM {table}")
    names = [each[0] for each in cursor.description]
    return {str(row): dict(zip(names, row, strict=True)) for row in cursor.fetchall()}


def test_page_scan_reads_every_row_of_every_table_as_sqlite_does(truck: Path) -> None:
    expected = before(truck)
    with Image(truck, load_key(truck)) as image:
        with closing(open_reader(truck, load_key(truck))) as reader:
            known = tables(reader)
        territory = Territory(image, known, {})
        for name in known:
            found = [
                {key: each.row.get(key) for key in expected[name][next(iter(expected[name]))]}
                for page, sure in territory.pages(name)
                for each in territory.rows(name, page, sure=sure)
            ]
            assert {str(tuple(row.values())) for row in found} == set(expected[name])
            assert len(found) == len(expected[name])
        assert (territory.bad, territory.torn) == ([], 0)


def test_t05_flipped_bit_costs_exactly_the_records_of_its_page(truck: Path, tmp_path: Path) -> None:
    """Each page in turn: lost are the records that begin or go on there, and no other."""
    key = load_key(truck)
    with closing(open_reader(truck, key)) as reader:
        known = {"record": tables(reader)["record"]}
        every = {row[0] for row in reader.execute("SELECT record_id FROM record")}
        roots = dict(reader.execute("SELECT name, rootpage FROM sqlite_master WHERE rootpage > 0"))
    touching = _touching(truck, key)
    state = tmp_path / "flipped"
    state.mkdir()
    shutil.copy(truck / FILE, state / FILE)
    costly = 0
    pages = (state / FILE).stat().st_size // 4096
    for number in range(1, pages + 1):
        flip_page(state, number)
        with Image(state, key) as image:
            territory = Territory(image, known, roots)
            found = {
                each.row["record_id"]
                for page, sure in territory.pages("record")
                for each in territory.rows("record", page, sure=sure)
            }
        flip_page(state, number)
        assert every - found == touching.get(number, set()), f"page {number}"
        costly += number in touching
    assert costly > 10
    assert pages > 1.5 * costly, "many pages hold other things, and cost nothing"


def _touching(folder: Path, key: str) -> dict[int, set[str]]:
    """The records that need a page, by page."""
    found: dict[int, set[str]] = {}
    with Image(folder, key) as image:
        for number in pages_of(folder, "record"):
            page = image.page(number)
            assert page is not None
            for cell in btree.cells(number, page.content):
                needed = [number]

                def read(at: int, needed: list[int] = needed) -> bytes | None:
                    needed.append(at)
                    there = image.page(at)
                    return there.content if there else None

                record = str(btree.values(btree.payload(cell, read))[3])
                for each in needed:
                    found.setdefault(each, set()).add(record)
    return found


async def test_t05_salvaged_records_go_on_in_a_new_epoch_and_the_hole_is_told(state: Path) -> None:
    """C-4.8: the old epoch is closed with exactly what is lost of it."""
    lost_page = pages_of(state, "record")[3]
    lost = _touching(state, load_key(state))[lost_page]
    every = before(state)["record"].values()
    seqs = sorted(each["seq"] for each in every if each["record_id"] in lost)
    old = next(iter(every))["epoch"]
    store = damaged(state, lost_page)
    try:
        found = await salvaged(store)
        kept = {each["record_id"]: each["line"] for each in every if each["record_id"] not in lost}
        assert records(store) == kept
        assert (found["records"], found["lost"], found["pages_bad"]) == (
            len(kept),
            len(lost),
            1,
        )
        (closed,) = told(store, "epoch-closed")
        assert {key: closed[key] for key in ("epoch", "lane", "through")} == {
            "epoch": old,
            "lane": "clinical",
            "through": RECORDS,
        }
        assert [seq for a, b in closed["lost"] for seq in range(a, b + 1)] == seqs
        order = [
            row[0]
            for row in store.reader.execute(
                "SELECT record_id FROM record WHERE lane = 'clinical' ORDER BY seq"
            )
        ]
        assert order == [each["record_id"] for each in every if each["record_id"] in kept]
        (alarm,) = figures(store.reader, "centre")["alarms"]
        assert f"{len(kept)} records recovered, {len(lost)} lost" in alarm["detail"]
    finally:
        store.close()


async def test_whatever_is_beside_the_records_is_salvaged_and_no_patient_is_guessed(
    state: Path,
) -> None:
    store = damaged(state, 1, 2)  # the schema, and what says which page belongs where
    try:
        await salvaged(store)
        assert len(records(store)) == RECORDS
        assert [each.content for each in undecoded(store.reader)] == [b"never decoded"]
        frames = dict(store.reader.execute("SELECT coalesce(outcome, ''), content FROM frame"))
        assert frames == {"": b"never decoded", "quarantined": b"odd"}
        assert [each.name for each in bindings(store.reader)] == ["a"]
        assert open_boxes(store.reader) == [], "whose box it is, a person says anew"
        whole = store.reader.execute("SELECT count(*), sum(closed IS NOT NULL) FROM consultation")
        assert whole.fetchone() == (1, 1)
        assert store.reader.execute("SELECT count(*) FROM raw").fetchone() == (RECORDS,)
        assert store.reader.execute("SELECT count(*) FROM tray").fetchone() == (RECORDS,)
        blobs = store.reader.execute("SELECT size, refs FROM blob").fetchall()
        assert [refs for _, refs in blobs] == [1] * (RECORDS // 10)
        assert settle.torn_blobs(store.reader) == []
    finally:
        store.close()


async def test_device_that_tells_its_memory_again_doubles_nothing_and_fills_the_hole(
    state: Path,
) -> None:
    lost_page = pages_of(state, "record")[5]
    lost = _touching(state, load_key(state))[lost_page]
    store = damaged(state, lost_page)
    try:
        await salvaged(store)
        new = [
            (await store.record(capture(b"%d" % n, repeatable=True))).new for n in range(RECORDS)
        ]
        assert sum(new) == len(lost), "what was lost is taken again, and nothing else"
        assert len(records(store)) == RECORDS
    finally:
        store.close()


async def test_nothing_is_lost_doubled_or_sent_in_vain_at_the_real_centre(
    state: Path, tmp_path: Path
) -> None:
    """C-9.2, C-9.12: part of it was delivered before, part was not, part is lost."""
    centre = Delivery(tmp_path / "centre")
    store = open_store(state)
    await centre.drain(store, most=2)
    at_first = centre.lines()
    every = records(store)
    store.close()
    assert 0 < len(at_first) < RECORDS
    page = pages_of(state, "record")[-2]
    lost = _touching(state, load_key(state))[page]
    store = damaged(state, page)
    try:
        await salvaged(store)
        sent_again = store.reader.execute(
            "SELECT count(*) FROM record JOIN unit USING (epoch) WHERE lane = 'clinical'"
        ).fetchone()[0]
        assert sent_again == RECORDS - len(at_first) - len(lost - set(at_first))
        await centre.drain(store)
        at_centre = {key: line for key, line in centre.lines().items() if key in every}
        assert at_centre == {key: every[key] for key in every if key not in lost - set(at_first)}
        assert pending(store.reader, "centre", 99) == []
        found = figures(store.reader, "centre")
        assert found["pending"] == 0
        assert found["confirmed"] == len(centre.lines())
    finally:
        store.close()
        centre.close()


async def test_t06_damage_at_the_head_of_the_queue_blocks_nobody(
    state: Path, tmp_path: Path
) -> None:
    """It is met by whoever reads for the link; the next start delivers all that is readable."""
    centre = Delivery(tmp_path / "centre")
    page = pages_of(state, "record")[0]
    lost = _touching(state, load_key(state))[page]
    flip_page(state, page)
    store = open_store(state)
    with pytest.raises(StoreDamaged, match="malformed"):
        await centre.drain(store)
    suspect(state)
    store.close()
    store = open_store(state)
    try:
        await salvaged(store)
        await centre.drain(store)
        assert len(set(centre.lines()) - lost) == RECORDS - len(lost) + 1
        assert figures(store.reader, "centre")["pending"] == 0
    finally:
        store.close()
        centre.close()


async def test_picture_whose_bytes_are_gone_is_told_and_waited_for_by_nobody(
    state: Path, tmp_path: Path
) -> None:
    """C-4.10."""
    centre = Delivery(tmp_path / "centre")
    page = pages_of(state, "chunk")[0]
    store = damaged(state, page)
    try:
        found = await salvaged(store)
        assert found["blobs_lost"] >= 1
        gone = [each["sha256"] for each in told(store, "blob-lost")]
        assert len(gone) == found["blobs_lost"]
        assert len(records(store)) == RECORDS
        await centre.drain(store)
        assert figures(store.reader, "centre")["pending"] == 0
        assert len(centre.lines()) == RECORDS + 1 + len(gone)
    finally:
        store.close()
        centre.close()


async def test_picture_that_the_centre_has_is_not_waited_for_after_a_second_damage(
    state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database that was set aside first knows its records at the centre, no picture of them."""
    centre = Delivery(tmp_path / "centre")
    store = open_store(state)
    with monkeypatch.context() as links_too_short:
        links_too_short.setattr(StoreOutbox, "_blobs", lambda _: [])
        await centre.drain(store)
    assert figures(store.reader, "centre")["blobs_pending"] > 0
    store.close()
    try:
        for _ in range(2):
            store = damaged(state, pages_of(state, "identity")[0])
            try:
                await salvaged(store)
                await centre.drain(store)
                assert figures(store.reader, "centre")["blobs_pending"] == 0
            finally:
                store.close()
    finally:
        centre.close()


async def test_salvage_that_is_cut_goes_on_and_doubles_nothing(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """T07."""
    monkeypatch.setattr(salvage, "_ROWS", 7)
    page = pages_of(state, "record")[3]
    lost = _touching(state, load_key(state))[page]
    store = damaged(state, page)
    cuts = 0
    while store.reader.execute("SELECT finished FROM salvage").fetchone() == (None,):
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(store.writer, "write", _failing(store, 2 + cuts % 3))
            try:
                await Salvor(store, "centre", ignore).run()
            except _Cut:
                cuts += 1
        store.close()
        store = open_store(state)
    try:
        assert cuts > 5
        assert len(records(store)) == RECORDS - len(lost)
        assert store.reader.execute("SELECT count(*) FROM frame").fetchone() == (2,)
        found = figures(store.reader, "centre")
        assert found["damage"][0]["lost"] == len(lost)
        assert found["lanes"]["clinical"]["last"] == RECORDS - len(lost)
    finally:
        store.close()


class _Cut(Exception):  # noqa: N818 - the power fails
    """The power fails here."""


def _failing(store: Store, after: int) -> Any:
    real, left = store.writer.write, [after]

    async def write(job: Any) -> Any:
        left[0] -= 1
        if left[0] < 0:
            raise _Cut
        return await real(job)

    return write


async def test_full_disk_postpones_the_salvage_and_ends_nothing(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(salvage, "_FULL_PAUSE", 0.01)
    store = damaged(state, pages_of(state, "record")[3])
    real, full = store.writer.write, [5]

    async def write(job: Any) -> Any:
        full[0] -= 1
        if 0 <= full[0] < 3:
            raise StoreFull("full")
        return await real(job)

    monkeypatch.setattr(store.writer, "write", write)
    try:
        found = await salvaged(store)
        assert found["finished"] is not None
        assert found["records"] == len(records(store))
    finally:
        store.close()


async def test_saves_go_on_while_it_is_salvaged(state: Path) -> None:
    store = damaged(state, pages_of(state, "record")[3])
    heard: list[str] = []

    async def told(table: str, frames: Sequence[int]) -> None:
        heard.append(table)
        assert (table != "frame") or len(frames) == 1
        await store.record(capture(b"meanwhile %d" % len(heard)))

    try:
        await Salvor(store, "centre", told).run()
        assert heard.index("binding") < heard.index("frame") < heard.index("record")
        found = figures(store.reader, "centre")
        kept = found["damage"][0]["records"]
        assert found["lanes"]["clinical"]["last"] == kept + len(heard)
    finally:
        store.close()


async def test_damage_upon_damage_recovers_from_both(state: Path) -> None:
    """What the second database lost, the first may still hold; nothing comes twice."""
    every = before(state)["record"].values()
    store = damaged(state, 1)
    await salvaged(store)
    store.close()
    store = damaged(state, *pages_of(state, "record")[2:6])
    try:
        await salvaged(store)
        found = records(store)
        assert found == {each["record_id"]: each["line"] for each in every}
        assert store.reader.execute(
            "SELECT count(*) FROM record JOIN unit USING (epoch) WHERE lane = 'clinical'"
        ).fetchone() == (RECORDS,)
    finally:
        store.close()


async def test_commit_that_a_power_cut_left_unfinished_hides_nothing_that_came_later(
    state: Path, tmp_path: Path
) -> None:
    """Its pages are sound and lie behind the end of the log: older than they look."""
    store = open_store(state)
    await store.record(capture(b"first life"))
    before = as_it_is(state, tmp_path / "before")
    await store.record_all([capture(b"never said to be saved %d" % n) for n in range(40)])
    cut = as_it_is(state, tmp_path / "cut")
    store.close()
    tear_first_frame_after(before, cut)
    store = open_store(cut)
    stored = await store.record(capture(b"second life"))
    killed = as_it_is(cut, tmp_path / "killed")
    store.close()
    store = damaged(killed, pages_of(killed, "record")[0])
    try:
        await salvaged(store)
        assert str(stored.record_id) in records(store)
    finally:
        store.close()


def tear_first_frame_after(before: Path, cut: Path) -> None:
    """Leave of the last commit all but its first frame, and nothing of the index, as a power cut
    may. `before` is the folder without that commit."""
    with Image(before, load_key(before)) as image:
        offset = image.log.frames[-1].offset + PAGE
    with (cut / f"{FILE}-wal").open("r+b") as log:
        log.seek(offset)
        log.write(bytes(STEP))
    (cut / f"{FILE}-shm").unlink()


async def test_scrub_finds_a_bad_page_and_none_where_there_is_none(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.damage.care._PAUSE", 0)
    monkeypatch.setattr("agent.damage.care._BETWEEN", 0)
    store = open_store(state)
    try:
        await scrub(store)
        flip_page(state, pages_of(state, "raw")[0])
        with pytest.raises(StoreDamaged, match="1 pages of the database can't be read"):
            await scrub(store)
    finally:
        store.close()


async def test_scrub_passes_over_a_page_that_the_log_holds_anew(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.damage.care._PAUSE", 0)
    monkeypatch.setattr("agent.damage.care._BETWEEN", 0)
    store = open_store(state)
    try:
        await store.record(capture(b"into the log"))
        with Image(state, store.key) as image:
            renewed = {each.page for each in image.log.frames if each.page <= image.file_pages}
        assert renewed
        for number in renewed:
            flip_page(state, number)
        await scrub(store)
    finally:
        store.close()


@pytest.fixture(autouse=True)
def _no_patient_in_words(
    state: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> Iterator[None]:
    """Whatever is said of damage holds no value and no name."""
    yield
    said = capsys.readouterr()
    for text in (said.out, said.err, caplog.text, *_words(state)):
        assert not tells_a_value(text)
        assert "patient" not in text


def _words(state: Path) -> list[str]:
    return [path.read_text("utf-8") for path in state.rglob("*.json")]


def test_epoch_closed_names_no_more_ranges_than_a_record_holds(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C-4.8: several records of one epoch and lane say it together."""
    monkeypatch.setattr(settle, "_RANGES_MAX", 2)
    store = open_store(state)
    try:
        ranges = tuple((n, n) for n in range(1, 10, 2))
        hole = {("2b7e9a54-0f38-4c9b-8d9e-52a0f1f1c0de", "clinical"): (9, ranges)}
        asyncio.run(store.writer.write(lambda c: settle.tell(c, "centre", store.origin, hole)))
        said = told(store, "epoch-closed")
        assert [len(each["lost"]) for each in said] == [2, 2, 1]
        assert json.dumps(said).count("clinical") == 3
    finally:
        store.close()
