"""A start with a long backlog: when the agent is ready, its memory, what a save takes (T08)."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from bench.backlog import fill
from bench.running import agent, cpu, entering, memory
from bench.table import quantile, show
from tests.agent.unit import Unit

PENDING = (0, 1_000_000)
_SAVES = 500
_IDLE = 20.0


def measure(folder: Path) -> tuple[float, float, float, float, float]:
    """Seconds until ready, MB at most, p50 and p99 of a save in ms, % of a core when idle."""
    unit = Unit(folder)
    with agent(unit) as (process, ready):
        entering(unit, 20)
        took = entering(unit, _SAVES)
        before = cpu(process)
        time.sleep(_IDLE)
        idle = 100 * (cpu(process) - before) / _IDLE
        ends = [1000 * quantile(took, part) for part in (0.5, 0.99)]
        return ready, memory(process.pid, "VmHWM"), ends[0], ends[1], idle


def main(pending: tuple[int, ...] = PENDING) -> None:
    """The long backlog takes minutes to make, and some gigabytes of the temporary folder."""
    rows = []
    for count in pending:
        with tempfile.TemporaryDirectory(prefix="qafila-bench-") as place:
            fill(Path(place) / "state", count)
            rows.append((f"{count:,}", *measure(Path(place))))
    show(("pending", "ready s", "memory MB", "save p50 ms", "p99 ms", "idle % of a core"), rows)
