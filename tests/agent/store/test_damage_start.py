"""A damaged database at the start: set aside untouched, a fresh one begun, nothing mistaken."""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import struct
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sqlcipher3 import dbapi2 as sqlite

from agent.damage import care, examine, opening, quarantine, witness
from agent.damage.cipher import PAGE, PageKey
from agent.errors import StoreBroken, StoreDamaged
from agent.store.connection import FILE
from agent.store.figures import figures
from agent.store.keys import load_key
from agent.store.store import Store
from drivers.base import RawFrame

from .damage import flip_bit, flip_page, pages_of, salvage
from .truck import CUFF, STAMP, UNIT, as_it_is, capture, open_store

if TYPE_CHECKING:
    from collections.abc import Callable

RECORDS = 40
_HEAD, _FRAME, _STEP = 32, 24, 24 + PAGE
CEILING = 5.0
"""Seconds in which a unit with a damaged database must run (issue 4, 7)."""


@pytest.fixture(scope="module")
def trucks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A folder that was closed orderly, and the same one as a kill leaves it."""
    return asyncio.run(_make(tmp_path_factory.mktemp("trucks")))


async def _make(top: Path) -> dict[str, Path]:
    store = open_store(top / "closed")
    for n in range(RECORDS // 2):
        await store.record(capture(b"%d" % n, repeatable=True, blobs=(b"p%d" % n * 30_000,)))
    await store.writer.write(lambda c: c.execute("SELECT 1"))
    store.close()
    store = open_store(top / "closed")
    for n in range(RECORDS // 2, RECORDS):
        await store.record(capture(b"%d" % n, repeatable=True))
    await store.keep(RawFrame("2A1C", b"undecoded"), CUFF, "1", STAMP)
    as_it_is(top / "closed", top / "killed")
    store.close()
    return {name: top / name for name in ("closed", "killed")}


@pytest.fixture
def state(trucks: dict[str, Path], tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A copy of one of them: `killed`, unless the test asks for another."""
    name = getattr(request, "param", "killed")
    as_it_is(trucks[name], tmp_path / "state")
    return tmp_path / "state"


def zero_head(state: Path) -> None:
    with (state / FILE).open("r+b") as file:
        file.write(bytes(PAGE))
    (state / f"{FILE}-wal").unlink(missing_ok=True)  # else it holds the head anew


def zero_all(state: Path) -> None:
    for name in (FILE, f"{FILE}-wal"):
        if (state / name).exists():
            (state / name).write_bytes(bytes((state / name).stat().st_size))


def garbage_log(state: Path) -> None:
    wal = state / f"{FILE}-wal"
    wal.write_bytes(secrets.token_bytes(wal.stat().st_size))


def frames(state: Path) -> int:
    return ((state / f"{FILE}-wal").stat().st_size - _HEAD) // _STEP


def cut_log(parts: float) -> Callable[[Path], None]:
    def cut(state: Path) -> None:
        os.truncate(state / f"{FILE}-wal", int(frames(state) * parts) * _STEP + _HEAD)

    return cut


def flip_frame(place: float) -> Callable[[Path], None]:
    def flip(state: Path) -> None:
        at = int(frames(state) * place) * _STEP + _HEAD
        flip_bit(state / f"{FILE}-wal", at + _FRAME + 100)

    return flip


