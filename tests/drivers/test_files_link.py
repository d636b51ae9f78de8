"""Folders as devices: every file once, hostile media bounded, nothing followed, nothing changed."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import threading
from contextlib import asynccontextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Self

import pytest

from drivers.card import build
from drivers.contec_ecg90a.simulator import file_of, heart
from drivers.dermatoscope.simulator import corrupt, lesion
from drivers.errors import Misconfigured, Unavailable
from drivers.lab.camera import encode
from drivers.links import files, medium
from drivers.links.files import FolderLink, Scan
from drivers.links.medium import DEEPEST, LARGEST, MOST_ENTRIES, Stamp, acceptable, look, read
from drivers.picture_import.simulator import described, file_name
from tests.contract.sinks import DiskFull, MemorySink

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

ECG = (".ecg",)
SOON = 0.02


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "EVERY_S", SOON)


def recording(samples: int) -> bytes:
    moment = datetime(2026, 3, 14, 9, 26, 53)  # noqa: DTZ001 - a device's clock knows no zone
    return file_of(heart(samples), moment, name="SYNTHETI")


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not true():  # noqa: ASYNC110 - what is polled has no event
            await asyncio.sleep(0.01)


@asynccontextmanager
async def importing(
    folder: Path, sink: MemorySink, driver: str = "contec-ecg90a", suffixes: tuple[str, ...] = ECG
) -> AsyncIterator[asyncio.Task[None]]:
    link = await FolderLink.open(str(folder), suffixes)
    run = asyncio.create_task(build(driver, {}).run(link, sink))
    yield run
    run.cancel()
    await asyncio.wait({run})


def all_taken(sink: MemorySink) -> bool:
    return bool(sink.reports) and sink.reports[-1][0] == "connected"


async def test_files_that_are_there_and_that_come_later_are_each_recorded_once(
    tmp_path: Path,
) -> None:
    (tmp_path / "DATA").mkdir()
    (tmp_path / "DATA" / "0000001.ECG").write_bytes(recording(10))
    (tmp_path / "copy-of-1.ecg").write_bytes(recording(10))
    (tmp_path / "notes.txt").write_text("not ours")
    sink = MemorySink()
    async with importing(tmp_path, sink):
        await until(lambda: all_taken(sink))
        assert [each.raw for each in sink.recorded] == [recording(10)]
        (tmp_path / "0000002.ECG").write_bytes(recording(20))
        await until(lambda: len(sink.recorded) == 2)
        await until(lambda: all_taken(sink))
    assert sink.recorded[1].raw == recording(20)
    assert sink.quarantined == []
    assert all(each.repeatable for each in sink.recorded)


async def test_file_that_still_grows_waits_until_two_looks_find_it_the_same(
    tmp_path: Path,
) -> None:
    whole = recording(400)
    file = tmp_path / "0000001.ECG"
    link = await FolderLink.open(str(tmp_path), ECG)
    for size in range(80, len(whole), 800):
        file.write_bytes(whole[:size])
        await link._look()
        assert not link._due
    file.write_bytes(whole)
    await link._look()
    assert not link._due
    assert await link.next() == whole


async def test_file_that_cannot_be_stored_is_met_again(tmp_path: Path) -> None:
    (tmp_path / "1.ecg").write_bytes(recording(10))
    driver = build("contec-ecg90a", {})
    link = await FolderLink.open(str(tmp_path), ECG)
    with pytest.raises(DiskFull):
        await driver.run(link, MemorySink(full=frozenset({"record"})))
    sink = MemorySink()
    run = asyncio.create_task(driver.run(await FolderLink.open(str(tmp_path), ECG), sink))
    await until(lambda: bool(sink.recorded))
    run.cancel()
    await asyncio.wait({run})


async def test_foreign_and_cut_files_are_quarantined_once_and_the_rest_works_on(
    tmp_path: Path,
) -> None:
    (tmp_path / "a.ecg").write_bytes(recording(10)[:-20])
    (tmp_path / "b.ecg").write_bytes(b"PK\x03\x04 an archive")
    (tmp_path / "c.ecg").write_bytes(b"")
    (tmp_path / "d.ecg").write_bytes(recording(10))
    sink = MemorySink()
    async with importing(tmp_path, sink):
        await until(lambda: all_taken(sink))
        await asyncio.sleep(5 * SOON)
    assert len(sink.recorded) == 1
    assert len(sink.quarantined) == 3
    assert all(reason.endswith(".") for _, reason in sink.quarantined)


async def test_pictures_are_imported_untouched_and_a_damaged_one_is_set_aside(
    tmp_path: Path,
) -> None:
    whole = described(encode(lesion(1, 64, 48)), "synthetic")
    (tmp_path / "DCIM").mkdir()
    (tmp_path / "DCIM" / file_name(1)).write_bytes(whole)
    (tmp_path / "DCIM" / file_name(2)).write_bytes(corrupt(encode(lesion(2, 64, 48)), 60))
    sink = MemorySink()
    async with importing(tmp_path, sink, "picture-import", (".jpg", ".jpeg")):
        await until(lambda: all_taken(sink))
    (picture,) = sink.recorded
    assert [blob.content for blob in picture.blobs] == [picture.raw] == [whole]
    assert len(sink.quarantined) == 1


async def test_folder_that_goes_ends_the_run_and_its_return_is_read_anew(tmp_path: Path) -> None:
    stick = tmp_path / "stick"
    stick.mkdir()
    (stick / "1.ecg").write_bytes(recording(10))
    sink = MemorySink()
    async with importing(stick, sink) as run:
        await until(lambda: all_taken(sink))
        stick.rename(tmp_path / "pulled")
        await asyncio.wait({run}, timeout=30)
        assert isinstance(run.exception(), Unavailable)
    assert sink.reports[-1] == ("unavailable", "it is not plugged in")
    with pytest.raises(Unavailable, match="not plugged in"):
        await FolderLink.open(str(stick), ECG)
    (tmp_path / "pulled").rename(stick)
    link = await FolderLink.open(str(stick), ECG)
    assert await link.next() == recording(10)


async def test_another_medium_in_the_same_place_is_read_anew(tmp_path: Path) -> None:
    stick, other = tmp_path / "stick", tmp_path / "other"
    for folder in (stick, other):
        folder.mkdir()
        (folder / "1.ecg").write_bytes(recording(10))
    link = await FolderLink.open(str(stick), ECG)
    assert await link.next() == recording(10)
    assert isinstance(await link.next(), Scan)
    stick.rename(tmp_path / "pulled")
    other.rename(stick)
    assert await link.next() == recording(10)


@pytest.mark.parametrize("at", ["", "stick", "../stick"])
async def test_folder_is_named_by_its_whole_path(at: str) -> None:
    with pytest.raises(Misconfigured, match="whole path"):
        await FolderLink.open(at, ECG)


async def test_link_in_place_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(Unavailable):
        await FolderLink.open(str(tmp_path / "link"), ECG)


@pytest.fixture
def hostile(tmp_path: Path) -> Iterator[Path]:
    """A stick with all that a stick can hold that is no file of ours."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.ecg").write_bytes(recording(10))
    stick = tmp_path / "stick"
    stick.mkdir()
    (stick / "link.ecg").symlink_to(outside / "secret.ecg")
    (stick / "climb").symlink_to(outside)
    os.mkfifo(stick / "pipe.ecg")
    with (stick / "huge.ecg").open("wb") as huge:
        huge.truncate(1 << 40)
    deep = stick
    for _ in range(DEEPEST + 1):
        deep /= "deeper"
        deep.mkdir()
    (deep / "deep.ecg").write_bytes(recording(10))
    (stick / "._0000001.ECG").write_bytes(b"\x00\x05\x16\x07 a trace of another system")
    (stick / "0000001.ECG").write_bytes(recording(10))
    with socket.socket(socket.AF_UNIX) as plug:
        plug.bind(os.path.relpath(stick / "plug.ecg"))
        yield stick


