"""FHIR R4 Bundle entries of a measurement (HL7 PHD Implementation Guide, FHIR vital signs).

A reading without a patient travels without `subject` and without the vital-signs profile,
which demands one. Ids derive from the record's, so a retry makes the same resources.
"""

from __future__ import annotations

import base64
import hashlib
import uuid
from dataclasses import dataclass
from datetime import timedelta, timezone
from typing import TYPE_CHECKING, Any

from agent.clock import utc_text
from config.codes import LOINC, MDC, PANELS, QUANTITIES, UCUM, Panel, Quantity

if TYPE_CHECKING:
    from datetime import datetime

    from agent.capture import Capture
    from drivers.base import Value

_CATEGORY = "http://terminology.hl7.org/CodeSystem/observation-category"
_ACT_REASON = "http://terminology.hl7.org/CodeSystem/v3-ActReason"
_ABSENT = "http://terminology.hl7.org/CodeSystem/data-absent-reason"
_VITAL_SIGNS = "http://hl7.org/fhir/StructureDefinition/vitalsigns"
_TRUE_WITHIN = timedelta(minutes=5)
_MEMORY = timedelta(days=31)
_PRELIMINARY = "early-estimate"
"""What a device says of a value that it is still about (HL7 PHD guide, measurement status)."""


@dataclass(frozen=True, slots=True)
class Subject:
    """The consultation that stood open in the box, and its patient by an opaque id."""

    consultation: str
    patient: str
    opened: str


def entries(capture: Capture, record: uuid.UUID, subject: Subject | None) -> list[dict[str, Any]]:
    """The Bundle entries of a capture: the panel, what stands beside it, and its blobs."""
    panel = PANELS.get(capture.measurement.kind)
    if panel is None:
        return []
    values = capture.measurement.values
    inside = [each for each in values if each.code in panel.parts]
    beside = [each for each in values if each.code not in panel.parts]
    resources = []
    if inside or panel.parts or not beside:
        resources.append(_panel(capture, record, subject, panel, inside))
    for index, each in enumerate(beside):
        quantity = QUANTITIES.get(each.code, Quantity(each.code, (), each.code))
        # A reading may carry one quantity several times (beat-to-beat intervals).
        before = sum(earlier.code == each.code for earlier in beside[:index])
        part = f"{each.code}/{before}" if before else each.code
        resource = _observation(capture, record, part, subject, panel.category, quantity)
        resources.append(resource | {"valueQuantity": _quantity(each)})
    resources += [
        _document(capture, record, index, subject)
        for index in range(len(capture.measurement.blobs))
    ]
    return [_entry(resource) for resource in resources]


def effective(capture: Capture) -> datetime:
    """When it was measured: by the device's clock where that can be believed, else its arrival.

    Where the device told its present time, its clock's error is known and taken out. Without
    that, its time is believed from a month ago up to now: beyond, its year is wrong rather than
    the reading old. The raw device time travels beside it in any case.
    """
    return measured_at(capture) or capture.stamp.wall


def measured_at(capture: Capture) -> datetime | None:
    """What the device's clock says of the moment, where it can be believed; else None."""
    said, stamp = capture.measurement, capture.stamp
    if said.device_time is None or not said.clock_trusted:
        return None
    error = timedelta(milliseconds=said.clock_offset_ms or 0)
    zone = timezone(timedelta(minutes=stamp.offset_min))
    measured = said.device_time.replace(tzinfo=zone) - error
    believable = stamp.wall - _MEMORY <= measured <= stamp.wall + _TRUE_WITHIN
    return measured if believable or said.clock_offset_ms is not None else None


def _entry(resource: dict[str, Any]) -> dict[str, Any]:
    url = f"{resource['resourceType']}/{resource['id']}"
    return {"resource": resource, "request": {"method": "PUT", "url": url}}


