"""Code tables: IEEE 11073-10101 (MDC) to LOINC and UCUM, with the FHIR profile's own codes.

Sources: HL7 PHD Implementation Guide (MDC), FHIR R4 vital-signs profiles (LOINC, UCUM).
"""

from __future__ import annotations

from dataclasses import dataclass

MDC = "urn:iso:std:iso:11073:10101"
LOINC = "http://loinc.org"
UCUM = "http://unitsofmeasure.org"


@dataclass(frozen=True, slots=True)
class Quantity:
    """One quantity: its MDC code, its LOINC codes (the profile's first) and a name for people."""

    mdc: str
    loinc: tuple[str, ...]
    name: str


@dataclass(frozen=True, slots=True)
class Panel:
    """How a kind of measurement stands in FHIR: `parts` are components of one Observation.

    Quantities that are not parts become Observations of their own.
    """

    code: Quantity
    category: str
    parts: tuple[str, ...] = ()


QUANTITIES = {
    each.mdc: each
    for each in (
        Quantity("150021", ("8480-6",), "Systolic blood pressure"),
        Quantity("150022", ("8462-4",), "Diastolic blood pressure"),
        Quantity("150023", ("8478-0",), "Mean blood pressure"),
        Quantity("149546", ("8867-4",), "Pulse rate"),
        Quantity("147842", ("8867-4",), "Heart rate"),
        Quantity("150364", ("8310-5",), "Body temperature"),
        Quantity("131329", (), "ECG lead I"),
        Quantity("131330", (), "ECG lead II"),
        Quantity("131331", (), "ECG lead V1"),
    )
}

PANELS = {
    "blood-pressure": Panel(
        Quantity("150020", ("85354-9",), "Blood pressure"),
        "vital-signs",
        ("150021", "150022", "150023"),
    ),
    "body-temperature": Panel(QUANTITIES["150364"], "vital-signs"),
    "ecg": Panel(Quantity("", ("11524-6",), "ECG study"), "procedure"),
    "dermatoscope-image": Panel(Quantity("", ("72170-4",), "Photographic image"), "imaging"),
}

UNIT_NAMES = {
    "mm[Hg]": "mmHg",
    "kPa": "kPa",
    "/min": "/min",
    "Cel": "°C",
    "[degF]": "°F",
    "uV": "µV",
}
