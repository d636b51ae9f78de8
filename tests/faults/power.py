"""One power cut of the real store in a real process, and what the next boot finds."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from sqlcipher3 import dbapi2 as sqlite

from agent.errors import StoreError
from agent.store import settling
from sync.contract.batch import link
from tests.faults.disk import ROOT, VolatileDisk
from tests.faults.feed import Written
from tests.faults.scribe import LANE, Code, State, open_scribe, purge_some

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from agent.store.connection import Connection

OPERATIONS = {
    State.BORN: 900,
    State.INGESTING: 4000,
    State.DRAINING: 4000,
    State.PURGING: 6000,
    State.MIGRATING: 700,
}
"""At which operation that changes the disk the power goes, at the latest."""
_CEILING = 60.0
_SOUND = (
    "SELECT sum(last) = (SELECT count(*) FROM identity) FROM lane",
    "SELECT sum(last - aged) = (SELECT count(*) FROM record) FROM lane",
    "SELECT sum(aged) = (SELECT count(*) FROM anchor) FROM lane",
    "SELECT count(*) = (SELECT coalesce(sum(refs), 0) FROM blob) FROM record_blob",
    "SELECT count(*) = count(kind) FROM record_blob LEFT JOIN record USING (epoch, lane, seq)",
    "SELECT count(*) = 0 FROM record LEFT JOIN raw ON sha256 = raw_sha256 WHERE sha256 IS NULL",
)
_BETWEEN = 0.04
"""Seconds, at the most, between two looks of `cut_often`."""


@dataclass
class Ledger:
    """What the process had been told, kept outside of it."""

    acknowledged: list[Written] = field(default_factory=list)
    settled: int = 0
    may_go: int = 0

    def hear(self, line: str) -> None:
        """Note down what the process said; a line that the cut tore does not count."""
        if not line.endswith("\n"):
            return
        said, *words = line.split()
        if said == "ok":
            self.acknowledged.append(Written.read(words))
        elif said == "settled":
            self.settled = int(words[0])
        elif said == "may-go":
            self.may_go = int(words[0])

    @property
    def wanted(self) -> list[Written]:
        """What must be there: the scribe takes a few at a time, so the first are the lowest."""
        return self.acknowledged[self.may_go :]

    def copy(self) -> Ledger:
        """What is known by now, while more is heard."""
        return replace(self, acknowledged=list(self.acknowledged))


@dataclass(frozen=True)
class Base:
    """A state folder that was in use before, and every reading in it."""

    folder: Path
    readings: tuple[Written, ...]


@dataclass(frozen=True)
class Outcome:
    """What came of one cut. `broken` says what the next start or a check complained of."""

    state: State
    seed: int
    acknowledged: int
    lost: int
    doubled: int
    broken: str = ""

    @property
    def clean(self) -> bool:
        """Whether the promise held."""
        return not (self.lost or self.doubled or self.broken)


def cut_once(
    seed: int,
    state: State,
    code: Code = Code.AS_IT_IS,
    *orders: str,
    base: Base | None = None,
    at: int | None = None,
) -> Outcome:
    """Run a scribe on a fresh disk, cut the power, boot, and compare with the ledger.

    `orders` go to the disk first (`lie`); all of `base` is acknowledged before; `at` is the
    operation that the cut comes before.
    """
    chance = random.Random(seed)
    with VolatileDisk() as disk:
        folder = disk.backing / "state"
        ledger = Ledger()
        if base is not None:
            shutil.copytree(base.folder, folder)
            ledger.acknowledged = list(base.readings)
            _remount(disk)
        for order in orders:
            disk.tell(*order.split())
        if state is not State.IDLE:
            at = at or 1 + chance.randrange(OPERATIONS[state])
            disk.tell("cut-at", at, seed)
        _run_scribe(disk, ledger, state, code, seed)
        return judge(folder, ledger, state, seed)


def cut_often(
    seed: int, state: State, cuts: int, code: Code = Code.AS_IT_IS, base: Base | None = None
) -> list[Outcome]:
    """Run one scribe and look, again and again, at what a cut now would leave; then cut.

    Each look is a power cut as any other: what the process had said before it must be there.
    """
    chance = random.Random(seed)
    outcomes = []
    with VolatileDisk() as disk:
        ledger = Ledger()
        if base is not None:
            shutil.copytree(base.folder, disk.backing / "state")
            ledger.acknowledged = list(base.readings)
            _remount(disk)
        with _scribe(disk, state, code, seed) as scribe:
            hearing = threading.Thread(target=_hear, args=(scribe, ledger))
            hearing.start()
            begun = len(ledger.acknowledged)
            quiet = state is State.MIGRATING
            _await_beginning(disk, scribe, lambda: quiet or len(ledger.acknowledged) > begun)
            for number in range(cuts - 1):
                time.sleep(chance.uniform(0, _BETWEEN))
                scribe.send_signal(signal.SIGSTOP)  # else it goes on while we look
                known, image = ledger.copy(), disk.backing.parent / f"image-{number}"
                image.mkdir()
                disk.tell("image", image, chance.randrange(1 << 30))
                outcomes.append(judge(image / "state", known, state, seed))
                shutil.rmtree(image)
                scribe.send_signal(signal.SIGCONT)
            known = ledger.copy()
            disk.cut(seed)
            scribe.kill()
            hearing.join()
        return [*outcomes, judge(disk.backing / "state", known, state, seed)]


def _hear(scribe: subprocess.Popen[str], ledger: Ledger) -> None:
    assert scribe.stdout
    for line in scribe.stdout:
        ledger.hear(line)


def _await_beginning(
    disk: VolatileDisk, scribe: subprocess.Popen[str], begun: Callable[[], bool]
) -> None:
    """Wait until something changes on the disk, and something was said where it will be."""
    deadline = time.monotonic() + _CEILING
    while disk.tell("heal") == "0" or not begun():
        if scribe.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"the scribe never began: {_said(disk)}")
        time.sleep(0.002)


def _remount(disk: VolatileDisk) -> None:
    """Let the disk hold what was put into its backing."""
    kept = disk.backing.with_name("kept")
    shutil.move(disk.backing / "state", kept)
    disk.cut(0)
    shutil.move(kept, disk.backing / "state")
    disk.mount()


def _run_scribe(disk: VolatileDisk, ledger: Ledger, state: State, code: Code, seed: int) -> None:
    with _scribe(disk, state, code, seed) as scribe:
        assert scribe.stdout
        for line in scribe.stdout:
            ledger.hear(line)
            if line.startswith("idle"):
                disk.cut(seed)
                break
    if not disk.went_dark():
        raise RuntimeError(f"the scribe ended before the power did: {_said(disk)}")


@contextmanager
def _scribe(
    disk: VolatileDisk, state: State, code: Code, seed: int
) -> Iterator[subprocess.Popen[str]]:
    words = (str(disk.folder / "state"), state.value, code.value, str(seed))
    with (
        (disk.backing.parent / "scribe.log").open("wb") as log,
        subprocess.Popen(
            [sys.executable, "-m", "tests.faults.scribe", *words],
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        ) as scribe,
    ):
        try:
            yield scribe
        finally:
            scribe.kill()
            scribe.wait(_CEILING)


def _said(disk: VolatileDisk) -> str:
    return (disk.backing.parent / "scribe.log").read_text("utf-8", "replace")[-2000:]


def judge(folder: Path, ledger: Ledger, state: State, seed: int) -> Outcome:
    """Boot from what the cut left, and count."""
    wanted, found, broken = ledger.wanted, [], ""
    try:
        with closing(open_scribe(folder)) as store:
            settled = settling.load(store.reader, "centre", store.epoch, LANE)
        if settled is None or settled.through < ledger.settled:
            broken = "a receipt that was applied is forgotten"
        found = examine(folder)
        if state is State.PURGING:
            asyncio.run(go_on_purging(folder))
            through = settled.through if settled else 0  # what it said last may be on its way
            assert set(ledger.acknowledged[through:]) <= {each for each, _ in examine(folder)}
    except (StoreError, sqlite.Error, AssertionError, OSError) as error:
        broken = str(error) or repr(error)
    ids = [record for _, record in found]
    whole = {each for each, _ in found}
    return Outcome(
        state=state,
        seed=seed,
        acknowledged=len(wanted),
        lost=sum(each not in whole for each in wanted),
        doubled=len(ids) - len(set(ids)) + len(found) - len(whole),
        broken=broken,
    )


def examine(folder: Path) -> list[tuple[Written, str]]:
    """Every record as its bytes say it, with its id; AssertionError where not all is whole."""
    with closing(open_scribe(folder)) as store:
        reader = store.reader
        assert reader.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert reader.execute("PRAGMA cipher_integrity_check").fetchall() == []
        blobs = _blobs(reader)
        found: list[tuple[Written, str]] = []
        for seq, record, line, before, after in reader.execute(
            "SELECT seq, record_id, line, prev_hash, hash FROM record WHERE lane = ? ORDER BY seq",
            (LANE,),
        ):
            behind = settling.hash_at(reader, store.epoch, LANE, seq - 1)
            assert bytes(before) == behind, "the chain is broken"
            assert link(bytes(before), bytes(line)) == bytes(after), "the chain is not of this line"
            found.append((told(bytes(line), blobs), record))
        _check_rest(reader)
        return found


def _check_rest(reader: Connection) -> None:
    """What left, left its hash and its id; nothing refers to what is gone."""
    assert reader.execute("PRAGMA foreign_key_check").fetchall() == []
    for sql in _SOUND:
        assert reader.execute(sql).fetchone() == (1,), sql


async def go_on_purging(folder: Path) -> None:
    """Let the next start end what the cut interrupted."""
    with closing(open_scribe(folder)) as store:
        await purge_some(store, 10_000)
        await purge_some(store, 20_000)
        (unowned,) = store.reader.execute("SELECT count(*) FROM blob WHERE refs = 0").fetchone()
        assert unowned == 0, "content that nobody refers to was left"


def told(line: bytes, blobs: dict[str, str]) -> Written:
    """A line as a ledger would have it; blobs by the hash that their bytes have."""
    said = json.loads(line, parse_float=str, parse_int=str)
    return Written(
        raw=said["raw"]["sha256"],
        value=_values(said)[0],
        blobs=tuple(blobs.get(each["sha256"], "missing") for each in said["blobs"]),
    )


def _values(said: dict[str, Any]) -> list[Any]:
    resources = [entry["resource"] for entry in said["entries"]]
    return [each["valueQuantity"]["value"] for each in resources if "valueQuantity" in each]


def _blobs(reader: Connection) -> dict[str, str]:
    """The name of each blob, and the hash that its bytes have."""
    pieces: dict[str, Any] = {}
    for name, content in reader.execute(
        "SELECT sha256, content FROM chunk ORDER BY sha256, offset"
    ):
        pieces.setdefault(bytes(name).hex(), hashlib.sha256()).update(content)
    return {name: digest.hexdigest() for name, digest in pieces.items()}