async def test_hostile_medium_gives_its_one_file_and_says_what_was_left_out(hostile: Path) -> None:
    sink = MemorySink()
    async with importing(hostile, sink):
        await until(lambda: all_taken(sink))
    assert [each.raw for each in sink.recorded] == [recording(10)]
    assert sink.quarantined == []
    said = sink.notes["folder"]
    for words in ("Links are not followed", "neither files nor folders", "MiB", "deep"):
        assert words in said
    assert "ecg" not in said.lower()


async def test_remark_is_taken_back_when_its_cause_has_gone(tmp_path: Path) -> None:
    (tmp_path / "link.ecg").symlink_to(tmp_path / "x")
    sink = MemorySink()
    async with importing(tmp_path, sink):
        await until(lambda: bool(sink.notes.get("folder")))
        (tmp_path / "link.ecg").unlink()
        await until(lambda: not sink.notes.get("folder"))


def test_ten_thousand_entries_are_looked_at_only_so_far_and_it_is_said(tmp_path: Path) -> None:
    for number in range(10_000):
        (tmp_path / f"{number}.ecg").touch()
    found = look(str(tmp_path), ECG)
    assert found.entries == len(found.files) == MOST_ENTRIES
    assert any("more than 2000 entries" in words for words in found.remarks)


def test_at_most_one_byte_more_than_the_size_is_ever_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "1.ecg"
    file.write_bytes(b"x" * 10)
    (stamp,) = look(str(tmp_path), ECG).files.values()
    asked: list[int] = []
    real = os.read

    def endless(descriptor: int, size: int) -> bytes:
        asked.append(size)
        real(descriptor, size)
        return b"x" * size

    monkeypatch.setattr(os, "read", endless)
    assert read(str(tmp_path), ("1.ecg",), stamp) is None
    assert sum(asked) == 11


