"""How each device is just now: memory only, shown by `status`, never a patient's value."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from drivers.base import Value


@dataclass(slots=True)
class DeviceState:
    """One device. `since` and `last_reading` are monotonic seconds.

    `live` is what it measures just now: for the unit's own page, never in `status.json`.
    """

    driver: str
    box: str | None
    at: str
    state: str = "starting"
    detail: str = ""
    since: float = field(default_factory=time.monotonic)
    readings: int = 0
    last_reading: float | None = None
    failures: int = 0
    notes: dict[str, str] = field(default_factory=dict)
    live: tuple[Value, ...] = ()


class Board:
    """Every device by its name, and what else is in the air."""

    def __init__(self) -> None:
        self.devices: dict[str, DeviceState] = {}
        self.unbound: tuple[dict[str, Any], ...] = ()

    def report(self, name: str, state: str, detail: str = "") -> None:
        """A device says how it is."""
        device = self._of(name)
        if (device.state, device.detail) != (state, detail):
            device.state, device.detail, device.since = state, detail, time.monotonic()

    def show(self, name: str, values: tuple[Value, ...]) -> None:
        """A device measures just now; no values: it has stopped."""
        self._of(name).live = values

    def note(self, name: str, kind: str, detail: str) -> None:
        """A person should see to something; an empty detail takes it back."""
        notes = self._of(name).notes
        if detail:
            notes[kind] = detail
        else:
            notes.pop(kind, None)

    def count(self, name: str) -> None:
        """A device gave a reading that was not there before."""
        device = self._of(name)
        device.readings += 1
        device.last_reading = time.monotonic()

    def shown(self) -> dict[str, Any]:
        """The board as `status.json` carries it; ages in seconds."""
        now = time.monotonic()
        return {
            name: {
                "driver": each.driver,
                "box": each.box,
                "at": each.at,
                "state": each.state,
                "detail": each.detail,
                "for_seconds": round(now - each.since),
                "readings": each.readings,
                "last_reading_seconds": (
                    None if each.last_reading is None else round(now - each.last_reading)
                ),
                "failures": each.failures,
                "notes": dict(each.notes),
            }
            for name, each in self.devices.items()
        }

    def _of(self, name: str) -> DeviceState:
        """A device's state; one that was just forgotten may speak on, and nobody hears it."""
        return self.devices.get(name) or DeviceState("", None, "")
