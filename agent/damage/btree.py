"""Pages of SQLite's b-trees, read one by one: pure (sqlite.org/fileformat2.html, part 1.6 on).

Raises Unreadable for whatever such a page can't be; nothing here trusts a length or a number.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from agent.damage.cipher import USABLE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Value = int | float | str | bytes | None
INDEX_INTERIOR: Final = 0x02
TABLE_INTERIOR: Final = 0x05
INDEX_LEAF: Final = 0x0A
TABLE_LEAF: Final = 0x0D
INTERIOR: Final = frozenset({INDEX_INTERIOR, TABLE_INTERIOR})
KINDS: Final = frozenset({INDEX_INTERIOR, TABLE_INTERIOR, INDEX_LEAF, TABLE_LEAF})
_FILE_HEADER = 100
_TABLE_LOCAL = USABLE - 35
_INDEX_LOCAL = (USABLE - 12) * 64 // 255 - 23
_MIN_LOCAL = (USABLE - 12) * 32 // 255 - 23
_PAYLOAD_MAX = 1 << 27
_INTEGERS = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}
_BLOB, _TEXT, _REAL, _ZERO, _ONE = 12, 13, 7, 8, 9
_VARINT_MAX = 9


class Unreadable(Exception):  # noqa: N818 - a state of a page, not a mistake
    """These bytes are no such page, cell or row."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell: the page below it, its row number, its payload's size, beginning and next page."""

    child: int
    rowid: int
    size: int
    local: bytes
    overflow: int


def kind(number: int, page: bytes) -> int:
    """The kind of a b-tree page, by its first byte; 0 for a page that is none."""
    flag = page[_start(number)]
    return flag if flag in KINDS else 0


def cells(number: int, page: bytes) -> Iterator[Cell]:
    """Every cell of a b-tree page, in order; Unreadable at the first that can't be."""
    start = _start(number)
    flag = page[start]
    if flag not in KINDS:
        raise Unreadable("no page of a b-tree")
    inner = flag in INTERIOR
    (count,) = struct.unpack_from(">H", page, start + 3)
    at = start + (12 if inner else 8)
    if at + 2 * count > USABLE:
        raise Unreadable("more cells than a page holds")
    for place in struct.unpack_from(f">{count}H", page, at):
        yield _cell(page, place, flag)
    if inner:
        (last,) = struct.unpack_from(">I", page, start + 8)
        yield Cell(last, 0, 0, b"", 0)


def payload(cell: Cell, read: Callable[[int], bytes | None]) -> bytes:
    """A cell's whole payload; `read` gives an overflow page, None where it is unreadable."""
    pieces, left, following = [cell.local], cell.size - len(cell.local), cell.overflow
    while left > 0:
        page = read(following)
        if page is None:
            raise Unreadable("a page that the row goes on in can't be read")
        piece = page[4 : 4 + min(left, USABLE - 4)]
        pieces.append(piece)
        left -= len(piece)
        following = int.from_bytes(page[:4], "big")
    return b"".join(pieces)


def values(content: bytes) -> list[Value]:
    """The columns of a row (record format, part 2.1)."""
    size, at = varint(content, 0)
    if size > len(content):
        raise Unreadable("a row whose head is longer than itself")
    found: list[Value] = []
    body = size
    while at < size:
        code, at = varint(content, at)
        value, body = _value(content, body, code)
        found.append(value)
    return found


def varint(content: bytes, at: int) -> tuple[int, int]:
    """A variable-length integer, and where it ends."""
    found = 0
    for number, byte in enumerate(content[at : at + _VARINT_MAX]):
        if number == _VARINT_MAX - 1:
            return _signed(found << 8 | byte, 8), at + _VARINT_MAX
        found = found << 7 | byte & 0x7F
        if byte < 0x80:  # noqa: PLR2004 - the continuation bit
            return found, at + number + 1
    raise Unreadable("a number without an end")


def _cell(page: bytes, at: int, flag: int) -> Cell:
    child, rowid, size = 0, 0, 0
    if flag in INTERIOR:
        if at + 4 > USABLE:
            raise Unreadable("a cell beyond its page")
        child, at = int.from_bytes(page[at : at + 4], "big"), at + 4
    if flag == TABLE_INTERIOR:
        return Cell(child, varint(page, at)[0], 0, b"", 0)
    size, at = varint(page, at)
    if flag == TABLE_LEAF:
        rowid, at = varint(page, at)
    here = _local(size, _TABLE_LOCAL if flag == TABLE_LEAF else _INDEX_LOCAL)
    spilled = here < size
    if not 0 <= size <= _PAYLOAD_MAX or at + here + 4 * spilled > USABLE:
        raise Unreadable("a cell beyond its page")
    overflow = int.from_bytes(page[at + here : at + here + 4], "big") if spilled else 0
    return Cell(child, rowid, size, page[at : at + here], overflow)


def _local(size: int, most: int) -> int:
    """How many bytes of a payload lie in the cell itself."""
    if size <= most:
        return size
    found = _MIN_LOCAL + (size - _MIN_LOCAL) % (USABLE - 4)
    return found if found <= most else _MIN_LOCAL


def _value(content: bytes, at: int, code: int) -> tuple[Value, int]:
    if code in {0, _ZERO, _ONE}:
        return (None if code == 0 else code - _ZERO), at
    if code >= _BLOB:
        size = (code - _BLOB) // 2
    elif code == _REAL:
        size = 8
    elif code in _INTEGERS:
        size = _INTEGERS[code]
    else:
        raise Unreadable("a value of no known type")
    piece = content[at : at + size]
    if len(piece) != size:
        raise Unreadable("a value beyond its row")
    return _read(piece, code), at + size


def _read(piece: bytes, code: int) -> Value:
    if code == _REAL:
        return float(struct.unpack(">d", piece)[0])
    if code < _BLOB:
        return int.from_bytes(piece, "big", signed=True)
    if code % 2 == 0:
        return piece
    try:
        return piece.decode()
    except UnicodeDecodeError:
        raise Unreadable("a text that is none") from None


def _signed(number: int, size: int) -> int:
    return int.from_bytes(number.to_bytes(size, "big"), "big", signed=True)


def _start(number: int) -> int:
    return _FILE_HEADER if number == 1 else 0
