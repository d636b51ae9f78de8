"""A real process that records into a real store until the power is cut.

    python -m tests.faults.scribe FOLDER STATE CODE SEED

It says `ok RAW VALUE BLOBS…` once `record()` returned, `settled N` once a receipt was applied,
`may-go N` before retention deletes, and `idle` once nothing moves any more. CODE is the code as
it is, or one of its mutants.
"""

from __future__ import annotations

import asyncio
import faulthandler
import os
import random
import sys
import traceback
import uuid
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from agent.clock import now
from agent.damage.salvage import Salvor
from agent.store import purge, schema, settling
from agent.store import store as store_module
from agent.store.connection import open_writer
from agent.store.retention import Retention
from agent.store.store import Store
from agent.store.writer import Writer
from sync.contract.receipt import Held, Receipt
from tests.faults.feed import take_reading, written

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from sqlite_utils import Database

    from agent.clock import Stamp
    from agent.store.connection import Connection

UNIT, KEY, LANE = "test-01", "5a" * 48, "clinical"
_AT_ONCE = 4
_LONGEST = 60.0
_BEFORE_IDLE = 12


class State(StrEnum):
    """What the unit is doing when the power goes."""

    BORN = "born"
    IDLE = "idle"
    INGESTING = "ingesting"
    DRAINING = "draining"
    PURGING = "purging"
    MIGRATING = "migrating"


class Code(StrEnum):
    """The code under test: as it is, or broken in one place."""

    AS_IT_IS = "as-it-is"
    SYNCHRONOUS_NORMAL = "synchronous-normal"
    SAYS_SO_BEFORE_COMMIT = "says-so-before-commit"
    MIGRATES_IN_PIECES = "migrates-in-pieces"
    PURGES_WHAT_IS_PENDING = "purges-what-is-pending"
    SALVAGES_NOTHING = "salvages-nothing"


class SaysSoBeforeCommit(Writer):
    """A mutant: a job has ended when it ran, not when it is on disk."""

    def _attempt(
        self,
        job: Callable[[Connection], Any],
        future: Future[Any],
        done: list[tuple[Future[Any], Any]],
    ) -> None:
        super()._attempt(job, future, done)
        if not future.done():
            future.set_result(done.pop()[1])


def break_code(code: Code) -> None:
    """Put a mutant in the place of what it breaks."""
    if code is Code.SYNCHRONOUS_NORMAL:

        def open_carelessly(folder: Path, key: str) -> Connection:
            connection = open_writer(folder, key)
            connection.execute("PRAGMA synchronous = NORMAL")
            return connection

        patch.object(store_module, "open_writer", open_carelessly).start()
    if code is Code.SAYS_SO_BEFORE_COMMIT:
        patch.object(store_module, "Writer", SaysSoBeforeCommit).start()
    if code is Code.PURGES_WHAT_IS_PENDING:
        patch.object(purge, "may_go", lambda *_: sys.maxsize).start()
    if code is Code.SALVAGES_NOTHING:
        patch.object(Salvor, "_unfinished", lambda _: []).start()


def learn_migration(code: Code = Code.AS_IT_IS) -> None:
    """Know a migration that no unit has had: it copies the whole log into another table."""

    @schema.store(name="rewritten", transactional=code is not Code.MIGRATES_IN_PIECES)
    def rewrite(db: Database) -> None:
        db.execute("CREATE TABLE rewritten (seq INTEGER PRIMARY KEY, line BLOB NOT NULL) STRICT")
        for epoch in range(4):
            db.execute(
                "INSERT INTO rewritten SELECT seq * 4 + ?, line FROM record WHERE lane = ?",
                (epoch, LANE),
            )


def open_scribe(folder: Path) -> Store:
    """Open the store; its key lies on another disk."""
    return Store.open(folder, KEY, UNIT, "simulated")


async def record_some(store: Store, chance: random.Random, name: str) -> None:
    """Record a few at once, as one commit may carry several."""
    takes = [take_reading(f"{name}-{n}", chance, now(), "simulated") for n in range(_AT_ONCE)]

    async def record(number: int) -> None:
        await store.record(takes[number])
        say("ok", written(takes[number]).words())

    await asyncio.gather(*(record(number) for number in range(len(takes))))


async def settle_some(store: Store, central_epoch: str, serial: int, but: int = 0) -> int:
    """Apply a receipt for all that is there, but the newest few; give the last seq settled."""
    state = settling.load(store.reader, "centre", store.epoch, LANE)
    assert state
    through = state.last - but
    head = settling.hash_at(store.reader, store.epoch, LANE, through)
    assert head
    rows = store.reader.execute(
        "SELECT DISTINCT sha256, size FROM blob JOIN record_blob USING (sha256) "
        "WHERE seq > ? AND seq <= ? LIMIT 64",
        (state.through, through),
    )
    whole = [Held(sha256=sha256.hex(), size=size, have=((0, size - 1),)) for sha256, size in rows]
    outbox = store.outbox("centre")
    hello = await outbox.hello(str(uuid.uuid4()))
    receipt = Receipt(
        central_epoch=central_epoch,
        serial=serial,
        unit=UNIT,
        epoch=store.epoch,
        lane=LANE,
        through=through,
        head_hash=head.hex(),
        last=through,
        chunks=tuple(whole),
        answers=hello.session,
    )
    await outbox.settle(receipt)
    say("settled", str(through))
    return through


async def purge_some(store: Store, days: int) -> None:
    """Assign every reading, let a few days go by, and let go of what is old and settled."""
    sql = "UPDATE tray SET assigned_by = 'nurse'"
    await store.writer.write(lambda connection: connection.execute(sql))

    def later() -> Stamp:
        stamp = now()
        return replace(stamp, mono_ns=stamp.mono_ns + days * 86_400_000_000_000)

    await Retention(store, "centre", 1, sample=later).sweep()


async def work(folder: Path, state: State, seed: int) -> None:
    """Be in a state until the power is cut."""
    chance = random.Random(seed)
    store = open_scribe(folder)
    central_epoch = str(uuid.uuid4())
    limit = _BEFORE_IDLE if state is State.IDLE else sys.maxsize
    for turn in range(limit):
        await record_some(store, chance, f"{seed}-{turn}")
        if state is State.DRAINING:
            await settle_some(store, central_epoch, turn + 1)
        if state is State.PURGING:
            settled = await settle_some(store, central_epoch, turn + 1, but=_AT_ONCE)
            say("may-go", str(settled))
            await purge_some(store, 2 * turn)
    store.close()
    store = open_scribe(folder)
    say("idle")
    await asyncio.Event().wait()


def say(*words: str) -> None:
    """Tell whoever keeps the ledger, at once."""
    sys.stdout.write(" ".join(words) + "\n")
    sys.stdout.flush()


def main(folder: str, state: str, code: str, seed: str) -> None:
    """Break the code where that is asked, and work."""
    break_code(Code(code))
    if state == State.MIGRATING:
        learn_migration(Code(code))
    faulthandler.dump_traceback_later(_LONGEST, exit=True)
    try:
        asyncio.run(work(Path(folder), State(state), int(seed)))
    except BaseException:  # noqa: BLE001 - the disk is gone: no thread may keep this from ending
        traceback.print_exc()
        os._exit(1)


if __name__ == "__main__":
    main(*sys.argv[1:])
