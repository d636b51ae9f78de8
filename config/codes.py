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
        Quantity("150300", (), "Cuff pressure"),
        Quantity("149546", ("8867-4",), "Pulse rate"),
        Quantity("147842", ("8867-4",), "Heart rate"),
        Quantity("150364", ("8310-5",), "Body temperature"),
        Quantity("150456", ("2708-6", "59408-5"), "Oxygen saturation"),
        Quantity("149530", ("8867-4",), "Pulse rate"),
        Quantity("150488", (), "Pulse amplitude index"),
        Quantity("147240", (), "Interval between two beats"),
        Quantity("160184", (), "Glucose, capillary whole blood"),
        Quantity("160188", (), "Glucose, capillary plasma"),
        Quantity("160192", (), "Glucose, venous whole blood"),
        Quantity("160196", (), "Glucose, venous plasma"),
        Quantity("160200", (), "Glucose, arterial whole blood"),
        Quantity("160204", (), "Glucose, arterial plasma"),
        Quantity("160364", (), "Glucose, undetermined whole blood"),
        Quantity("160368", (), "Glucose, undetermined plasma"),
        Quantity("160212", (), "Glucose, interstitial fluid"),
        Quantity("188736", ("29463-7",), "Body weight"),
        Quantity("188740", ("8302-2",), "Body height"),
        Quantity("188752", ("39156-5",), "Body mass index"),
        Quantity("188748", (), "Body fat"),
        Quantity("188756", (), "Fat free mass"),
        Quantity("188760", (), "Soft lean mass"),
        Quantity("188764", (), "Body water"),
        Quantity("151562", ("9279-1",), "Respiratory rate"),
        Quantity("150388", ("39106-0",), "Skin temperature"),
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
    "oximetry": Panel(QUANTITIES["150456"], "vital-signs"),
    "glucose": Panel(QUANTITIES["160184"], "laboratory"),
    "body-weight": Panel(QUANTITIES["188736"], "vital-signs"),
    "body-height": Panel(QUANTITIES["188740"], "vital-signs"),
    "respiratory-rate": Panel(QUANTITIES["151562"], "vital-signs"),
    "pulse": Panel(QUANTITIES["149546"], "vital-signs"),
    # To be picked with the centre: 80288-4 names AVPU alone, which has no «confused».
    "consciousness": Panel(Quantity("", ("67775-7",), "Level of responsiveness"), "exam"),
    "heart-rate": Panel(QUANTITIES["147842"], "vital-signs"),
    "vital-signs": Panel(Quantity("", ("85353-1",), "Vital signs"), "vital-signs"),
    "ecg": Panel(Quantity("", ("11524-6",), "ECG study"), "procedure"),
    "dermatoscope-image": Panel(Quantity("", ("72170-4",), "Photographic image"), "imaging"),
}

UNIT_NAMES = {
    "mm[Hg]": "mmHg",
    "kPa": "kPa",
    "/min": "/min",
    "Cel": "°C",
    "[degF]": "°F",
    "%": "%",
    "uV": "µV",
    "[lb_av]": "lb",
    "[in_i]": "in",
    "kg/m2": "kg/m²",
}
