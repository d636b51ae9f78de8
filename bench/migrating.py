"""A migration with 100,000 pending rows whose process is killed at random (T52)."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

from agent.store.keys import load_key
from agent.store.store import Store
from bench.backlog import UNIT, fill
from bench.table import show
from tests.faults.disk import ROOT
from tests.faults.scribe import learn_migration

ROWS, KILLS = 100_000, 20
_OPEN = (
    "import sys; from pathlib import Path; from bench.backlog import open_bench; "
    "from tests.faults.scribe import learn_migration; learn_migration(); "
    "print('begun', flush=True); open_bench(Path(sys.argv[1])).close()"
)


def migrate(folder: Path) -> subprocess.Popen[bytes]:
    """Begin to open the store with a version that copies the whole log into another table."""
    words = [sys.executable, "-c", _OPEN, str(folder)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(words, env=environment, stdout=subprocess.PIPE)
    assert process.stdout
    assert process.stdout.readline() == b"begun\n"
    return process


def main(rows: int = ROWS, kills: int = KILLS) -> None:
    """Kill it again and again; then let it come to its end."""
    chance = random.Random(rows)
    with tempfile.TemporaryDirectory(prefix="qafila-bench-") as place:
        folder = Path(place) / "state"
        fill(folder, rows)
        killed = 0
        for _ in range(kills):
            process = migrate(folder)
            time.sleep(chance.uniform(0.0, 2.0))
            process.send_signal(signal.SIGKILL)
            killed += process.wait() == -signal.SIGKILL
        begun = time.perf_counter()
        assert migrate(folder).wait() == 0
        took = time.perf_counter() - begun
        learn_migration()
        with closing(Store.open(folder, load_key(folder), UNIT, "simulated")) as store:
            (kept,) = store.reader.execute("SELECT count(*) FROM record").fetchone()
            (copied,) = store.reader.execute("SELECT count(*) FROM rewritten").fetchone()
    assert kept == rows
    head = ("rows", "killed", "rows afterwards", "rows migrated", "last migration s")
    show(head, [(f"{rows:,}", killed, f"{kept:,}", f"{copied:,}", took)])
