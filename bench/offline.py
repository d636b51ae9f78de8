"""Ten readings a second without a link: the part of a core it takes, and what is stored (T17)."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from bench.running import agent, cpu, entering, memory
from bench.table import show
from tests.agent.unit import Unit

SECONDS, A_SECOND = 60, 10


def main(seconds: int = SECONDS) -> None:
    """The readings are entered at the control socket, one connection each."""
    with tempfile.TemporaryDirectory(prefix="qafila-bench-") as place:
        unit = Unit(Path(place))
        with agent(unit) as (process, _):
            entering(unit, 20)
            before, begun = cpu(process), time.monotonic()
            for number in range(seconds * A_SECOND):
                time.sleep(max(0.0, begun + number / A_SECOND - time.monotonic()))
                entering(unit, 1)
            share = 100 * (cpu(process) - before) / (time.monotonic() - begun)
            saved = unit.ask("status")["status"]["store"]["lanes"]["clinical"]["last"] - 20
            row = (seconds * A_SECOND, saved, share, memory(process.pid))
    show(("entered", "stored", "% of a core", "memory MB"), [row])
