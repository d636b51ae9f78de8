"""Frames: bytes as links delivered them, on disk before anybody decodes them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

from agent.clock import Quality, Stamp, utc_text

if TYPE_CHECKING:
    from uuid import UUID

    from agent.store.connection import Connection
    from drivers.base import Device, RawFrame


@dataclass(frozen=True, slots=True)
class KeptFrame:
    """A frame that nobody has decoded yet, with the context it arrived in."""

    frame: int
    device: str
    driver: str
    name: str | None
    box: str | None
    source: str
    content: bytes
    boot: str
    mono_ns: int
    wall: str
    offset_min: int
    clock: Quality

    @property
    def stamp(self) -> Stamp:
        """The moment of its arrival, as it was stamped then."""
        zone = timezone(timedelta(minutes=self.offset_min))
        wall = datetime.fromisoformat(self.wall).astimezone(zone)
        return Stamp(self.boot, self.mono_ns, wall, self.clock)


def keep(
    connection: Connection, frame: RawFrame, device: Device, box: str | None, stamp: Stamp
) -> int:
    """Store a frame; give its number."""
    cursor = connection.execute(
        "INSERT INTO frame (device, driver, name, box, source, content, boot, mono_ns, wall, "
        "offset_min, clock) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            device.id,
            device.driver,
            frame.name,
            box,
            frame.source,
            frame.raw,
            stamp.boot,
            stamp.mono_ns,
            utc_text(stamp.wall),
            stamp.offset_min,
            stamp.clock,
        ),
    )
    number = cursor.lastrowid
    if number is None:
        message = "an INSERT gave no row number"
        raise RuntimeError(message)
    return int(number)


def link_record(connection: Connection, frames: tuple[int, ...], record: UUID) -> None:
    """Say which record the frames became.

    The record keeps the same bytes as its raw content, so a decoded frame lets go of its own.
    """
    connection.executemany(
        "UPDATE frame SET outcome = 'recorded', record_id = ?, content = x'' WHERE frame = ?",
        ((str(record), frame) for frame in frames),
    )


def conclude(connection: Connection, frame: int, outcome: str, reason: str) -> None:
    """Settle a frame that became no record: `no-reading` or `quarantined`."""
    connection.execute(
        "UPDATE frame SET outcome = ?, reason = ? WHERE frame = ?", (outcome, reason, frame)
    )


def undecoded(connection: Connection) -> list[KeptFrame]:
    """Every frame that a crash left undecoded, device by device, in order of arrival."""
    rows = connection.execute(
        "SELECT frame, device, driver, name, box, source, content, boot, mono_ns, wall, "
        "offset_min, clock FROM frame WHERE outcome IS NULL ORDER BY device, frame"
    )
    return [KeptFrame(*row) for row in rows]
