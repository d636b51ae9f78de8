"""How each device is just now: memory only, shown by `status`, never a patient's value."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any


@dataclass(slots=True)
class DeviceState:
    """One device. `since` and `last_reading` are monotonic seconds."""

    driver: str
    box: str | None
    at: str
    state: str = "starting"
    detail: str = ""
    since: float = 0.0
    readings: int = 0
    last_reading: float | None = None
    failures: int = 0


class Board:
    """Every device by its name, and what else is in the air."""

    def __init__(self) -> None:
        self.devices: dict[str, DeviceState] = {}
        self.unbound: tuple[dict[str, Any], ...] = ()

    def report(self, name: str, state: str, detail: str = "") -> None:
        """A device says how it is."""
        device = self.devices[name]
        if (device.state, device.detail) != (state, detail):
            device.state, device.detail, device.since = state, detail, time.monotonic()

    def count(self, name: str) -> None:
        """A device gave a reading that was not there before."""
        device = self.devices[name]
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
            }
            for name, each in self.devices.items()
        }