def _observation(
    capture: Capture,
    record: uuid.UUID,
    part: str,
    subject: Subject | None,
    category: str,
    quantity: Quantity,
) -> dict[str, Any]:
    meta: dict[str, Any] = {}
    if capture.origin == "simulated":
        meta["security"] = [{"system": _ACT_REASON, "code": "HTEST"}]
    if subject and category == "vital-signs":
        meta["profile"] = [_VITAL_SIGNS]
    resource: dict[str, Any] = {
        "resourceType": "Observation",
        "id": str(uuid.uuid5(record, f"Observation/{part}")),
        "status": "preliminary" if _PRELIMINARY in capture.measurement.quality else "final",
        "category": [{"coding": [{"system": _CATEGORY, "code": category}]}],
        "code": _code(quantity),
        "effectiveDateTime": utc_text(effective(capture)),
        "issued": utc_text(capture.stamp.wall),
        **_how(capture),
    }
    if meta:
        resource["meta"] = meta
    if capture.measurement.absent:
        coding = {"system": _ABSENT, "code": capture.measurement.absent}
        resource["dataAbsentReason"] = {"coding": [coding]}
    if capture.measurement.site:
        resource["bodySite"] = {"text": capture.measurement.site}
    said = (*capture.measurement.status, *capture.measurement.quality)
    if said:
        # Whoever reads only the resource is to see what casts doubt on its value.
        resource["interpretation"] = [{"text": word} for word in said]
    return resource | _of(subject)


def _how(capture: Capture) -> dict[str, Any]:
    """By which device, or by whose hand (HL7 PHD guide: a manual entry is said in a note)."""
    device = capture.device
    if capture.method != "manual":
        name = device.model or device.name or device.driver
        return {"device": {"identifier": {"value": device.id}, "display": name}}
    reason = f": {capture.reason}" if capture.reason else ""
    return {
        "method": {"text": "manual"},
        "performer": [{"display": capture.actor}],
        "note": [{"authorString": capture.actor, "text": f"Entered by hand{reason}"}],
    }


def _panel(
    capture: Capture,
    record: uuid.UUID,
    subject: Subject | None,
    panel: Panel,
    inside: list[Value],
) -> dict[str, Any]:
    kind = capture.measurement.kind
    resource = _observation(capture, record, kind, subject, panel.category, panel.code)
    if inside:
        resource["component"] = [
            {"code": _code(QUANTITIES[each.code]), "valueQuantity": _quantity(each)}
            for each in inside
        ]
    if capture.measurement.coded is not None:
        resource["valueCodeableConcept"] = {"text": capture.measurement.coded}
    blobs = capture.measurement.blobs
    if blobs:
        resource["derivedFrom"] = [
            {"reference": f"DocumentReference/{_document_id(record, index)}"}
            for index in range(len(blobs))
        ]
    return resource


def _document(
    capture: Capture, record: uuid.UUID, index: int, subject: Subject | None
) -> dict[str, Any]:
    blob = capture.measurement.blobs[index]
    sha1 = hashlib.sha1(blob.content, usedforsecurity=False).digest()
    attachment = {
        "contentType": blob.media_type,
        "url": f"urn:sha256:{hashlib.sha256(blob.content).hexdigest()}",
        "size": len(blob.content),
        "hash": base64.b64encode(sha1).decode(),
        "creation": utc_text(capture.stamp.wall),
    }
    who = _of(subject)
    resource: dict[str, Any] = {
        "resourceType": "DocumentReference",
        "id": _document_id(record, index),
        "status": "current",
        "date": utc_text(capture.stamp.wall),
        "content": [{"attachment": attachment}],
    }
    if "subject" in who:
        resource["subject"] = who["subject"]
        resource["context"] = {"encounter": [who["encounter"]]}
    return resource


def _document_id(record: uuid.UUID, index: int) -> str:
    return str(uuid.uuid5(record, f"DocumentReference/{index}"))


def _of(subject: Subject | None) -> dict[str, Any]:
    if subject is None:
        return {}
    return {
        "subject": {"reference": f"Patient/{subject.patient}"},
        "encounter": {"reference": f"Encounter/{subject.consultation}"},
    }


def _code(quantity: Quantity) -> dict[str, Any]:
    coding = [{"system": LOINC, "code": code} for code in quantity.loinc]
    if quantity.mdc:
        coding.append({"system": MDC, "code": quantity.mdc})
    return {"coding": coding, "text": quantity.name}


def _quantity(value: Value) -> dict[str, Any]:
    return {"value": value.value, "unit": value.unit, "system": UCUM, "code": value.unit}
