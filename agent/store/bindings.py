"""Bindings: which device a person has put into which box. Released ones stay, for the record."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from agent.clock import now, utc_text
from agent.errors import AgentError

if TYPE_CHECKING:
    from collections.abc import Collection

    from agent.store.connection import Connection


class AlreadyBound(AgentError):  # noqa: N818 - a state, not a mistake
    """The name or the place is taken; nothing is bound anew silently."""


class NotBound(AgentError):  # noqa: N818 - a state, not a mistake
    """No device is bound under this name."""


@dataclass(frozen=True, slots=True)
class Binding:
    """A device in a box. `device` is its identity (`ble:F1:…`), `place` where it is found.

    `calibration_due` is a date in ISO 8601.
    """

    device: str
    driver: str
    name: str
    box: str
    place: str
    bound_by: str
    calibration_due: str | None = None


def bind(connection: Connection, binding: Binding) -> None:
    """Put a device into a box; AlreadyBound where its name or place is taken."""
    taken = connection.execute(
        "SELECT name, box FROM binding "
        "WHERE released IS NULL AND (name = ? OR device = ? OR place = ?)",
        (binding.name, binding.device, binding.place),
    ).fetchone()
    if taken is not None:
        raise AlreadyBound(
            f"{taken[0]} is bound to box {taken[1]} already: `qafila devices forget {taken[0]}`"
        )
    connection.execute(
        "INSERT INTO binding (device, driver, name, box, place, bound_by, bound, calibration_due) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            binding.device,
            binding.driver,
            binding.name,
            binding.box,
            binding.place,
            binding.bound_by,
            utc_text(now().wall),
            binding.calibration_due,
        ),
    )


def release(connection: Connection, name: str, actor: str) -> Binding:
    """Take a device out of its box; give what was bound. NotBound."""
    found = next((each for each in bindings(connection) if each.name == name), None)
    if found is None:
        raise NotBound(f"no device called {name} was bound: see `qafila devices list`")
    connection.execute(
        "UPDATE binding SET released = ?, released_by = ? WHERE name = ? AND released IS NULL",
        (utc_text(now().wall), actor, name),
    )
    return found


def bindings(connection: Connection) -> list[Binding]:
    """Every device that is bound now, in the order in which they were bound."""
    rows = connection.execute(
        "SELECT device, driver, name, box, place, bound_by, calibration_due FROM binding "
        "WHERE released IS NULL ORDER BY binding"
    )
    return [Binding(*row) for row in rows]


@dataclass(frozen=True, slots=True)
class Sighting:
    """Where a device that tells its serial number is read: its identity, name and box here."""

    device: str
    name: str
    box: str | None


def sighted(
    connection: Connection,
    driver: str,
    serial: str,
    sighting: Sighting,
    bound: Collection[tuple[str, str | None]],
) -> Sighting | None:
    """Note where a device is read; where it belongs, if that is another identity or box.

    What was noted first holds as long as it is among `bound`, the (identity, box) of every
    device of the unit: only a person moves a device.
    """
    row = connection.execute(
        "SELECT device, name, box FROM device_serial WHERE driver = ? AND serial = ?",
        (driver, serial),
    ).fetchone()
    before = None if row is None else Sighting(*row)
    if before is not None and (before.device, before.box) in bound:
        here = (sighting.device, sighting.box)
        return None if (before.device, before.box) == here else before
    connection.execute(
        "INSERT OR REPLACE INTO device_serial (driver, serial, device, name, box, first_seen) "
        "VALUES (?, ?, ?, ?, ?, ?)",
        (driver, serial, sighting.device, sighting.name, sighting.box, utc_text(now().wall)),
    )
    return None
