"""`qafila fsck`: it finds each kind of damage, changes nothing unasked, and repairs when asked."""

from __future__ import annotations

import asyncio
import json
import secrets
import shutil
from functools import partial
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from agent.cli import cli
from agent.store.connection import FILE

from .store.damage import flip_page, pages_of
from .store.truck import capture, tells_a_value
from .unit import ROOT, Unit

if TYPE_CHECKING:
    from pathlib import Path

    from agent.store.connection import Connection
    from agent.store.store import Store

RECORDS = 30


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Unit:
    unit = Unit(tmp_path_factory.mktemp("fsck") / "unit")
    store = unit.store()
    asyncio.run(_fill(store))
    store.close()
    return unit


async def _fill(store: Store) -> None:
    for n in range(RECORDS):
        await store.record(capture(b"%d" % n, blobs=(b"p%d" % n * 5000,) if n % 10 == 0 else ()))


@pytest.fixture
def unit(template: Unit, tmp_path: Path) -> Unit:
    unit = Unit(tmp_path / "unit")
    shutil.rmtree(unit.state)
    shutil.copytree(template.state, unit.state)
    return unit


def fsck(unit: Unit, *words: str) -> tuple[int, str]:
    told = CliRunner().invoke(cli, ["fsck", *words, "--settings", str(unit.settings)])
    assert told.exception is None or isinstance(told.exception, SystemExit), told.exception
    return told.exit_code, told.output


def change(unit: Unit, *statements: str) -> None:
    """Change the database behind the back of whoever watches it."""
    store = unit.store()

    def execute(statement: str, connection: Connection) -> None:
        connection.execute(statement)

    async def work() -> None:
        for each in statements:
            await store.writer.write(partial(execute, each))

    asyncio.run(work())
    store.close()


def everything(unit: Unit) -> dict[str, bytes]:
    """Every file's bytes; SQLite may leave an empty log and its index behind."""
    found = (path for path in unit.state.rglob("*") if path.is_file() and path.stat().st_size)
    return {str(path): path.read_bytes() for path in found if not path.name.endswith("-shm")}


def test_t53_sound_database_is_said_to_be_sound(unit: Unit) -> None:
    code, text = fsck(unit)
    assert code == 0
    assert text.startswith("sound: ")
    assert f" pages, {RECORDS} sound records, 3 pictures or recordings\n" in text
    code, text = fsck(unit, "--repair")
    assert (code, text.splitlines()[-1]) == (
        0,
        "repaired: 0 records, pictures or recordings are lost",
    )
    assert not (unit.state / "damaged").exists()


FLIPPED = "UPDATE record SET line = CAST(replace(line, '36.0', '63.0') AS BLOB) WHERE seq = 7"
HURT = {
    "a record's line": ((FLIPPED,), "clinical 7: the record is not what it was"),
    "a record": (("DELETE FROM record WHERE seq = 15",), "clinical 15: the record is not what"),
    "a chunk": (
        ("UPDATE chunk SET content = zeroblob(length(content)) WHERE offset = 0",),
        "the picture or recording is not whole",
    ),
    "raw bytes": (("UPDATE raw SET content = x'00'",), f"{RECORDS} raw bytes don't fit"),
    "references": (("UPDATE blob SET refs = 7",), "3 blobs count their references wrongly"),
    "identities": (("DELETE FROM identity",), f"{RECORDS} records have no identity"),
}


@pytest.mark.parametrize("hurt", HURT)
def test_t53_each_fault_is_named_and_nothing_is_changed(unit: Unit, hurt: str) -> None:
    statements, words = HURT[hurt]
    change(unit, *statements)
    before = everything(unit)
    code, text = fsck(unit)
    assert (code, words in text) == (3, True), text
    assert text.startswith("damaged: ")
    assert text.splitlines()[-1].startswith("nothing was changed: ")
    assert everything(unit) == before
    assert not tells_a_value(text)


def test_t53_repair_gives_up_what_is_unsound_on_sound_pages(unit: Unit) -> None:
    change(unit, FLIPPED, HURT["a chunk"][0][0], HURT["references"][0][0])
    code, text = fsck(unit, "--repair")
    assert (code, text.splitlines()[-1]) == (
        4,
        "repaired: 4 records, pictures or recordings are lost",
    )
    assert fsck(unit)[0] == 0
    assert not (unit.state / "damaged").exists()


def test_t53_pages_are_listed_and_salvaged_only_when_asked(unit: Unit) -> None:
    pages = pages_of(unit.state, "record")[:2]
    for page in pages:
        flip_page(unit.state, page)
    before = everything(unit)
    code, text = fsck(unit, "--json")
    found = json.loads(text)
    assert (code, found["verdict"], found["bad_pages"]) == (3, "damaged", pages)
    assert (found["repaired"], found["lost"]) == (False, None)
    written = (ROOT / "docs" / "reference" / "cli.md").read_text("utf-8")
    section = written.split("## `qafila fsck`")[1].split("\n## ")[0]
    assert set(json.loads(section.split("```json\n")[1].split("```")[0])) == set(found)
    assert everything(unit) == before
    code, text = fsck(unit, "--repair", "--json")
    found = json.loads(text[text.index("{") :])
    assert (code, found["repaired"]) == (4, True)
    assert 0 < found["lost"] < RECORDS
    assert (unit.state / "damaged" / "1" / FILE).read_bytes() == before[str(unit.state / FILE)]
    code, text = fsck(unit)
    assert code == 0
    assert f"{RECORDS + 1 - found['lost']} sound records" in text


def test_t53_wrong_key_a_running_agent_and_no_folder_are_said(unit: Unit) -> None:
    store = unit.store()
    code, text = fsck(unit)
    assert (code, "another agent works on" in text) == (1, True)
    store.close()
    key = unit.state / "keys" / "store.key"
    key.unlink()
    key.write_text(secrets.token_hex(48))
    key.chmod(0o400)
    before = everything(unit)
    code, text = fsck(unit, "--repair")
    assert (code, "with this key" in text) == (1, True)
    assert everything(unit) == before
    shutil.rmtree(unit.state)
    code, text = fsck(unit)
    assert (code, "is not there: nothing to check" in text) == (1, True)
