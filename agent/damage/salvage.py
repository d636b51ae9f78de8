"""Salvage what was set aside, in slices through the writer, while the unit works on.

A slice and how far it came are one commit: a crash between two costs nothing.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import structlog

from agent.damage import carry, quarantine, settle, witness
from agent.damage.image import Image
from agent.damage.tables import tables
from agent.damage.territory import Territory
from agent.errors import StoreFull
from agent.store import settling
from agent.store.connection import Connection, open_reader, translating
from sync.contract.ranges import total

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from agent.damage.tables import Table
    from agent.damage.territory import Found
    from agent.store.store import Store

ALARM = "database-damaged"
_ROWS, _BYTES = 32, 256 << 10
"""The most that one commit carries, so that no save waits long behind it."""
_FULL_PAUSE = 30.0
_LOG = structlog.get_logger("qafila.salvage")
Told = Callable[[str, Sequence[int]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class _Slice:
    """Rows of one table, and the page from which the next slice goes on."""

    table: str
    found: list[Found]
    cursor: int
    torn: int


class Salvor:
    """Salvages every database that was set aside.

    `told` hears of each table that is done, and which frames came with it undecoded; without it
    nobody waits for anything, and a full disk is said at once.
    """

    def __init__(self, store: Store, destination: str, told: Told | None = None) -> None:
        self._store = store
        self._destination = destination
        self._told = told

    async def run(self) -> None:
        """Return once everything is salvaged. StoreFull is waited out; StoreBroken."""
        places = await asyncio.to_thread(self._unfinished)
        for place in places:
            await self._carry(place)
        if places:
            await self._settle(places)

    def _unfinished(self) -> list[str]:
        """Newest first: it knows best what is settled."""
        with self._reader() as reader:
            rows = reader.execute("SELECT place FROM salvage WHERE finished IS NULL").fetchall()
        return sorted((row[0] for row in rows), key=int, reverse=True)

    async def _carry(self, place: str) -> None:
        work = await asyncio.to_thread(self._prepare, place)
        undecoded: list[int] = []
        try:
            while (piece := await asyncio.to_thread(work.next)) is not None:
                undecoded += await self._gently(partial(work.apply, piece))
                if piece.cursor < 0 and self._told is not None:
                    await self._told(piece.table, undecoded)
        finally:
            work.image.close()

    async def _settle(self, places: list[str]) -> None:
        """What is to be done once all of them are carried: one may hold what another lost."""
        anew = partial(settle.log_anew, self._destination, _ROWS)
        while await self._gently(anew):
            self._store.wake()
        torn = await asyncio.to_thread(self._look, settle.torn_blobs)
        holes = await asyncio.to_thread(self._look, partial(settle.holes, self._destination))

        def end(connection: Connection) -> None:
            for sha256 in torn:
                settle.give_up_blob(connection, self._store.origin, sha256)
            settle.tell(connection, self._destination, self._store.origin, holes)
            _end(connection, places, holes, len(torn))

        await self._write(end)
        self._store.wake()
        _LOG.warning("salvaged", places=places)

    def _prepare(self, place: str) -> _Work:
        folder = self._store.folder / quarantine.FOLDER / place
        seen = witness.read(folder)
        with self._reader() as reader:
            known = tables(reader)
            roots = dict(
                reader.execute("SELECT name, rootpage FROM sqlite_master WHERE rootpage > 0")
            )
            step, cursor = reader.execute(
                "SELECT step, cursor FROM salvage WHERE place = ?", (place,)
            ).fetchone()
        image = Image(folder, self._store.key)
        trusted = seen is not None and seen.fits(self._store.key)
        territory = Territory(image, known, seen.roots if seen and trusted else roots)
        return _Work(place, image, territory, known, step, cursor)

    def _look(self, look: Callable[[Connection], Any]) -> Any:
        with self._reader() as reader, translating():
            return look(reader)

    def _reader(self) -> closing[Connection]:
        return closing(open_reader(self._store.folder, self._store.key))

    async def _gently(self, job: Callable[[Connection], Any]) -> Any:
        """Write a slice, then leave the disk to those who save for as long as it took."""
        clock = asyncio.get_running_loop().time
        begun = clock()
        done = await self._write(job)
        await asyncio.sleep(clock() - begun)
        return done

    async def _write(self, job: Callable[[Connection], Any]) -> Any:
        """Write a slice; where the disk is full, as soon as it is not."""
        said = False
        while True:
            try:
                return await self._store.writer.write(job)
            except StoreFull as full:
                if self._told is None:
                    raise
                if not said:
                    _LOG.error("salvage-postponed", reason=str(full))
                said = True
                await asyncio.sleep(_FULL_PAUSE)


class _Work:
    """One damaged database on its way into the living one; used by one thread at a time."""

    def __init__(
        self,
        place: str,
        image: Image,
        territory: Territory,
        known: dict[str, Table],
        step: str | None,
        cursor: int,
    ) -> None:
        self.place = place
        self.image = image
        self._territory = territory
        self._slices = self._all(_order(known), step, cursor)

    def next(self) -> _Slice | None:
        """Read the next slice; None at the end."""
        return next(self._slices, None)

    def apply(self, piece: _Slice, connection: Connection) -> list[int]:
        """Write a slice and how far it came; give the frames that came undecoded."""
        (newest,) = connection.execute("SELECT coalesce(max(frame), 0) FROM frame").fetchone()
        done = sum(carry.carry(connection, piece.table, each) for each in piece.found)
        connection.execute(
            "UPDATE salvage SET step = ?, cursor = ?, records = records + ?, "
            "rows_torn = rows_torn + ?, pages_bad = ? WHERE place = ?",
            (
                piece.table,
                piece.cursor,
                done if piece.table == "record" else 0,
                piece.torn,
                len(self._territory.bad),
                self.place,
            ),
        )
        rows = connection.execute(
            "SELECT frame FROM frame WHERE frame > ? AND outcome IS NULL", (newest,)
        )
        return [row[0] for row in rows]

    def _all(self, order: list[str], step: str | None, cursor: int) -> Iterator[_Slice]:
        """Every slice from where an earlier run stopped; a cursor of -1 ends a table."""
        if step in order:
            order = order[order.index(step) + (cursor < 0) :]
        for number, table in enumerate(order):
            begin = cursor if number == 0 and table == step and cursor > 0 else 0
            yield from self._of(table, begin)

    def _of(self, table: str, begin: int) -> Iterator[_Slice]:
        found: list[Found] = []
        size, torn = 0, self._territory.torn
        for number, (page, sure) in enumerate(self._territory.pages(table, begin), begin):
            if len(found) >= _ROWS or size >= _BYTES:
                yield _Slice(table, found, number, self._territory.torn - torn)
                found, size, torn = [], 0, self._territory.torn
            for each in self._territory.rows(table, page, sure=sure):
                found.append(each)
                size += _size(each)
        yield _Slice(table, found, -1, self._territory.torn - torn)


def register(store_folder: Path, connection: Connection, key: str) -> None:
    """List what was set aside and is not listed yet, and close its epoch; in a transaction."""
    for place, why in quarantine.places(store_folder).items():
        seen = witness.read(store_folder / quarantine.FOLDER / place)
        epoch = seen.epoch if seen is not None and seen.fits(key) else None
        new = connection.execute(
            "INSERT INTO salvage (place, found, reason, epoch) VALUES (?, ?, ?, ?) "
            "ON CONFLICT DO NOTHING",
            (place, why.found, why.reason, epoch),
        ).rowcount
        if not new:
            continue
        if epoch is not None:
            carry.close_epoch(connection, epoch)
            for lane, last in why.last.items():
                carry.open_lane(connection, epoch, lane, last)
        where = f"it lies untouched in {quarantine.FOLDER}/{place}"
        settling.alarm(connection, ALARM, f"{why.reason}: {where} and is being salvaged")


def _end(
    connection: Connection, places: list[str], holes: dict[settle.Lane, settle.Hole], torn: int
) -> None:
    """Write down that all is done, and say so aloud. What has no place of its own: the newest."""
    lost = Counter[str]()
    for (epoch, _), (_, ranges) in holes.items():
        row = connection.execute("SELECT place FROM salvage WHERE epoch = ?", (epoch,)).fetchone()
        lost[row[0] if row is not None and row[0] in places else places[0]] += total(ranges)
    for place in reversed(places):
        blobs = torn if place == places[0] else 0
        (records,) = connection.execute(
            "UPDATE salvage SET finished = ?, lost = ?, blobs_lost = ? WHERE place = ? "
            "RETURNING records",
            (quarantine.moment(), lost[place], blobs, place),
        ).fetchone()
        settling.alarm(connection, ALARM, _words(place, records, lost[place], blobs))


def _order(known: dict[str, Table]) -> list[str]:
    others = sorted(set(known) - set(carry.FIRST) - carry.NEVER)
    return [each for each in (*carry.FIRST, *others) if each in known]


def _size(found: Found) -> int:
    return sum(len(each) for each in found.row.values() if isinstance(each, bytes | str))


def _words(place: str, records: int, lost: int, blobs_lost: int) -> str:
    pictures = f", {blobs_lost} pictures or recordings lost" if blobs_lost else ""
    return (
        f"a damaged database lies untouched in {quarantine.FOLDER}/{place}: "
        f"{records} records recovered, {lost} lost{pictures}; open the consultations anew"
    )
