"""The latest time that is known for certain to have passed: no clock can be right below it."""

from __future__ import annotations

import contextlib
from datetime import datetime
from typing import TYPE_CHECKING

from agent import status_file
from agent.clock import PROJECT_BORN, utc_text

if TYPE_CHECKING:
    from pathlib import Path

    from agent.clock import Stamp


class KnownTime:
    """Moves forward with every synchronised stamp, over restarts by way of `status.json`.

    That file need not outlive a power cut: then less is known, and nothing is wrong.
    """

    def __init__(self, folder: Path) -> None:
        self.latest = PROJECT_BORN
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            status, _ = status_file.read(folder)
            self.latest = max(self.latest, datetime.fromisoformat(status["time_known"]))

    def hear(self, stamp: Stamp) -> str:
        """Take note of a stamp; give the latest time known, as `status.json` carries it."""
        if stamp.clock == "synchronised":
            self.latest = max(self.latest, stamp.wall)
        return utc_text(self.latest)
