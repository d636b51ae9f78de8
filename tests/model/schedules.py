"""Schedules of the simulation, one after the other, for so many seconds.

    python -m tests.model.schedules SEED SECONDS

It says `broken SEED WORDS` of each that breaks a promise, and at the end `schedules COUNT`.
"""

from __future__ import annotations

import random
import sys
import time

from tests.model.simulation import Simulation


def main(seed: str, seconds: str) -> int:
    """Simulate; give the exit code."""
    chance, end = random.Random(int(seed)), time.monotonic() + float(seconds)
    count = broken = 0
    while time.monotonic() < end:
        each = chance.randrange(1 << 40)
        count += 1
        try:
            Simulation(each).run()
        except Exception as fault:  # noqa: BLE001 - whatever it is, the others go on
            broken += 1
            say("broken", each, repr(fault))
    say("schedules", count)
    return int(broken > 0)


def say(*words: object) -> None:
    """Tell whoever counts."""
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
