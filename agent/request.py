"""An urgent request to an expert at the centre, as the record that travels: pure.

A FHIR R4 ServiceRequest of priority `urgent` whose `supportingInfo` are the resources of the
records it refers to. The question is patient data: it stands in the record and nowhere else.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from agent import __version__
from agent.clock import utc_text

if TYPE_CHECKING:
    from agent.clock import Stamp
    from agent.fhir import Subject

KIND = "expertise-request"
_ACT_REASON = "http://terminology.hl7.org/CodeSystem/v3-ActReason"


@dataclass(frozen=True, slots=True)
class Reference:
    """A record that a request refers to, and its resources as `Type/id`."""

    record: str
    resources: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked, by whom, of which specialty, about which records.

    `subject` is None where the records are of no known patient.
    """

    question: str
    specialty: str
    actor: str
    stamp: Stamp
    origin: str
    box: str | None
    subject: Subject | None
    references: tuple[Reference, ...]


def request_line(request: Request, record: uuid.UUID) -> bytes:
    """The record as the one line of JSON that is stored, hashed and sent."""
    stamp, subject = request.stamp, request.subject
    resource = _service_request(request, record)
    url = f"ServiceRequest/{resource['id']}"
    return msgspec.json.encode(
        {
            "record": str(record),
            "kind": KIND,
            "context": {
                "boot": stamp.boot,
                "mono_ns": stamp.mono_ns,
                "wall": utc_text(stamp.wall),
                "offset_min": stamp.offset_min,
                "clock": stamp.clock,
                "box": request.box,
                "consultation": subject.consultation if subject else None,
                "actor": request.actor,
                "origin": request.origin,
                "method": "manual",
                "agent_version": __version__,
            },
            "refers_to": [each.record for each in request.references],
            "entries": [{"resource": resource, "request": {"method": "PUT", "url": url}}],
        }
    )


def summary(request: Request) -> str:
    """What the unit's own lists show; never the question."""
    return f"to {request.specialty}, about {len(request.references)} records"


def resources_of(line: bytes) -> tuple[str, ...]:
    """The resources of a stored record, as `Type/id`."""
    entries = msgspec.json.decode(line).get("entries") or []
    return tuple(each["request"]["url"] for each in entries)


def _service_request(request: Request, record: uuid.UUID) -> dict[str, Any]:
    subject, at = request.subject, utc_text(request.stamp.wall)
    resource: dict[str, Any] = {
        "resourceType": "ServiceRequest",
        "id": str(uuid.uuid5(record, "ServiceRequest")),
        "status": "active",
        "intent": "order",
        "priority": "urgent",
        "code": {"text": "Tele-expertise"},
        # R4 demands a subject: where nobody knows it, it says so and refers to nobody.
        "subject": {"display": "not assigned to a patient yet"},
        "authoredOn": at,
        "requester": {"display": request.actor},
        "performerType": {"text": request.specialty},
        "supportingInfo": [
            {"reference": each} for found in request.references for each in found.resources
        ],
        "note": [{"authorString": request.actor, "time": at, "text": request.question}],
    }
    if subject:
        resource["subject"] = {"reference": f"Patient/{subject.patient}"}
        resource["encounter"] = {"reference": f"Encounter/{subject.consultation}"}
    if request.origin == "simulated":
        resource["meta"] = {"security": [{"system": _ACT_REASON, "code": "HTEST"}]}
    return resource
