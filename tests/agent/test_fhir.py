"""What every captured reading becomes in FHIR: the rules of R4 vital signs, and its doubts."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Any

import pytest

from agent.capture import Capture
from agent.clock import Stamp
from agent.fhir import Subject, entries
from config.codes import PANELS
from drivers import DRIVERS
from drivers.base import Decoded, Device, Measurement
from drivers.card import decoder
from drivers.errors import ProtocolFault
from tests.contract.cases import Case, cases

RECORD = uuid.UUID("0198c6a1-0000-4000-8000-000000000001")
SUBJECT = Subject("0198c6a1-consultation", "0198c6a1-patient", "2026-06-15T08:00:00.000Z")
NOON = Stamp("boot", 1, dt.datetime(2026, 6, 15, 12, tzinfo=dt.UTC), "unsynchronised")
UNITS = {
    "8480-6": {"mm[Hg]", "kPa"},
    "8462-4": {"mm[Hg]", "kPa"},
    "8867-4": {"/min"},
    "9279-1": {"/min"},
    "8310-5": {"Cel", "[degF]"},
    "29463-7": {"kg", "g", "[lb_av]"},
    "8302-2": {"cm", "[in_i]"},
    "39156-5": {"kg/m2"},
    "2708-6": {"%"},
}
"""R4 vital signs, by LOINC. kPa is what some cuffs send, and is kept so."""


def readings(case: Case) -> tuple[Measurement, ...]:
    try:
        outcome = decoder(case.driver, case.source)(case.raw, name=case.device)
    except ProtocolFault:
        return ()
    return outcome.readings if isinstance(outcome, Decoded) else ()


def observations(driver: str, measurement: Measurement, subject: Subject | None = SUBJECT) -> Any:
    capture = Capture(measurement, Device("device:1", driver), NOON, "1", "clinical", "1")
    found = [each["resource"] for each in entries(capture, RECORD, subject)]
    return [each for each in found if each["resourceType"] == "Observation"]


MEASURED = [
    pytest.param(case.driver, reading, id=f"{case}-{number}")
    for driver in DRIVERS
    for case in cases(driver)
    for number, reading in enumerate(readings(case))
    if reading.kind in PANELS
]


def test_most_drivers_are_looked_at() -> None:
    assert len({each.values[0] for each in MEASURED}) >= len(DRIVERS) * 3 // 4


@pytest.mark.parametrize(("driver", "reading"), MEASURED)
def test_values_have_the_codes_and_units_of_vital_signs(driver: str, reading: Measurement) -> None:
    made = observations(driver, reading)
    assert made
    shown = 0
    for each in made:
        parts = [each, *each.get("component", [])]
        for part in parts:
            codes = {coding["code"] for coding in part["code"]["coding"]}
            unit = part.get("valueQuantity", {}).get("code")
            shown += unit is not None
            for code in codes & UNITS.keys():
                assert unit is None or unit in UNITS[code], (code, unit)
            assert ("2708-6" in codes) == ("59408-5" in codes)
        assert any(set(part) & {"valueQuantity", "valueCodeableConcept"} for part in parts) or (
            "derivedFrom" in each
        )
    assert shown == len(reading.values)
    assert len({each["id"] for each in made}) == len(made)


@pytest.mark.parametrize(("driver", "reading"), MEASURED)
def test_what_casts_doubt_is_said_in_every_resource(driver: str, reading: Measurement) -> None:
    for each in observations(driver, reading):
        said = [word["text"] for word in each.get("interpretation", [])]
        assert said == [*reading.status, *reading.quality]
        assert each["status"] == ("preliminary" if "early-estimate" in said else "final")


@pytest.mark.parametrize("absent", ["not-a-number", "positive-infinity", "error"])
def test_failed_measurement_says_why_there_is_no_value(absent: str) -> None:
    failed = Measurement("blood-pressure", b"\xff", status=("cuff-too-loose",), absent=absent)
    (each,) = observations("blood-pressure", failed)
    system = "http://terminology.hl7.org/CodeSystem/data-absent-reason"
    assert each["dataAbsentReason"] == {"coding": [{"system": system, "code": absent}]}
    assert not {"component", "valueQuantity", "valueCodeableConcept"} & set(each)
    assert each["interpretation"] == [{"text": "cuff-too-loose"}]
    assert each["status"] == "final"


@pytest.mark.parametrize(("driver", "reading"), MEASURED)
def test_profile_is_claimed_only_with_a_patient(driver: str, reading: Measurement) -> None:
    for each in observations(driver, reading, None):
        assert not {"subject", "encounter"} & set(each)
        assert "profile" not in each.get("meta", {})
    for each in observations(driver, reading):
        assert each["subject"] == {"reference": f"Patient/{SUBJECT.patient}"}
        vital = each["category"][0]["coding"][0]["code"] == "vital-signs"
        assert ("profile" in each.get("meta", {})) == vital
