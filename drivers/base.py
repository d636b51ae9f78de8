"""The seam between a device and the store: what a driver says, and to whom.

A driver turns a link into `Measurement`s and hands each to a `Sink`. The return of
`Sink.record` is the only acknowledgement there is: what the device itself is told
(«delete», «transfer complete») hangs on it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from decimal import Decimal
    from uuid import UUID


@dataclass(frozen=True, slots=True)
class Value:
    """One number as the device said it.

    `code` is the IEEE 11073-10101 MDC code as decimal text (partition * 65536 + term),
    `value` keeps the device's digits (36.0 stays 36.0), `unit` is UCUM.
    """

    code: str
    value: Decimal
    unit: str


@dataclass(frozen=True, slots=True)
class Blob:
    """A picture or a recording that belongs to a measurement; `role` says what it is to it."""

    content: bytes = field(repr=False)
    media_type: str
    role: str


@dataclass(frozen=True, slots=True)
class Measurement:
    """What one device said once, decoded, together with the bytes it said it in.

    `repeatable`: `raw` carries a sequence number or any non-zero timestamp, so the same raw
    bytes from the same device are the same reading; otherwise the arrival is the identity.
    `device_time` is naive, as devices are. `clock_trusted` is False as soon as anything in the
    frame speaks against that time. `duration` is in seconds, None for a spot value.
    `from_memory`: it lay in the device for who knows how long, so that its arrival says nothing of
    when, and of whom, it was taken.
    `coded` is a word of a fixed list where what was found is no number (consciousness).
    `absent` is why there is no value, where the device reports that it could not measure: a code
    of FHIR's data-absent-reason. Such a report has no values, no word and no blob.
    `clock_offset_ms` is how far the device's clock stood ahead of the unit's when it was last
    asked during this visit (the coincident timestamp of the PHD guide), None where it wasn't.
    """

    kind: str
    raw: bytes = field(repr=False)
    values: tuple[Value, ...] = ()
    repeatable: bool = False
    device_time: datetime | None = None
    clock_trusted: bool = False
    user_slot: int | None = None
    site: str | None = None
    status: tuple[str, ...] = ()
    quality: tuple[str, ...] = ()
    duration: Decimal | None = None
    blobs: tuple[Blob, ...] = ()
    clock_offset_ms: int | None = None
    from_memory: bool = False
    coded: str | None = None
    absent: str | None = None


@dataclass(frozen=True, slots=True)
class Decoded:
    """A frame that was understood and carries readings."""

    readings: tuple[Measurement, ...]


@dataclass(frozen=True, slots=True)
class NoReading:
    """A frame that was understood and carries no reading; `reason` is one plain sentence.

    `live` are the values of a measurement under way: they may be shown, and are never stored.
    `report` is the device's word that it tried and failed (`absent` says why): it is stored.
    """

    reason: str
    live: tuple[Value, ...] = ()
    report: Measurement | None = None


Outcome = Decoded | NoReading


@dataclass(frozen=True, slots=True)
class Device:
    """Who speaks: `id` is stable over replugging and renaming (`ble:F1:…`, `usb:…`, a path)."""

    id: str
    driver: str
    name: str | None = None
    manufacturer: str | None = None
    model: str | None = None
    serial: str | None = None
    firmware: str | None = None


@dataclass(frozen=True, slots=True)
class Identity:
    """What a device says of itself when it is asked (Device Information Service, 180A)."""

    manufacturer: str | None = None
    model: str | None = None
    serial: str | None = None
    firmware: str | None = None


@dataclass(frozen=True, slots=True)
class RawFrame:
    """Bytes as a link delivered them. `source` is a characteristic (`2A35`) or a driver's name.

    `name` is what the device called itself then: a quirk may hang on it.
    """

    source: str
    raw: bytes = field(repr=False)
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Stored:
    """A reading that is on disk. `new` is False where it had been stored before."""

    record_id: UUID
    new: bool


class Sink(Protocol):
    """Where one device's readings go; bound to that device and its box by the agent.

    Every coroutine returns after fsync and raises the store's error where it can't
    (disk full, say): the driver then must not acknowledge anything to the device.
    """

    async def keep(self, frame: RawFrame) -> int:
        """Make a raw frame durable before it is decoded; give the number it is kept under."""

    async def record(self, measurement: Measurement, frames: tuple[int, ...] = ()) -> Stored:
        """Make a measurement durable, and settle the kept frames it came from, in one commit."""

    async def pass_over(self, frame: int, reason: str) -> None:
        """Settle a kept frame that was understood and carries no reading."""

    async def quarantine(self, frame: RawFrame | int, reason: str) -> None:
        """Keep a frame that can't be decoded, with the reason, to be shown by `status`."""

    def report(self, state: str, detail: str = "") -> None:
        """Say how the device is: `connected`, `waiting`, `unavailable`, …; kept in memory only."""

    def identify(self, identity: Identity) -> None:
        """Take what the device says of itself into the records that follow; once per visit."""

    def show(self, values: tuple[Value, ...]) -> None:
        """Show what is being measured just now; kept in memory only, never stored."""

    def note(self, kind: str, detail: str) -> None:
        """Say what a person should see to, such as `battery-low` or `calibration-due`.

        `detail` is one plain sentence without values of a patient; an empty one takes the note
        back. Kept in memory only and shown by `status` as a remark; saying it again is harmless.
        """


class Driver(Protocol):
    """Reads one kind of device over one kind of link (see the link modules for their shapes)."""

    async def run(self, link: object, sink: Sink) -> None:
        """Read until the link ends; raise `Unavailable` or `ProtocolFault`; close the link."""


class DecodeFunction(Protocol):
    """The one entry of every frame codec."""

    def __call__(self, raw: bytes, *, name: str | None = None) -> Outcome:
        """Decode one whole frame of a device called `name`; raise `ProtocolFault` only."""


def readings_of(outcome: Outcome) -> Sequence[Measurement]:
    """The readings of an outcome, none for `NoReading`."""
    return outcome.readings if isinstance(outcome, Decoded) else ()


def records_of(outcome: Outcome) -> Sequence[Measurement]:
    """What of an outcome becomes records: its readings, or the device's report of a failure."""
    if isinstance(outcome, Decoded):
        return outcome.readings
    return () if outcome.report is None else (outcome.report,)
