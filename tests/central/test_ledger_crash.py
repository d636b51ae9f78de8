from __future__ import annotations

import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sqlcipher3 import dbapi2

import central
from central import report
from central.errors import Misconfigured, StoreUnavailable
from central.ledger import Ledger
from central.store import Store, _refuse_wal_reset_bug, connect, open_store

from .twin import Twin, cut, new_line

if TYPE_CHECKING:
    from central.ledger import Inbound
    from sync.contract.receipt import Receipt

ROOT = Path(central.__file__).parents[1]
VICTIM = """
import os, signal, sys
from pathlib import Path
from central.ledger import Inbound, Ledger
from central.store import open_store

folder, moment, *names = sys.argv[1:]
group = [Inbound(name, Path(file).read_bytes()) for name, _, file in
         (each.partition("=") for each in names)]
store = open_store(Path(folder))
statements = []

def watch(statement):
    statements.append(statement)
    if moment.isdigit() and len(statements) == int(moment):
        os.kill(os.getpid(), signal.SIGKILL)
    if moment == "before-commit" and statement.startswith("COMMIT"):
        os.kill(os.getpid(), signal.SIGKILL)

store._sql.set_trace_callback(watch)
receipts = Ledger(store).commit(group).receipts
if moment == "after-commit":
    os.kill(os.getpid(), signal.SIGKILL)
print(len(statements), [each.through for each in receipts])
"""


