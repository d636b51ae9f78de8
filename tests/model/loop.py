"""An event loop whose time passes only when nothing is left to do: an hour costs nothing."""

from __future__ import annotations

import asyncio


class NothingHappens(AssertionError):  # noqa: N818 - what is broken is a promise
    """Everybody waits, and nothing will ever come."""


class SimulatedLoop(asyncio.BaseEventLoop):
    """Runs tasks and timers in one order, the same every time. No sockets, no threads."""

    def __init__(self) -> None:
        super().__init__()
        self._seconds = 0.0
        self._selector = self

    def time(self) -> float:
        """Simulated seconds since the beginning."""
        return self._seconds

    def select(self, timeout: float | None) -> list[object]:
        """Stand in for the kernel: let time pass up to the next timer."""
        if timeout is None:
            raise NothingHappens
        self._seconds += timeout
        return []

    def _process_events(self, _: list[object]) -> None:
        """There are none: nothing comes from outside."""

    def _write_to_self(self) -> None:
        """Nobody wakes this loop from another thread."""
