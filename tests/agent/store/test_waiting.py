"""What the agent asks every second costs no more with a long log than with a short one (T08)."""

from __future__ import annotations

import random
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING

import pytest

from agent.clock import boot_id
from agent.clock_watch import _history
from agent.consultations import open_boxes
from agent.store import epochs
from agent.store.figures import figures
from agent.store.frames import undecoded
from agent.store.listing import pending, readings
from agent.store.settling import present
from bench.backlog import fill, open_bench

from .truck import capture, open_store

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from agent.store.connection import Connection
    from agent.store.store import Store

SHORT, LONG = 1_000, 12_000
SLACK = 1.3
"""A tree of a few thousand rows more is a level deeper here and there."""
_EVERY = 10

ASKED: dict[str, Callable[[Store], object]] = {
    "status": lambda store: figures(store.reader, "centre"),
    "open boxes": lambda store: open_boxes(store.reader),
    "batch": lambda store: store.outbox("centre")._views(),
    "chunk": lambda store: store.outbox("centre")._blobs(),
    "readings": lambda store: readings(store.reader, "centre", 20),
    "pending": lambda store: pending(store.reader, "centre", 20),
    "clock": lambda store: _history(store.reader, boot_id()),
    "recovery": lambda store: undecoded(store.reader),
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """A unit with a short backlog and one with a long one; both have the same pictures to send."""
    places = {count: tmp_path_factory.mktemp("bench") / str(count) for count in (SHORT, LONG)}
    for count, folder in places.items():
        fill(folder, count, picture_every=count // 10)
    return places


@pytest.mark.parametrize("asked", ASKED)
def test_what_is_asked_again_and_again_never_scans_the_log(
    asked: str, folders: dict[int, Path]
) -> None:
    """T08."""
    work = {}
    for count, folder in folders.items():
        with closing(open_bench(folder)) as store:
            work[count] = steps(store.reader, partial(ASKED[asked], store))
    assert work[LONG] <= SLACK * work[SHORT] + 100, work


async def test_saving_costs_no_more_with_a_long_log(folders: dict[int, Path]) -> None:
    """T08, T17."""
    work = {}
    for count, folder in folders.items():
        with closing(open_bench(folder)) as store:
            await store.record(capture(b"first of the process"))
            connection = store.writer._connection
            counted = Counter(connection)
            for number in range(20):
                await store.record(capture(b"another %d %d" % (count, number)))
            work[count] = counted.end()
    assert work[LONG] <= SLACK * work[SHORT] + 100, work


def test_counting_steps_notices_a_scan(folders: dict[int, Path]) -> None:
    work = {}
    for count, folder in folders.items():
        with closing(open_bench(folder)) as store:
            work[count] = steps(store.reader, partial(scan, store.reader))
    assert work[LONG] > 5 * work[SHORT]


def scan(reader: Connection) -> None:
    reader.execute("SELECT count(*) FROM record WHERE summary = 'none'").fetchone()


class Counter:
    """Counts what SQLite's virtual machine does on a connection, in tens of instructions."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.tens = 0
        connection.set_progress_handler(self._count, _EVERY)

    def _count(self) -> int:
        self.tens += 1
        return 0

    def end(self) -> int:
        self._connection.set_progress_handler(None, _EVERY)
        return self.tens * _EVERY


def steps(connection: Connection, work: Callable[[], object]) -> int:
    """How many instructions some work takes."""
    counted = Counter(connection)
    work()
    return counted.end()


async def test_what_waits_is_listed_as_the_log_has_it(tmp_path: Path) -> None:
    """Whatever comes and goes, in any order: pictures, centres, epochs, the tray."""
    chance = random.Random(1)
    with closing(open_store(tmp_path / "unit")) as store:
        for turn in range(120):
            act = chance.choice((take, take, hold, follow, fork, sort, forget))
            if act is take:
                blobs = tuple(b"picture %d" % chance.randrange(6) for _ in range(2))
                await store.record(capture(b"%d" % turn, blobs=blobs, box=None))
            else:
                await store.writer.write(partial(act, chance))
            assert listed(store.reader) == true(store.reader), (turn, act.__name__)
            assert figures(store.reader, "centre")["tray"] == in_tray(store.reader)


def take(_: random.Random, __: Connection) -> None:
    """A reading with two pictures, which others may have had before."""


def hold(chance: random.Random, connection: Connection) -> None:
    """The centre says what it has of a blob: all, or less than before."""
    for (sha256,) in connection.execute("SELECT sha256 FROM blob ORDER BY sha256").fetchall()[:2]:
        connection.execute(
            "INSERT INTO blob_settled VALUES ('centre', ?, 'a', '[]', ?) ON CONFLICT DO UPDATE "
            "SET complete = excluded.complete",
            (sha256, chance.randrange(2)),
        )


def follow(_: random.Random, connection: Connection) -> None:
    """Another centre: nothing is known of it."""
    connection.execute("DELETE FROM blob_settled")


def fork(_: random.Random, connection: Connection) -> None:
    """A new epoch."""
    epochs.fork(connection, "centre", "test", present(connection, "centre"))


def sort(chance: random.Random, connection: Connection) -> None:
    """Somebody assigns what lies in the tray, or takes it back."""
    word = chance.choice(("nurse", None))
    connection.execute(
        "UPDATE tray SET assigned_by = ? WHERE record_id IN "
        "(SELECT record_id FROM tray ORDER BY record_id LIMIT 2)",
        (word,),
    )


def forget(_: random.Random, connection: Connection) -> None:
    """What is confirmed may age out, and the tray's lines with it."""
    connection.execute("DELETE FROM record_blob WHERE seq = (SELECT min(seq) FROM record_blob)")
    connection.execute("DELETE FROM tray WHERE record_id = (SELECT min(record_id) FROM tray)")


def listed(connection: Connection) -> set[tuple[object, ...]]:
    return set(connection.execute("SELECT lane, seq, epoch, sha256 FROM blob_due"))


def true(connection: Connection) -> set[tuple[object, ...]]:
    return set(
        connection.execute(
            "SELECT lane, seq, epoch, sha256 FROM record_blob WHERE sha256 NOT IN "
            "(SELECT sha256 FROM blob_settled WHERE complete = 1)"
        )
    )


def in_tray(connection: Connection) -> int:
    sql = "SELECT count(*) FROM tray WHERE assigned_by IS NULL"
    return int(connection.execute(sql).fetchone()[0])
