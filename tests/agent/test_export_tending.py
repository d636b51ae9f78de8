"""The stick that stays plugged in, and what the agent offers for one that is filled by hand."""

from __future__ import annotations

import asyncio
import base64
import tempfile
import threading
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from agent import control
from agent.errors import StoreBroken
from agent.export import tending
from agent.export.asking import AgentSource
from agent.export.carry import Carrier
from agent.export.contents import Contents
from agent.export.desk import Desk, ExportVerbs
from agent.export.part import ExportPart
from agent.export.tending import Tending
from agent.identity import make_unit_key
from config.load import parse
from drivers import DRIVERS
from drivers.errors import Misconfigured
from sync.contract.entries import encode_receipts
from sync.contract.receipt import Receipt, encode_receipt
from sync.contract.sealed import SUFFIXES, folders
from sync.stick import open_shelf

from .store.truck import UNIT, capture, open_store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping

    from agent.store.store import Store
    from config.model import Settings

CENTRE, SEALING = Ed25519PrivateKey.generate(), X25519PrivateKey.generate()
CEILING = 60.0


def pem(key: Ed25519PrivateKey | X25519PrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


@pytest.fixture
def stick(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """On another file system than the store's, as a stick is."""
    monkeypatch.setattr(tending, "EVERY_S", 0.05)
    monkeypatch.setattr(tending, "_BREATH_S", 0.0)
    with tempfile.TemporaryDirectory(prefix="qafila-stick-", dir="/dev/shm") as folder:
        (Path(folder) / "mounted").mkdir()
        yield Path(folder) / "mounted"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with closing(open_store(tmp_path / "state")) as store:
        make_unit_key(tmp_path / "state")
        yield store


@pytest.fixture
def pinned(tmp_path: Path) -> Path:
    path = tmp_path / "centre.pub"
    path.write_bytes(pem(CENTRE) + pem(SEALING))
    return path


def settings(pinned: Path, folder: Path | None = None) -> Settings:
    stays = f'folder = "{folder}"\n' if folder else ""
    unit = f'[unit]\nname = "{UNIT}"\norigin = "simulated"\n'
    return parse(f'{unit}[export]\ncentre_key = "{pinned}"\n{stays}', DRIVERS)


@asynccontextmanager
async def tended(desk: Desk, store: Store, folder: Path) -> AsyncIterator[Tending]:
    """A stick is looked after beside the block."""
    tending = Tending(desk, store, str(folder))
    task = asyncio.create_task(tending.run())
    try:
        yield tending
    finally:
        task.cancel()
        await asyncio.wait({task})


async def soon(true: Callable[[], object]) -> None:
    async with asyncio.timeout(CEILING):
        while not true():  # noqa: ASYNC110 - what is waited for is told by nobody
            await asyncio.sleep(0.02)


async def test_stick_follows_what_is_stored_and_comes_back_after_a_pull(
    store: Store, pinned: Path, stick: Path
) -> None:
    desk = Desk(store, settings(pinned))
    async with tended(desk, store, stick) as found:
        await soon(lambda: found.shown()["state"] == "whole")
        for number in range(3):
            await store.record(capture(b"reading %d" % number))
            await soon(lambda: found.shown()["pending"] == number + 1)  # noqa: B023
            await soon(lambda: found.shown()["state"] == "whole")
        assert found.shown()["lacking"] == 0
        away = stick.with_name("pulled")
        await asyncio.to_thread(stick.rename, away)
        await soon(lambda: found.shown()["state"] == "unavailable")
        assert "plug it in" in found.shown()["detail"]
        await store.record(capture(b"while it was away"))
        assert found.shown()["whole_seconds"] is not None
        await asyncio.to_thread(away.rename, stick)
        await soon(lambda: found.shown()["pending"] == 4 and found.shown()["state"] == "whole")


async def test_receipts_on_it_are_taken_and_what_they_settle_is_taken_away(
    store: Store, pinned: Path, stick: Path
) -> None:
    desk = Desk(store, settings(pinned))
    await store.record(capture(b"one"))
    async with tended(desk, store, stick) as found:
        await soon(lambda: found.shown()["files"] == 1)
        down = stick.joinpath(*folders("simulated", UNIT, "down"))
        down.mkdir()
        draft = stick / "draft"
        draft.write_bytes(encode_receipts([said(store, CENTRE)]))
        draft.rename(down / "0000000001.receipts")
        await soon(lambda: found.shown()["files"] == 0 and found.shown()["pending"] == 0)
        assert list(down.iterdir()) == []


def said(store: Store, key: Ed25519PrivateKey, **more: Any) -> bytes:
    """The centre has the first record of the clinical lane."""
    from agent.store.settling import carried_question  # noqa: PLC0415

    (head,) = store.reader.execute("SELECT hash FROM record WHERE seq = 1").fetchone()
    receipt = Receipt(
        central_epoch="b2d4f6a8-0c1e-4a3b-8d5f-7192a3b4c5d6",
        serial=1,
        unit=UNIT,
        epoch=store.epoch,
        lane="clinical",
        through=1,
        last=1,
        head_hash=bytes(head).hex(),
        answers=carried_question(store.reader, "centre").session,
    )
    return encode_receipt(msgspec.structs.replace(receipt, **more), key)


async def test_it_can_be_tended_again_after_it_ended(
    store: Store, pinned: Path, stick: Path
) -> None:
    """As the supervisor does with a child that failed."""
    again = Tending(Desk(store, settings(pinned)), store, str(stick))
    for number in range(1, 3):
        await store.record(capture(b"reading %d" % number))
        task = asyncio.create_task(again.run())
        await soon(lambda: again.shown()["state"] == "whole" and again.shown()["pending"] == number)  # noqa: B023
        task.cancel()
        await asyncio.wait({task})


async def test_stick_that_hangs_holds_up_no_save_and_is_said(
    store: Store, pinned: Path, stick: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel waits for a bad stick; the agent doesn't."""
    monkeypatch.setattr(tending, "STALL_S", 0.1)
    stuck, release = threading.Event(), threading.Event()

    def hang(*_: object, **__: object) -> None:
        stuck.set()
        release.wait(CEILING)

    monkeypatch.setattr(tending, "take_back", hang)
    async with tended(Desk(store, settings(pinned)), store, stick) as found:
        await soon(stuck.is_set)
        for number in range(20):
            assert (await store.record(capture(b"reading %d" % number))).new
        await soon(lambda: "does not answer" in found.shown()["detail"])
        assert found.shown()["state"] == "unavailable"
        assert threading.active_count() < 20
        release.set()
        await soon(lambda: found.shown()["state"] == "whole")
        assert found.shown()["pending"] == 20


async def test_folder_without_a_stick_in_it_does_not_pass_for_one(
    store: Store, pinned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk of the database is no second place."""
    monkeypatch.setattr(tending, "EVERY_S", 0.05)
    here = tmp_path / "empty-mount-point"
    here.mkdir()
    async with tended(Desk(store, settings(pinned)), store, here) as found:
        await soon(lambda: found.shown()["state"] == "unavailable")
        assert "the unit's own disk" in found.shown()["detail"]
    assert list(here.iterdir()) == []


async def test_database_that_cant_be_read_asks_for_somebody_and_ends_nothing(
    store: Store, pinned: Path, stick: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = Desk(store, settings(pinned))

    def broken() -> None:
        raise StoreBroken("the database failed: a page is damaged")

    async with tended(desk, store, stick) as found:
        await soon(lambda: found.shown()["state"] == "whole")
        monkeypatch.setattr(desk.source, "open", broken)
        await soon(lambda: found.shown()["state"] == "asking")
        monkeypatch.undo()
        await soon(lambda: found.shown()["state"] == "whole")


def test_keys_that_are_missing_are_said_with_the_remedy(
    store: Store, pinned: Path, stick: Path
) -> None:
    pinned.write_bytes(pem(CENTRE))
    with pytest.raises(Misconfigured, match=r"copy the centre's central\.pub there anew"):
        Desk(store, settings(pinned))
    part = ExportPart(store, settings(pinned, stick))
    assert part.shown()["state"] == "misconfigured"
    assert "copy the centre's central.pub there anew" in part.shown()["detail"]
    pinned.write_bytes(pem(CENTRE) + pem(CENTRE))
    with pytest.raises(Misconfigured, match="no sealing key"):
        Desk(store, settings(pinned))
    none = ExportPart(store, parse(f'[unit]\nname = "{UNIT}"\n', DRIVERS))
    assert none.shown()["state"] == "none"


def asking(verbs: ExportVerbs, loop: asyncio.AbstractEventLoop) -> AgentSource:
    """The command line's side of the verbs, as over the socket: a line there, a line back."""

    def ask(request: Mapping[str, Any]) -> dict[str, Any]:
        line = msgspec.json.encode(request)
        assert len(line) < control._LINE_MAX
        work = asyncio.run_coroutine_threadsafe(control.answer(line, verbs.verbs()), loop)
        answer = msgspec.json.decode(msgspec.json.encode(work.result(CEILING)))
        assert answer["ok"], answer
        return dict(answer)

    return AgentSource(ask)


async def test_command_fills_a_stick_with_what_the_agent_seals(
    store: Store, pinned: Path, stick: Path
) -> None:
    """Its keys stay with the agent; every question fits into a line."""
    desk = Desk(store, settings(pinned))
    for number in range(40):
        await store.record(capture(b"reading %d" % number, blobs=(b"picture %d" % number,)))
    source = asking(ExportVerbs(desk, ""), asyncio.get_running_loop())

    def fill() -> bool:
        place = folders("simulated", UNIT, "up")
        with open_shelf(stick, place, SUFFIXES["up"], make=True) as shelf:
            return Carrier(source, lambda: None).bring_up_to_date(shelf).whole

    assert await asyncio.to_thread(fill)
    assert await asyncio.to_thread(fill)
    gaps = tuple((4 * n, 4 * n + 1) for n in range(5000))
    many = Contents({("e" * 36, "clinical"): gaps}, {f"{n:064x}": gaps for n in range(200)})
    sealed, contents = await asyncio.to_thread(source.seal, many)
    assert (sealed, contents) == (b"", Contents())


async def test_verbs_refuse_what_is_no_question(store: Store, pinned: Path) -> None:
    verbs = ExportVerbs(Desk(store, settings(pinned)), "").verbs()
    for wrong in (
        b'{"do": "export-seal"}',
        b'{"do": "export-seal", "wanted": [[["e", "l", [[5]]]], []]}',
        b'{"do": "export-seal", "wanted": [[], [["zz", [[0, 9]]]]]}',
        b'{"do": "export-judge", "slips": ["\xc3\xa9"]}',
        b'{"do": "settle"}',
    ):
        answer = await control.answer(wrong, verbs)
        assert not answer["ok"]
        assert "the program has a fault" not in answer["error"]
    vast = b'{"do": "export-seal", "wanted": [[["e", "l", [[1, 9000000000000000000]]]], []]}'
    answer = await control.answer(vast, verbs)
    assert (answer["ok"], answer["sealed"]) == (True, "")
    none = ExportVerbs(None, "no centre is set").verbs()
    for verb in none:
        answer = await control.answer(b'{"do": "%s"}' % verb.encode(), none)
        assert "no centre is set" in answer["error"]


async def test_forged_receipts_settle_nothing_and_raise_an_alarm(
    store: Store, pinned: Path
) -> None:
    """C-8.1: on a stick as on a link; also for another unit, and of another history."""
    desk = Desk(store, settings(pinned))
    await store.record(capture(b"one"))
    stranger = Ed25519PrivateKey.generate()
    verbs = ExportVerbs(desk, "").verbs()
    outcomes = {}
    for frame in (
        said(store, stranger),
        said(store, CENTRE)[:-1],
        said(store, CENTRE, unit="tata-01"),
        said(store, CENTRE, head_hash="ab" * 32),
        said(store, CENTRE, epoch="6f0b5c1e-52a0-4f0e-9d3a-0c8f5e0d7a11"),
        said(store, CENTRE, answers=None),
        said(store, CENTRE),
        said(store, CENTRE),
    ):
        line = msgspec.json.encode({"do": "settle", "receipt": base64.b64encode(frame).decode()})
        answer = await control.answer(line, verbs)
        outcomes[answer["outcome"]] = desk.source.open().pending.count
    assert outcomes == {
        "key": 1,
        "signature": 1,
        "another-unit": 1,
        "impossible": 1,
        "unknown-epoch": 1,
        "unproven-central-epoch": 1,
        "taken": 0,
        "repeated": 0,
    }
    alarms = {row[0] for row in store.reader.execute("SELECT code FROM alarm")}
    assert alarms == {f"receipt-{each}" for each in list(outcomes)[:4]}
