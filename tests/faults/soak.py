"""Faults by seed for a given time: what `make soak` runs.

    python -m tests.faults.soak SECONDS_TO_RUN SEED

In turns: a campaign of the oracle, then power cuts of the store alone. Beside both, in processes
of their own: schedules of the simulation, and fuzzed frames through every codec. Progress goes to
the error output; the last line of the output is one JSON object, and the exit code is 1 where
anything was lost, doubled or broken.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import closing, redirect_stdout
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path

from drivers import DRIVERS
from tests.brokers import find_mosquitto
from tests.faults import oracle
from tests.faults.disk import ROOT, why_not
from tests.faults.power import Base, Outcome, cut_often, cut_once, examine
from tests.faults.scribe import Code, State, learn_migration, open_scribe, record_some

SHORTEST = 30.0
_TURN = 60.0
_OF_FAULTS, _OF_CUTS = 0.4, 0.3
"""The parts of a turn in which a campaign does faults, after which it comes to its end, and in
which the power is cut: longer, up to two turns, where too few cuts were done so far."""
_CUTS_A_SECOND = 0.4
"""At the least, as long as there is time: 240 in the first ten minutes, on a busy machine too."""
_CUTS = {State.BORN: 1, State.PURGING: 1, State.IDLE: 3}
_CUTS_ELSE = 8
"""How many cuts one process goes through. One, where it is in its state but once, or where a line
that is still on its way to the ledger may let something go."""
_CEILING = 60.0


@dataclass
class Tally:
    """What has come of it so far."""

    seed: int
    begun: float = field(default_factory=time.monotonic)
    faults: Counter[str] = field(default_factory=Counter)
    acknowledged: int = 0
    at_centre: int = 0
    lost: int = 0
    duplicates: int = 0
    cuts: int = 0
    schedules: int = 0
    fuzzed: Counter[str] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)

    def line(self) -> str:
        """The last line."""
        return json.dumps(
            {
                "seconds": round(time.monotonic() - self.begun, 1),
                "seed": self.seed,
                "faults": dict(sorted(self.faults.items())),
                "acknowledged": self.acknowledged,
                "at_centre": self.at_centre,
                "lost": self.lost,
                "duplicates": self.duplicates,
            }
        )

    @property
    def clean(self) -> bool:
        """Whether every promise held."""
        return not (self.lost or self.duplicates or self.broken)

    def complain(self, what: str) -> None:
        """Note what went wrong, with what it takes to see it again."""
        self.broken.append(what)
        tell(f"BROKEN: {what}")


def soak(seconds: float, seed: int) -> Tally:
    """Run for so long."""
    tally, chance = Tally(seed), random.Random(seed)
    end = tally.begun + seconds
    with (
        tempfile.TemporaryDirectory(prefix="qafila-soak-") as place,
        beside("tests.model.schedules", seed, seconds) as schedules,
        beside("tests.contract.fuzz", seed, seconds) as frames,
    ):
        base = settled_unit(Path(place) / "state")
        learn_migration()
        while (left := end - time.monotonic()) > 0:
            turn = min(_TURN, left)
            if find_mosquitto() and left > SHORTEST / 2:
                until = time.monotonic() + turn * _OF_FAULTS
                campaign(tally, chance.randrange(1 << 30), until)
            now = time.monotonic()
            due = min(end, now + turn * _OF_CUTS)
            cut_power(tally, chance, base, due, min(end, now + 2 * turn))
            tell(f"{tally.cuts} power cuts, {tally.line()}")
        count_schedules(tally, schedules)
        count_fuzzed(tally, frames)
    return tally


def beside(module: str, seed: int, seconds: float) -> subprocess.Popen[str]:
    """Begin to run a module, with what the machine has left."""
    return subprocess.Popen(
        ["nice", sys.executable, "-m", module, str(seed), str(seconds)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )


def count_schedules(tally: Tally, schedules: subprocess.Popen[str]) -> None:
    """Hear what came of them; an end without a count is a broken promise as well."""
    tally.schedules += hear(tally, "simulation", schedules)["schedules"]
    if not tally.schedules:
        tally.complain("the simulation did not run")
    tell(f"{tally.cuts} power cuts, {tally.schedules} schedules")


def count_fuzzed(tally: Tally, frames: subprocess.Popen[str]) -> None:
    """Hear how many frames each codec stood; none at all is a broken promise as well."""
    tally.fuzzed += hear(tally, "codec", frames)
    for driver in DRIVERS:
        if not tally.fuzzed[driver]:
            tally.complain(f"codec {driver} was not fuzzed")
    tell("fuzzed frames: " + ", ".join(f"{driver} {tally.fuzzed[driver]}" for driver in DRIVERS))


def hear(tally: Tally, what: str, process: subprocess.Popen[str]) -> Counter[str]:
    """What a process beside has counted, once it has ended; what it broke is noted down."""
    counts = Counter[str]()
    try:
        said, _ = process.communicate(timeout=_CEILING)
    except subprocess.TimeoutExpired:
        process.kill()
        said, _ = process.communicate()
        tally.complain(f"{what} did not come to its end")
    for line in said.splitlines():
        word, rest = line.split(" ", 1)
        if word == "broken":
            tally.complain(f"{what} {rest}")
        else:
            counts[word] += int(rest)
    return counts


def campaign(tally: Tally, seed: int, until: float) -> None:
    """One campaign of the oracle; one that can't go on is a broken promise as well."""
    again = f"python -m tests.faults.oracle {seed} 2"
    try:
        done = asyncio.run(oracle.run(seed, rounds=2, until=until))
    except (AssertionError, RuntimeError, TimeoutError) as failure:
        tally.complain(f"{again}: {failure!r}")
        return
    tally.faults += done.faults
    tally.acknowledged += done.verdict.acknowledged
    tally.at_centre += done.verdict.at_centre
    tally.lost += done.verdict.lost
    tally.duplicates += done.verdict.duplicates
    if not done.verdict.clean:
        tally.complain(f"{again}: {done.verdict}\n{done.said}")


