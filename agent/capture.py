"""From a measurement to the record that travels: pure, built once, never rewritten."""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from agent import __version__
from agent.clock import Stamp, utc_text
from agent.fhir import Subject, entries
from config.codes import QUANTITIES, UNIT_NAMES

if TYPE_CHECKING:
    from drivers.base import Device, Measurement

NAMESPACE = uuid.UUID("9f3a2f0e-4f0c-5b0a-8d6f-2a4e5c1b7d90")
_FAILED = "could not be measured"
_ABSENT = {
    "positive-infinity": "above the device's range",
    "negative-infinity": "below the device's range",
}
_JSON = msgspec.json.Encoder(decimal_format="number")


@dataclass(frozen=True, slots=True)
class Capture:
    """One measurement in its whole context, as the moment of capture knew it.

    `actor` is who stood there, None where nobody had signed in; `method` is `device` or
    `manual`, and `reason` why by hand, where somebody said so;
    `frames` are the kept frames it was decoded from.
    """

    measurement: Measurement
    device: Device
    stamp: Stamp
    box: str | None
    origin: str
    driver_version: str
    actor: str | None = None
    method: str = "device"
    frames: tuple[int, ...] = ()
    reason: str | None = None

    @property
    def raw_sha256(self) -> bytes:
        """The hash by which the raw bytes are kept."""
        return hashlib.sha256(self.measurement.raw).digest()


def record_id(capture: Capture) -> uuid.UUID:
    """Content where the frame carries a sequence or a time, otherwise the arrival."""
    if not capture.measurement.repeatable:
        return uuid.uuid4()
    device = uuid.uuid5(NAMESPACE, capture.device.id)
    return uuid.uuid5(device, capture.measurement.raw.hex())


def record_line(capture: Capture, record: uuid.UUID, subject: Subject | None) -> bytes:
    """The record as the one line of JSON that is stored, hashed and sent."""
    said = capture.measurement
    context = _context(capture, subject)
    return _JSON.encode(
        {
            "record": str(record),
            "kind": said.kind,
            "context": context,
            "raw": {"sha256": capture.raw_sha256.hex(), "size": len(said.raw)},
            "device_time": said.device_time.isoformat() if said.device_time else None,
            "clock_trusted": said.clock_trusted,
            "clock_offset_ms": said.clock_offset_ms,
            "user_slot": said.user_slot,
            "status": said.status,
            "quality": said.quality,
            "coded": said.coded,
            "absent": said.absent,
            "blobs": [
                {
                    "sha256": hashlib.sha256(blob.content).hexdigest(),
                    "size": len(blob.content),
                    "media_type": blob.media_type,
                    "role": blob.role,
                }
                for blob in said.blobs
            ],
            "entries": entries(capture, record, subject),
        }
    )


def summary(measurement: Measurement) -> str:
    """The values in words for the unit's own screen; never in a log."""
    if measurement.values:
        return ", ".join(
            f"{QUANTITIES[each.code].name if each.code in QUANTITIES else each.code} "
            f"{each.value} {UNIT_NAMES.get(each.unit, each.unit)}"
            for each in measurement.values
        )
    if measurement.coded is not None:
        return measurement.coded
    if measurement.absent is not None:
        return ", ".join((_ABSENT.get(measurement.absent, _FAILED), *measurement.status))
    size = sum(len(blob.content) for blob in measurement.blobs)
    seconds = f"{measurement.duration} s, " if measurement.duration is not None else ""
    return f"{seconds}{size} bytes"


def _context(capture: Capture, subject: Subject | None) -> dict[str, Any]:
    stamp, device = capture.stamp, capture.device
    return {
        "boot": stamp.boot,
        "mono_ns": stamp.mono_ns,
        "wall": utc_text(stamp.wall),
        "offset_min": stamp.offset_min,
        "clock": stamp.clock,
        "box": capture.box,
        "consultation": subject.consultation if subject else None,
        "actor": capture.actor,
        "origin": capture.origin,
        "method": capture.method,
        "reason": capture.reason,
        "driver": device.driver,
        "driver_version": capture.driver_version,
        "agent_version": __version__,
        "device": None
        if capture.method == "manual"
        else {
            "id": device.id,
            "name": device.name,
            "manufacturer": device.manufacturer,
            "model": device.model,
            "serial": device.serial,
            "firmware": device.firmware,
        },
    }
