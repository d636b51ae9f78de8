"""The measurements of `make bench` run, on a small scale, and say what they should."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

import bench.__main__ as all_of_them
from bench import backlog, connections, forking, offline, saving, starting, table

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def test_every_measurement_is_found_and_an_unknown_one_is_named(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert all_of_them.main(["nothing"]) == 2
    said = capsys.readouterr().err
    for name in ("connections", "draining", "migrating", "offline", "saving", "starting", "voyage"):
        assert name in said


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("measure", "rows"),
    [
        (lambda: starting.main((0, 200)), 2),
        (lambda: connections.main(10), 6),
        (lambda: forking.main((200,)), 1),
        (lambda: offline.main(1), 1),
    ],
)
def test_measurement_prints_its_table(
    measure: Callable[[], None],
    rows: int,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(starting, "_IDLE", 0.1)
    monkeypatch.setattr(starting, "_SAVES", 5)
    measure()
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == rows + 2
    assert len({line.count("|") for line in printed}) == 1


async def test_saving_records_as_many_as_it_says(tmp_path: Path) -> None:
    store = backlog.open_bench(tmp_path)
    try:
        took = await saving.save(store, at_once=3, readings=10)
        assert store.reader.execute("SELECT count(*) FROM record").fetchone() == (10,)
    finally:
        store.close()
    assert len(took) == 10


def test_table_is_markdown(capsys: pytest.CaptureFixture[str]) -> None:
    table.show(("what", "ms"), [("a", 1.234), ("bcd", 12345.6)])
    head, rule, *rows = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"\| what \| ms +\|", head)
    assert set(rule) == {"|", "-"}
    assert rows == ["| a    | 1.23      |", "| bcd  | 12,345.60 |"]
