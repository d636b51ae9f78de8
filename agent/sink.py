"""Where one device's readings go: the store, in the context of its box."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.capture import Capture
from agent.clock import now

if TYPE_CHECKING:
    from agent.board import Board
    from agent.store.store import Store
    from drivers.base import Device, Measurement, RawFrame, Stored


class DeviceSink:
    """Implements `drivers.base.Sink` for a device that is bound to a box, or to none."""

    def __init__(
        self, store: Store, board: Board, name: str, device: Device, box: str | None, version: str
    ) -> None:
        self._store = store
        self._board = board
        self._name = name
        self._device = device
        self._box = box
        self._version = version

    async def keep(self, frame: RawFrame) -> int:
        """Make a frame durable before it is decoded."""
        return await self._store.keep(frame, self._device, self._box, now())

    async def record(self, measurement: Measurement, frames: tuple[int, ...] = ()) -> Stored:
        """Make a measurement durable; return after fsync."""
        capture = Capture(
            measurement,
            self._device,
            now(),
            self._box,
            self._store.origin,
            self._version,
            frames=frames,
        )
        stored = await self._store.record(capture)
        if stored.new:
            self._board.count(self._name)
        return stored

    async def pass_over(self, frame: int, reason: str) -> None:
        """Settle a frame that carries no reading."""
        await self._store.conclude(frame, "no-reading", reason)

    async def quarantine(self, frame: RawFrame | int, reason: str) -> None:
        """Keep a frame that can't be decoded, with its reason."""
        number = frame if isinstance(frame, int) else await self.keep(frame)
        await self._store.conclude(number, "quarantined", reason)

    def report(self, state: str, detail: str = "") -> None:
        """Say how the device is."""
        self._board.report(self._name, state, detail)