def cut_file(state: Path) -> None:
    os.truncate(state / FILE, (state / FILE).stat().st_size // PAGE // 2 * PAGE)


HURT: dict[str, Callable[[Path], None]] = {
    "head zeroed": zero_head,
    "everything zeroed": zero_all,
    "log garbage": garbage_log,
    "log's head garbage": lambda state: flip_bit(state / f"{FILE}-wal", 0),
    "bit flipped in the log's salt": lambda state: flip_bit(state / f"{FILE}-wal", 17),
    "bit flipped in the log's checksum": lambda state: flip_bit(state / f"{FILE}-wal", 31),
    "log gone": lambda state: (state / f"{FILE}-wal").unlink(),
    "log empty": cut_log(0),
    "log cut in half": cut_log(0.5),
    "bit flipped early in the log": flip_frame(0.1),
    "bit flipped in the last commit": flip_frame(0.999),
    "file missing": lambda state: (state / FILE).unlink(),
    "file empty": lambda state: os.truncate(state / FILE, 0),
    "file cut in half": cut_file,
}


@pytest.mark.parametrize("hurt", HURT)
async def test_t04_t12_damaged_database_is_set_aside_and_a_fresh_one_begun(
    state: Path, hurt: str
) -> None:
    HURT[hurt](state)
    original = content(state)
    begun = time.monotonic()
    store = open_store(state)
    took = time.monotonic() - begun
    try:
        assert took < CEILING
        assert content(state / "damaged" / "1") == original
        (damage,) = figures(store.reader, "centre")["damage"]
        assert damage["reason"]
        (alarm,) = figures(store.reader, "centre")["alarms"]
        assert alarm["code"] == "database-damaged"
        assert (await store.record(capture(b"the first on the fresh one"))).new
    finally:
        store.close()
    again = open_store(state)
    assert len(figures(again.reader, "centre")["damage"]) == 1, "once is enough"
    again.close()


def content(folder: Path) -> dict[str, bytes]:
    """What of a database lies in a folder; the index of its log and an empty log are nothing."""
    found = {each.name: each.read_bytes() for each in folder.iterdir() if each.is_file()}
    named = {name: found[name] for name in found if name.startswith(FILE)}
    return {name: named[name] for name in named if named[name] and not name.endswith("-shm")}


@pytest.mark.parametrize("state", ["closed", "killed"], indirect=True)
async def test_healthy_database_is_left_alone(state: Path) -> None:
    store = open_store(state)
    assert figures(store.reader, "centre")["saved"] == RECORDS
    store.close()
    assert not (state / "damaged").exists()


@pytest.mark.parametrize(
    "hurt",
    [
        "bit flipped early in the log",
        "bit flipped in the log's salt",
        "log's head garbage",
        "log cut in half",
    ],
)
async def test_log_is_judged_without_its_index_too(state: Path, hurt: str) -> None:
    """After a reboot the index proves nothing: then the frames themselves, or the figures do."""
    (state / f"{FILE}-shm").unlink()
    epoch = witness.read(state)
    assert epoch is not None
    HURT[hurt](state)
    told = f'{{"store": {{"epoch": "{epoch.epoch}", "lanes": {{"clinical": {{"last": 40}}}}}}}}'
    (state / "status.json").write_text(told)
    store = open_store(state)
    assert len(figures(store.reader, "centre")["damage"]) == 1
    found = await salvage(store)
    assert found["records"] + found["lost"] == RECORDS
    store.close()


async def test_torn_last_commit_is_a_power_cut_and_no_damage(state: Path) -> None:
    (state / f"{FILE}-shm").unlink()
    wal = state / f"{FILE}-wal"
    os.truncate(wal, wal.stat().st_size - 10)
    flip_bit(wal, (frames(state) - 1) * _STEP + _HEAD + 500)
    store = open_store(state)
    assert figures(store.reader, "centre")["damage"] == []
    assert figures(store.reader, "centre")["saved"] in {RECORDS, RECORDS - 1}
    store.close()


async def test_log_that_was_copied_whole_may_lose_its_head(state: Path) -> None:
    """A power cut while the log begins anew leaves such a head: everything is in the file."""
    connection = sqlite.connect(str(state / FILE), isolation_level=None)
    connection.execute(f"PRAGMA key = \"x'{load_key(state)}'\"")
    connection.execute("PRAGMA wal_checkpoint(FULL)")
    shutil.copytree(state, state.with_name("cut"), ignore=shutil.ignore_patterns("lock", "*-shm"))
    connection.close()
    flip_bit(state.with_name("cut") / f"{FILE}-wal", 1)
    store = open_store(state.with_name("cut"))
    assert figures(store.reader, "centre")["damage"] == []
    assert figures(store.reader, "centre")["saved"] == RECORDS
    store.close()


@pytest.mark.parametrize("hurt", [None, "head zeroed", "everything zeroed", "file cut in half"])
def test_wrong_key_is_an_error_and_never_taken_for_damage(state: Path, hurt: str | None) -> None:
    """T04."""
    if hurt:
        HURT[hurt](state)
    before = content(state)
    wrong = secrets.token_hex(48)
    with pytest.raises(StoreBroken, match="with this key"):
        Store.open(state, wrong, UNIT, "simulated")
    assert content(state) == before
    assert not (state / "damaged").exists()


@pytest.mark.parametrize("hurt", ["witness gone", "witness flipped"])
async def test_zeroed_head_is_told_from_a_wrong_key_without_the_witness(
    state: Path, hurt: str
) -> None:
    if hurt == "witness gone":
        (state / witness.NAME).unlink()
    else:
        flip_bit(state / witness.NAME, 12)
    zero_head(state)
    wrong = secrets.token_hex(48)
    with pytest.raises(StoreBroken, match="with this key"):
        Store.open(state, wrong, UNIT, "simulated")
    store = open_store(state)
    found = await salvage(store)
    assert found["records"] >= RECORDS // 2
    store.close()


def test_damaged_database_of_another_unit_is_refused_and_left(state: Path) -> None:
    zero_head(state)
    before = content(state)
    with pytest.raises(StoreBroken, match=r"belongs to unit test-01 \(simulated\)"):
        Store.open(state, load_key(state), "other", "simulated")
    assert content(state) == before


@pytest.mark.parametrize("state", ["closed"], indirect=True)
def test_full_or_failing_disk_is_no_damage(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Failing(sqlite.OperationalError):  # type: ignore[misc] # sqlcipher3 carries no types
        sqlite_errorcode = sqlite.SQLITE_IOERR

    def fail(*_: object) -> None:
        raise Failing("disk I/O error")

    monkeypatch.setattr(examine, "open_reader", fail)
    before = content(state)
    with pytest.raises((StoreBroken, sqlite.Error)) as caught:
        open_store(state)
    assert not isinstance(caught.value, StoreDamaged)
    assert content(state) == before
    assert not (state / "damaged").exists()


@pytest.mark.parametrize("state", ["closed", "killed"], indirect=True)
def test_start_looks_at_few_pages_however_many_there_are(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[int] = []
    sound = PageKey.sound

    def counted(self: PageKey, number: int, page: bytes) -> bool:
        looked.append(number)
        return sound(self, number, page)

    monkeypatch.setattr(PageKey, "sound", counted)
    open_store(state).close()
    assert len(looked) < 20
    assert (state / FILE).stat().st_size // PAGE > 200


def append_frame(state: Path, page: int, commit: int, content: bytes) -> None:
    """Write a frame of the same generation behind what there is, without its checksum."""
    log = state / f"{FILE}-wal"
    with log.open("r+b") as file:
        file.seek(_HEAD + 8)
        salts = file.read(8)
        file.seek((log.stat().st_size - _HEAD) // _STEP * _STEP + _HEAD)
        file.write(struct.pack(">II", page, commit) + salts + bytes(8) + content)


@pytest.mark.parametrize("index", [True, False])
def test_commit_that_a_power_cut_left_with_its_last_page_alone_is_no_damage(
    state: Path, *, index: bool
) -> None:
    """Met by the harness of the power cuts, once in a hundred; SQLite reads none of it."""
    if not index:
        (state / f"{FILE}-shm").unlink()
    pages = (state / FILE).stat().st_size // PAGE
    for number in (1, 2, 3):
        append_frame(state, pages + 50 + number, 0, secrets.token_bytes(PAGE))
    append_frame(state, pages + 54, pages + 54, secrets.token_bytes(PAGE))
    store = open_store(state)
    try:
        assert figures(store.reader, "centre")["saved"] == RECORDS
        asyncio.run(care.scrub(store))
    finally:
        store.close()
    assert not (state / "damaged").exists()


async def test_two_power_cuts_with_an_unfinished_commit_each_are_no_damage(
    state: Path, tmp_path: Path
) -> None:
    """What the first left behind the end of the log must not count at the second."""
    pages = (state / FILE).stat().st_size // PAGE
    for _ in range(60):  # more than the next life writes over
        append_frame(state, pages + 50, 0, secrets.token_bytes(PAGE))
    append_frame(state, pages + 50, pages + 50, secrets.token_bytes(PAGE))
    store = open_store(state)
    await store.record(capture(b"second life"))
    state = as_it_is(state, tmp_path / "cut")
    store.close()
    for _ in range(3):
        append_frame(state, pages + 50, 0, secrets.token_bytes(PAGE))
    append_frame(state, pages + 50, pages + 50, secrets.token_bytes(PAGE))
    store = open_store(state)
    try:
        assert figures(store.reader, "centre")["saved"] == RECORDS + 1
    finally:
        store.close()
    assert not (state / "damaged").exists()


STEPS = [(Path, "rename"), (Path, "mkdir"), (quarantine, "write_durably"), (quarantine, "_move")]
STEPS += [(quarantine, "sync_folder"), (quarantine, "_fresh")]


class Cut(BaseException):
    """The power fails here."""


def cut_at(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Stop before the nth of the steps that change something."""
    left = [step]

    def watch(owner: Any, name: str) -> None:
        real = getattr(owner, name)

        def called(*arguments: Any, **named: Any) -> Any:
            left[0] -= 1
            if left[0] < 0:
                raise Cut
            return real(*arguments, **named)

        monkeypatch.setattr(owner, name, called)

    for owner, name in STEPS:
        watch(owner, name)


def test_t07_cut_between_every_two_steps_of_setting_aside(
    trucks: dict[str, Path], tmp_path: Path
) -> None:
    step, ended = 0, False
    while not ended:
        state = tmp_path / str(step)
        as_it_is(trucks["killed"], state)
        flip_frame(0.1)(state)
        original = content(state)
        with pytest.MonkeyPatch.context() as patched:
            cut_at(patched, step)
            try:
                opening.clear_way(state, load_key(state), UNIT, "simulated")
                ended = True
            except Cut:
                pass
        store = open_store(state)
        (damage,) = figures(store.reader, "centre")["damage"]
        assert content(state / "damaged" / damage["place"]) == original, f"cut before step {step}"
        store.close()
        step += 1
    assert step > 10


@pytest.mark.parametrize("state", ["closed"], indirect=True)
async def test_t12_second_damage_does_not_touch_what_the_first_left(state: Path) -> None:
    originals = []
    for number in (1, 2, 3):
        zero_head(state)
        originals.append(content(state))
        store = open_store(state)
        await store.record(capture(b"between %d" % number))
        store.close()
    found = [content(state / "damaged" / str(number)) for number in (1, 2, 3)]
    assert found == originals


@pytest.mark.parametrize("state", ["closed"], indirect=True)
def test_what_a_run_stumbled_over_is_looked_for_at_the_next_start(state: Path) -> None:
    flip_page(state, pages_of(state, "record")[1])
    open_store(state).close()
    assert not (state / "damaged").exists(), "no start reads every page"
    examine.suspect(state)
    store = open_store(state)
    assert len(figures(store.reader, "centre")["damage"]) == 1
    store.close()


@pytest.mark.parametrize("state", ["closed"], indirect=True)
def test_suspicion_without_a_damaged_page_counts_only_the_second_time(state: Path) -> None:
    examine.suspect(state)
    open_store(state).close()
    assert not (state / "damaged").exists()
    examine.suspect(state)
    open_store(state).close()
    assert (state / "damaged" / "1" / FILE).exists()
    assert not (state / examine.SUSPICION).exists()
