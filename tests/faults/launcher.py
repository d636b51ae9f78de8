"""Start the agent as `qafila run` does, with two hooks more.

Its wall clock can be set off, and it leaves a file `READ` beside its settings once it has read
every page of its database and found none damaged, which it does after a salvage.

    python -m tests.faults.launcher UNIT_TOML CODE

On its input: `clock SECONDS`. The end of its input is its own. CODE is as for the scribe.
"""

from __future__ import annotations

import os
import sys
import threading
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import TYPE_CHECKING, Self
from unittest.mock import patch

from agent import clock
from agent.cli import main as qafila
from agent.damage import care
from tests.faults.scribe import Code, break_code

if TYPE_CHECKING:
    from agent.store.store import Store

READ = "every-page-read"
_NOW = datetime.now
_SCRUB = care.scrub
_STARTS_OFF = "QAFILA_CLOCK_OFF"


class SetOff(datetime):
    """The wall clock of a computer whose battery is flat, or that somebody has set."""

    offset = timedelta()

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> Self:
        """The present moment as this unit's wall clock tells it."""
        return cls.fromtimestamp((_NOW(tz) + SetOff.offset).timestamp(), tz)


def listen() -> None:
    """Obey until the input ends."""
    for line in sys.stdin:
        match line.split():
            case ["clock", seconds]:
                SetOff.offset = timedelta(seconds=int(seconds))
    os._exit(0)


def tell_when_read(sign: Path) -> None:
    """Leave a sign once every page could be read."""

    async def scrub(store: Store) -> None:
        await _SCRUB(store)
        sign.touch()  # noqa: ASYNC240 - at once

    patch.object(care, "scrub", scrub).start()


def main(settings: str, code: str) -> None:
    """Run the agent, or a mutant of it."""
    break_code(Code(code))
    SetOff.offset = timedelta(seconds=int(os.environ.get(_STARTS_OFF, "0")))
    patch.object(clock, "datetime", SetOff).start()
    tell_when_read(Path(settings).with_name(READ))
    threading.Thread(target=listen, daemon=True).start()
    qafila(["run", "--settings", settings])


if __name__ == "__main__":
    main(*sys.argv[1:])
