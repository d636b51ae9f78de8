"""Damage a state folder as disks do, and look at what a unit makes of it."""

from __future__ import annotations

import json
from contextlib import closing
from typing import TYPE_CHECKING, Any

from agent.damage.cipher import PAGE
from agent.damage.image import Image
from agent.damage.salvage import Salvor
from agent.damage.tables import tables
from agent.damage.territory import Territory
from agent.store.connection import FILE, open_reader
from agent.store.keys import load_key

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from agent.store.store import Store

DESTINATION = "centre"


def flip_bit(path: Path, offset: int, bit: int = 0) -> None:
    """Flip one bit of a file, in place."""
    with path.open("r+b") as file:
        file.seek(offset)
        (byte,) = file.read(1)
        file.seek(offset)
        file.write(bytes([byte ^ 1 << bit]))


def flip_page(folder: Path, number: int) -> None:
    """Flip a bit in the middle of a page of the database file."""
    flip_bit(folder / FILE, (number - 1) * PAGE + PAGE // 2)


def pages_of(folder: Path, table: str) -> list[int]:
    """The pages on which rows of a table begin."""
    key = load_key(folder)
    with closing(open_reader(folder, key)) as reader:
        known = tables(reader)
    with Image(folder, key) as image:
        return [number for number, _ in Territory(image, known, {}).pages(table)]


async def salvage(store: Store) -> dict[str, Any]:
    """Salvage everything; what the store then tells of the newest."""
    await Salvor(store, DESTINATION, ignore).run()
    cursor = store.reader.execute("SELECT * FROM salvage ORDER BY CAST(place AS INTEGER) DESC")
    names = [each[0] for each in cursor.description]
    return dict(zip(names, cursor.fetchone(), strict=True))


async def ignore(table: str, frames: Sequence[int]) -> None:
    """Nobody waits for a table."""


def told(store: Store, kind: str) -> list[dict[str, Any]]:
    """What records of a kind say, in order."""
    rows = store.reader.execute("SELECT line FROM record WHERE kind = ? ORDER BY seq", (kind,))
    return [json.loads(line)[kind] for (line,) in rows]