def cut_power(tally: Tally, chance: random.Random, base: Base, due: float, end: float) -> None:
    """Cut the power of the store alone, in one state after the other, as often as is due."""
    while not why_not():
        for state in State:
            now = time.monotonic()
            if now > end or (now > due and tally.cuts > _CUTS_A_SECOND * (now - tally.begun)):
                return
            seed = chance.randrange(1 << 30)
            used = base if state is State.MIGRATING or chance.randrange(2) else None
            try:
                for outcome in _cut(seed, state, used):
                    count_cut(tally, outcome)
            except RuntimeError as failure:
                tally.complain(f"power cut {seed} while {state}: {failure}")


def _cut(seed: int, state: State, base: Base | None) -> list[Outcome]:
    """Cut at one operation by its number, or look often at what a cut would leave."""
    cuts = _CUTS.get(state, _CUTS_ELSE)
    if cuts == 1:
        return [cut_once(seed, state, Code.AS_IT_IS, base=base)]
    return cut_often(seed, state, cuts, base=base)


def count_cut(tally: Tally, outcome: Outcome) -> None:
    """Add up what one cut did."""
    tally.cuts += 1
    tally.faults[f"power-cut-{outcome.state}"] += 1
    tally.lost += outcome.lost
    tally.duplicates += outcome.doubled
    if not outcome.clean:
        tally.complain(f"{outcome}")


def settled_unit(folder: Path) -> Base:
    """A unit that has been in use for a while."""

    async def fill() -> None:
        with closing(open_scribe(folder)) as store:
            for turn in range(40):
                await record_some(store, random.Random(turn), f"before-{turn}")

    with redirect_stdout(StringIO()):
        asyncio.run(fill())
    return Base(folder, tuple(each for each, _ in examine(folder)))


def tell(line: str) -> None:
    """Say how it goes."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def main(seconds: str, seed: str) -> int:
    """Soak; give the exit code."""
    if float(seconds) < SHORTEST:
        tell(f"SECONDS_TO_RUN must be at least {SHORTEST:.0f}")
        return 2
    if reason := why_not():
        tell(reason)
    tally = soak(float(seconds), int(seed))
    sys.stdout.write(f"{tally.line()}\n")
    return 0 if tally.clean else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
