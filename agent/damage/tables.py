"""The tables of this version, as their rows lie in pages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agent.damage.btree import Value
    from agent.store.connection import Connection

Row = dict[str, Any]
_TYPES: dict[str, tuple[type, ...]] = {"INTEGER": (int,), "TEXT": (str,), "BLOB": (bytes,)}
_OURS = "type = 'table' AND name NOT LIKE 'sqlite_%' AND name NOT LIKE '_sqlite_%'"


@dataclass(frozen=True, slots=True)
class Column:
    """A column; `needed` may not be null."""

    name: str
    types: tuple[type, ...]
    needed: bool


@dataclass(frozen=True, slots=True)
class Table:
    """A table: its columns in the order in which a row stores them.

    `rowid` is the column that stands for the row's number; `keyed` a table WITHOUT ROWID.
    """

    name: str
    columns: tuple[Column, ...]
    rowid: str | None
    keyed: bool

    def row(self, number: int, stored: list[Value]) -> Row | None:
        """A row by its columns; None where these values can't be one of this table.

        A row that was written before a column was added ends before that column.
        """
        if len(stored) > len(self.columns):
            return None
        found: Row = {}
        for column, value in zip(self.columns, stored, strict=False):
            if column.name == self.rowid:
                value = number  # noqa: PLW2901 - it is not stored twice
            if not _fits(column, value):
                return None
            found[column.name] = value
        return found if all(each.name in found for each in self.columns if each.needed) else None


def tables(connection: Connection) -> dict[str, Table]:
    """Every table of ours, by its name."""
    names = connection.execute(f"SELECT name FROM sqlite_master WHERE {_OURS}")  # noqa: S608
    return {name: _table(connection, name) for (name,) in names.fetchall()}


def _fits(column: Column, value: Value) -> bool:
    if value is None:
        return not column.needed
    return not column.types or isinstance(value, column.types)


def _table(connection: Connection, name: str) -> Table:
    told = connection.execute("SELECT wr FROM pragma_table_list WHERE name = ?", (name,))
    keyed = bool(told.fetchone()[0])
    info = connection.execute(
        'SELECT name, type, "notnull", dflt_value, pk FROM pragma_table_info(?)', (name,)
    ).fetchall()
    keys = [each for each in info if each[4]]
    alias = keys[0][0] if len(keys) == 1 and keys[0][1] == "INTEGER" and not keyed else None
    if keyed:
        info = sorted(keys, key=lambda each: each[4]) + [each for each in info if not each[4]]
    columns = (
        Column(each[0], _TYPES.get(each[1], ()), bool(each[4] or (each[2] and each[3] is None)))
        for each in info
    )
    return Table(name, tuple(columns), alias, keyed)
