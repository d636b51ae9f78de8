"""Which page belongs to which table, where the tree above it may be gone."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, NamedTuple

from agent.damage.btree import (
    INDEX_INTERIOR,
    INDEX_LEAF,
    INTERIOR,
    TABLE_LEAF,
    Cell,
    Unreadable,
    cells,
    kind,
    payload,
    values,
)
from agent.damage.image import ROOT, is_map

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from agent.damage.btree import Value
    from agent.damage.image import Image
    from agent.damage.tables import Row, Table

_BTREE = 5
_DEPTH = 24
_ROWS_IN = {True: frozenset({INDEX_LEAF, INDEX_INTERIOR}), False: frozenset({TABLE_LEAF})}


class Found(NamedTuple):
    """A row; `sure` says that it is what was there last, and not an older version of it."""

    row: Row
    sure: bool


class Territory:
    """The pages of each table. `bad` are the pages that can't be read; `torn` counts rows."""

    def __init__(self, image: Image, tables: Mapping[str, Table], roots: Mapping[str, int]) -> None:
        self._image = image
        self._tables = tables
        begin = {**roots, **_roots(image), "sqlite_master": 1}
        self._roots = {page: name for name, page in begin.items()}
        self._above: dict[int, int] | None = None
        self.bad: list[int] = []
        self.torn = 0
        self._pages = {name: array("Q") for name in tables}
        for number in range(1, image.count + 1):
            self._place(number)

    def pages(self, table: str, begin: int = 0) -> Iterator[tuple[int, bool]]:
        """The pages that hold rows of a table, and whether each surely does; from the nth on."""
        pages = self._pages[table]
        return ((pages[at] >> 1, bool(pages[at] & 1)) for at in range(begin, len(pages)))

    def rows(self, table: str, page: int, *, sure: bool) -> Iterator[Found]:
        """The rows of one page that can be read; the others are counted."""
        for stored, number in self._stored(page):
            row = None if stored is None else self._tables[table].row(number, stored)
            if row is None:
                self.torn += 1
            else:
                yield Found(row, sure)

    def _stored(self, number: int) -> Iterator[tuple[list[Value] | None, int]]:
        page = self._image.page(number)
        for cell in _sound_cells(number, page.content if page else b""):
            if cell.size:  # else it leads down and holds no row
                yield self._values(cell), cell.rowid

    def _values(self, cell: Cell) -> list[Value] | None:
        try:
            return values(payload(cell, self._overflow))
        except Unreadable:
            return None

    def _overflow(self, number: int) -> bytes | None:
        page = self._image.page(number) if 0 < number <= self._image.count else None
        return page.content if page else None

    def _place(self, number: int) -> None:
        page = self._image.page(number)
        if (page is None or not page.last) and not self._image.unused(number):
            self.bad.append(number)
        found = kind(number, page.content) if page and not is_map(number) else 0
        if page is None or not found or self._image.unused(number):
            return
        owner, sure = self._owner(number)
        if owner is None:
            owner, sure = self._by_shape(number, found), False
        table = self._tables.get(owner or "")
        if table is not None and found in _ROWS_IN[table.keyed]:
            self._pages[table.name].append(number << 1 | (sure and page.newest))

    def _owner(self, number: int) -> tuple[str | None, bool]:
        """The name at the root above a page; None where no way leads there."""
        for _ in range(_DEPTH):
            if number in self._roots:
                return self._roots[number], True
            found = self._image.pointer(number)
            if found is not None and found[0] in {_BTREE, ROOT}:
                above = found[1]
            else:
                above = self._links().get(number, 0)
            if above == 0:
                return None, False
            number = above
        return None, False

    def _links(self) -> dict[int, int]:
        """Which page points down to which, by the pages themselves; read once, if ever."""
        if self._above is None:
            self._above = {}
            for number in range(1, self._image.count + 1):
                page = self._image.page(number)
                if page and not is_map(number) and kind(number, page.content) in INTERIOR:
                    for cell in _sound_cells(number, page.content):
                        self._above[cell.child] = number
        return self._above

    def _by_shape(self, number: int, found: int) -> str | None:
        """The one table that every readable row of a page fits."""
        stored = [each for each in self._stored(number) if each[0] is not None]
        fitting = [
            name
            for name, table in self._tables.items()
            if found in _ROWS_IN[table.keyed]
            and all(table.row(rowid, row or []) for row, rowid in stored)
        ]
        return fitting[0] if stored and len(fitting) == 1 else None


def _roots(image: Image) -> dict[str, int]:
    """Where tables begin, as the database's own schema says, as far as it can be read."""
    found: dict[str, int] = {}
    waiting, seen = [1], set[int]()
    while waiting:
        number = waiting.pop()
        page = image.page(number) if 0 < number <= image.count else None
        if page is None or number in seen:
            continue
        seen.add(number)
        for cell in _sound_cells(number, page.content):
            if cell.child:
                waiting.append(cell.child)
                continue
            _note_root(image, cell, found)
    return found


def _note_root(image: Image, cell: Cell, found: dict[str, int]) -> None:
    def overflow(number: int) -> bytes | None:
        page = image.page(number) if 0 < number <= image.count else None
        return page.content if page else None

    try:
        _, name, _, root, *_ = values(payload(cell, overflow))
    except (Unreadable, ValueError):
        return
    if isinstance(name, str) and isinstance(root, int) and root > 0:
        found[name] = root


def _sound_cells(number: int, page: bytes) -> Iterator[Cell]:
    """The cells of a page up to the first that makes no sense."""
    try:
        yield from cells(number, page) if page else ()
    except Unreadable:
        return