def test_file_replaced_by_a_link_or_a_pipe_since_the_look_is_not_read(tmp_path: Path) -> None:
    file, other = tmp_path / "1.ecg", tmp_path / "2"
    file.write_bytes(b"x")
    other.write_bytes(b"y")
    (stamp,) = look(str(tmp_path), ECG).files.values()
    file.unlink()
    file.symlink_to(other)
    with pytest.raises(OSError, match=r"symbolic|Too many"):
        read(str(tmp_path), ("1.ecg",), stamp)
    file.unlink()
    os.mkfifo(file)
    assert read(str(tmp_path), ("1.ecg",), stamp) is None
    pipe = Stamp.of(file.lstat())
    assert read(str(tmp_path), ("1.ecg",), pipe) is None


@pytest.mark.parametrize("name", ["", ".", "..", "../1.ecg", "/etc/passwd", "a/1.ecg", "a\0.ecg"])
def test_name_that_leaves_its_folder_is_impossible(name: str) -> None:
    assert not acceptable(name)


def test_impossible_name_of_a_damaged_file_system_is_not_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "stick").mkdir()
    (tmp_path / "1.ecg").write_bytes(b"x")

    class Evil:
        name = "../1.ecg"

    class Listing(list[Evil]):
        def __enter__(self) -> Self:
            return self

        def __exit__(self, *_: object) -> None: ...

    monkeypatch.setattr(os, "scandir", lambda _: Listing([Evil()]))
    found = look(str(tmp_path / "stick"), ECG)
    assert found.files == {}
    assert any("impossible names" in words for words in found.remarks)


def test_nothing_on_the_medium_is_ever_opened_for_writing(tmp_path: Path) -> None:
    (tmp_path / "DATA").mkdir()
    (tmp_path / "DATA" / "1.ecg").write_bytes(b"x")
    opened: list[int] = []
    watching = threading.Event()

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        if event == "open" and watching.is_set():
            opened.append(int(str(arguments[2])))

    sys.addaudithook(watch)  # for good: it can't be taken away, only be told to rest
    watching.set()
    found = look(str(tmp_path), ECG)
    ((path, stamp),) = found.files.items()
    content = read(str(tmp_path), path, stamp)
    watching.clear()
    assert content == b"x"
    assert len(opened) == 5
    for each in opened:
        assert each & os.O_ACCMODE == os.O_RDONLY
        assert each & os.O_NOFOLLOW
        assert each & os.O_NONBLOCK


def test_file_at_the_limit_is_wanted_and_one_byte_more_is_not(tmp_path: Path) -> None:
    for name, size in (("at.ecg", LARGEST), ("above.ecg", LARGEST + 1)):
        with (tmp_path / name).open("wb") as file:
            file.truncate(size)
    found = look(str(tmp_path), ECG)
    assert set(found.files) == {("at.ecg",)}
    assert found.remarks == ("Files of more than 32 MiB are not read.",)


async def test_medium_that_never_answers_is_unavailable_and_holds_one_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = threading.Event()

    def silent(_: str, __: tuple[str, ...]) -> medium.Look:
        answer.wait()
        raise OSError

    monkeypatch.setattr(files, "look", silent)
    monkeypatch.setattr(files, "STALL_S", 0.05)
    held = threading.active_count()
    for _ in range(5):
        with pytest.raises(Unavailable, match="does not answer"):
            await FolderLink.open(str(tmp_path), ECG)
    assert threading.active_count() == held + 1
    answer.set()
    await until(lambda: threading.active_count() == held)


async def test_file_that_cannot_be_read_is_said_and_not_asked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "1.ecg").write_bytes(recording(10))
    tries: list[str] = []

    def broken(_: str, path: tuple[str, ...], __: object) -> bytes:
        tries.append(path[-1])
        raise OSError(5, "a bad sector")

    monkeypatch.setattr(files, "read", broken)
    link = await FolderLink.open(str(tmp_path), ECG)
    said = await link.next()
    assert isinstance(said, Scan)
    assert said.remarks == ("Some files or folders can't be read.",)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(10 * SOON):
            await link.next()
    assert tries == ["1.ecg"]
