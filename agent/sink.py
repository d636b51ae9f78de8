"""Where one device's readings go: the store, in the context of its box."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING

from agent.capture import Capture
from agent.clock import now

if TYPE_CHECKING:
    from agent.board import Board
    from agent.sightings import Sightings
    from agent.store.store import Store
    from drivers.base import Device, Identity, Measurement, RawFrame, Stored, Value


class DeviceSink:
    """Implements `drivers.base.Sink` for a device that is bound to a box, or to none."""

    def __init__(
        self,
        store: Store,
        board: Board,
        name: str,
        device: Device,
        box: str | None,
        version: str,
        sightings: Sightings,
    ) -> None:
        self._store = store
        self._board = board
        self._name = name
        self._device = device
        self._box = box
        self._version = version
        self._sightings = sightings

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
        if stored.new and measurement.absent is None:
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

    def identify(self, identity: Identity) -> None:
        """Take what the device says of itself into the records that follow."""
        said = {each.name: getattr(identity, each.name) for each in fields(identity)}
        known = {name: value for name, value in said.items() if value is not None}
        self._device = replace(self._device, **known)
        self._sightings.saw(self._name, self._box, self._device, identity)

    def show(self, values: tuple[Value, ...]) -> None:
        """Show what is being measured just now."""
        self._board.show(self._name, values)

    def note(self, kind: str, detail: str) -> None:
        """Say what a person should see to; an empty detail takes it back."""
        self._board.note(self._name, kind, detail)
