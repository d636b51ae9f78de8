"""A sink in memory that says what it was told, in order, and can be slow, silent or full."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from uuid import uuid4

from drivers.base import Identity, Measurement, RawFrame, Stored, Value

if TYPE_CHECKING:
    from collections.abc import Callable


class DiskFull(Exception):  # noqa: N818 - the store's word for it
    """What the store raises where it can't write."""


@dataclass
class MemorySink:
    """Keeps in memory what a store would keep on disk.

    Each coroutine gives the loop a turn first, as a commit does. Acts named in `silent` don't
    return before `answering` is set, those named in `full` raise `DiskFull`.
    """

    silent: frozenset[str] = frozenset()
    full: frozenset[str] = frozenset()
    turn: Callable[[], None] = lambda: None
    kept: list[RawFrame] = field(default_factory=list)
    settled: list[int] = field(default_factory=list)
    recorded: list[Measurement] = field(default_factory=list)
    quarantined: list[tuple[bytes, str]] = field(default_factory=list)
    reports: list[tuple[str, str]] = field(default_factory=list)
    notes: dict[str, str] = field(default_factory=dict)
    identities: list[Identity] = field(default_factory=list)
    shown: list[tuple[Value, ...]] = field(default_factory=list)
    begun: list[str] = field(default_factory=list)
    answering: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def state(self) -> str:
        """What was reported last; empty before anything was."""
        return self.reports[-1][0] if self.reports else ""

    async def keep(self, frame: RawFrame) -> int:
        await self._turn("keep")
        self.kept.append(frame)
        return len(self.kept) - 1

    async def record(self, measurement: Measurement, frames: tuple[int, ...] = ()) -> Stored:
        await self._turn("record")
        self.recorded.append(measurement)
        self.settled.extend(frames)
        return Stored(uuid4(), new=True)

    async def pass_over(self, frame: int, reason: str) -> None:
        await self._turn("pass_over")
        assert reason
        self.settled.append(frame)

    async def quarantine(self, frame: RawFrame | int, reason: str) -> None:
        await self._turn("quarantine")
        if isinstance(frame, int):
            self.settled.append(frame)
            frame = self.kept[frame]
        self.quarantined.append((frame.raw, reason))

    def report(self, state: str, detail: str = "") -> None:
        self.reports.append((state, detail))

    def identify(self, identity: Identity) -> None:
        self.identities.append(identity)

    def show(self, values: tuple[Value, ...]) -> None:
        self.shown.append(values)

    def note(self, kind: str, detail: str) -> None:
        self.notes[kind] = detail

    @property
    def unsettled(self) -> set[int]:
        """Frames that were kept, and of which nothing has become."""
        return set(range(len(self.kept))) - set(self.settled)

    async def _turn(self, act: str) -> None:
        self.begun.append(act)
        self.turn()
        await asyncio.sleep(0)
        if act in self.silent:
            await self.answering.wait()
        if act in self.full:
            raise DiskFull
