"""Start the agent as `qafila run` does, with one hook more: its wall clock can be set off.

    python -m tests.faults.launcher UNIT_TOML CODE

On its input: `clock SECONDS`. The end of its input is its own. CODE is as for the scribe.
"""

from __future__ import annotations

import os
import sys
import threading
from datetime import datetime, timedelta, tzinfo
from typing import Self
from unittest.mock import patch

from agent import clock
from agent.cli import main as qafila
from tests.faults.scribe import Code, break_code

_NOW = datetime.now
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


def main(settings: str, code: str) -> None:
    """Run the agent, or a mutant of it."""
    break_code(Code(code))
    SetOff.offset = timedelta(seconds=int(os.environ.get(_STARTS_OFF, "0")))
    patch.object(clock, "datetime", SetOff).start()
    threading.Thread(target=listen, daemon=True).start()
    qafila(["run", "--settings", settings])


if __name__ == "__main__":
    main(*sys.argv[1:])
