"""Looking into a centre, for tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from central import report

if TYPE_CHECKING:
    from pathlib import Path

    from central.store import Store


def stored(folder: Path) -> set[tuple[str, str, str]]:
    return set(report.records(folder))


def rows(store: Store) -> dict[str, list[tuple[object, ...]]]:
    """Everything but serials, what was told, and counters."""
    tables = {
        "lanes": "unit, epoch, lane, through, offered",
        "entries": "lane_id, seq, hash, prev_hash, record_id, outcome, code, reason",
        "records": "*",
        "blobs": "*",
        "chunks": "*",
        "record_blobs": "*",
    }
    return {
        table: store._sql.execute(f"SELECT {columns} FROM {table} ORDER BY 1, 2, 3").fetchall()
        for table, columns in tables.items()
    }


def refusals(folder: Path, unit: str = "azilal-03") -> dict[str, int]:
    found = report.status(folder)
    return next((u.refused_messages for u in found.units if u.unit == unit), found.strangers)