def run_victim(
    folder: Path, moment: str, messages: list[Inbound]
) -> subprocess.CompletedProcess[str]:
    """Commit a group in another process, which kills itself at a moment."""
    arguments = []
    for number, message in enumerate(messages):
        file = folder.parent / f"message-{number}"
        file.write_bytes(message.payload)
        arguments.append(f"{message.topic}={file}")
    return subprocess.run(
        [sys.executable, "-c", VICTIM, str(folder), moment, *arguments],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.fixture
def group(twin: Twin) -> list[Inbound]:
    picture = b"\x05" * 40_000
    twin.write(new_line(), new_line(blobs=[(picture, "photograph")]), b"broken")
    return [twin.hello(), twin.batch(1, 3), *(twin.chunk(piece) for piece in cut(picture))]


def receipts_of(folder: Path, group: list[Inbound]) -> tuple[Receipt, ...]:
    with closing(open_store(folder)) as store:
        return Ledger(store).commit(group).receipts


def test_centre_killed_before_its_commit_has_said_and_kept_nothing(
    folder: Path, group: list[Inbound]
) -> None:
    done = run_victim(folder, "before-commit", group)
    assert (done.returncode, done.stdout) == (-signal.SIGKILL, "")
    assert list(report.records(folder)) == []
    assert list(report.blobs(folder)) == []
    assert report.status(folder).units[0].lanes == ()
    assert receipts_of(folder, group)[-1].through == 3


def test_centre_killed_after_its_commit_has_kept_everything(
    folder: Path, twin: Twin, group: list[Inbound]
) -> None:
    done = run_victim(folder, "after-commit", group)
    assert (done.returncode, done.stdout) == (-signal.SIGKILL, "")
    (answer,) = receipts_of(folder, [twin.hello()])
    assert (answer.through, answer.head_hash) == (3, twin.value(3).hex())
    assert answer.chunks == ()
    assert [blob.complete for blob in report.blobs(folder)] == [True]


def test_centre_killed_at_any_statement_keeps_all_or_nothing(
    folder: Path, group: list[Inbound], tmp_path: Path
) -> None:
    whole = tmp_path / "whole"
    whole.mkdir()
    for name in ("central.db", "central.db-wal"):
        if (folder / name).exists():
            (whole / name).write_bytes((folder / name).read_bytes())
    count = int(run_victim(whole, "never", group).stdout.split()[0])
    assert count > 20
    for moment in range(1, count, count // 8):
        done = run_victim(folder, str(moment), group)
        assert done.returncode == -signal.SIGKILL
        found = len(list(report.records(folder))), len(list(report.blobs(folder)))
        assert found in {(0, 0), (2, 1)}
    assert receipts_of(folder, group)[-1].through == 3
    assert len(list(report.records(folder))) == 2


def test_full_disk_gives_no_receipt_and_mends_itself(
    folder: Path, store: Store, twin: Twin
) -> None:
    ledger = Ledger(store)
    pages = store._sql.execute("PRAGMA page_count").fetchone()[0]
    store._sql.execute(f"PRAGMA max_page_count = {pages}")
    twin.write(new_line(padding="x" * 200_000), new_line())
    group = [twin.hello(), twin.batch(1, 2)]
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match="full"):
            ledger.commit(group)
    assert report.status(folder).units[0].lanes == ()
    store._sql.execute("PRAGMA max_page_count = 100000")
    assert [each.through for each in ledger.commit(group).receipts] == [2, 2]


def test_commit_that_fails_itself_gives_no_receipt(folder: Path, store: Store, twin: Twin) -> None:
    """C-9.1: commit first, answer afterwards."""
    # A deferred constraint is weighed at COMMIT and nowhere before.
    store._sql.executescript(
        "CREATE TABLE pledge (unit TEXT REFERENCES units DEFERRABLE INITIALLY DEFERRED);"
        "CREATE TRIGGER break AFTER INSERT ON records"
        " BEGIN INSERT INTO pledge VALUES ('nobody'); END;"
    )
    twin.write(new_line())
    with pytest.raises(dbapi2.IntegrityError):
        Ledger(store).commit([twin.batch(1, 1)])
    assert list(report.records(folder)) == []
    store._sql.execute("DROP TRIGGER break")
    assert [r.through for r in Ledger(store).commit([twin.batch(1, 1)]).receipts] == [1]


def test_mistake_in_one_message_undoes_the_whole_group(
    folder: Path, store: Store, twin: Twin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store.log, "advance", lambda _lane: 1 / 0)
    twin.write(new_line())
    with pytest.raises(ZeroDivisionError):
        Ledger(store).commit([twin.hello(), twin.batch(1, 1)])
    assert report.status(folder).units[0].lanes == ()


def test_database_is_durable_at_every_commit(store: Store) -> None:
    ask = store._sql.execute
    assert ask("PRAGMA journal_mode").fetchone() == ("wal",)
    assert ask("PRAGMA synchronous").fetchone() == (2,)
    assert ask("PRAGMA foreign_keys").fetchone() == (1,)
    tables = ask("SELECT name, strict FROM pragma_table_list WHERE schema = 'main'").fetchall()
    assert {name for name, strict in tables if not strict} == {"sqlite_schema"}


@pytest.mark.parametrize("version", [(3, 40, 1), (3, 51, 2), (3, 50, 6), (3, 44, 5), (3, 46, 1)])
def test_sqlite_with_the_wal_reset_bug_is_refused(version: tuple[int, ...]) -> None:
    with pytest.raises(Misconfigured, match="WAL"):
        _refuse_wal_reset_bug(version)


@pytest.mark.parametrize("version", [(3, 51, 3), (3, 50, 7), (3, 44, 6), (3, 53, 0), (4, 0, 0)])
def test_mended_sqlite_is_taken(version: tuple[int, ...]) -> None:
    _refuse_wal_reset_bug(version)


def test_file_that_is_no_database_is_named_as_such(folder: Path) -> None:
    (folder / "central.db").write_bytes(b"no database" * 1000)
    for act in (open_store, report.status):
        with pytest.raises(Misconfigured, match=r"central\.db"):
            act(folder)


def test_reader_can_change_nothing(folder: Path) -> None:
    with (
        closing(connect(folder / "central.db", read_only=True)) as sql,
        pytest.raises(dbapi2.OperationalError, match="readonly"),
    ):
        sql.execute("DELETE FROM units")
