"""What a person may enter by hand: per kind its codes, its one unit, its bounds and its digits.

The unit is fixed, because a number without one is no reading. Bounds are of measuring, not of
health: outside `possible` it is a slip of the finger or another unit (98.6 for a temperature),
outside `plausible` it is kept and flagged. Glucose is in mg/dL, where what a meter shows in
mmol/L or g/L falls below the bounds for nearly every patient, instead of passing for another
sugar.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class Entry:
    """One number: its MDC code, its UCUM unit, its bounds (ends included), its most decimals."""

    code: str
    unit: str
    plausible: tuple[Decimal, Decimal]
    possible: tuple[Decimal, Decimal]
    decimals: int = 0


@dataclass(frozen=True, slots=True)
class Form:
    """What is typed for one kind: numbers parted by `/`, or else one of the letters in `words`."""

    kind: str
    entries: tuple[Entry, ...] = ()
    words: tuple[tuple[str, str], ...] = ()


def _entry(code: str, unit: str, bounds: tuple[str, str, str, str], decimals: int = 0) -> Entry:
    """Bounds in ascending order: possible, plausible, plausible, possible."""
    lowest, low, high, highest = map(Decimal, bounds)
    return Entry(code, unit, (low, high), (lowest, highest), decimals)


FORMS = {
    "weight": Form("body-weight", (_entry("188736", "kg", ("0.2", "1", "250", "500"), 3),)),
    "height": Form("body-height", (_entry("188740", "cm", ("20", "30", "220", "280"), 1),)),
    "respiratory-rate": Form(
        "respiratory-rate", (_entry("151562", "/min", ("0", "6", "80", "150")),)
    ),
    "temperature": Form(
        "body-temperature", (_entry("150364", "Cel", ("20", "30", "45", "50"), 2),)
    ),
    "blood-pressure": Form(
        "blood-pressure",
        (
            _entry("150021", "mm[Hg]", ("20", "50", "260", "350")),
            _entry("150022", "mm[Hg]", ("10", "20", "160", "250")),
        ),
    ),
    "spo2": Form("oximetry", (_entry("150456", "%", ("0", "50", "100", "100"), 1),)),
    "pulse": Form("pulse", (_entry("149546", "/min", ("0", "25", "250", "350")),)),
    "glucose": Form("glucose", (_entry("160184", "mg/dL", ("20", "30", "600", "1000"), 1),)),
    "consciousness": Form(
        "consciousness",
        words=(
            ("A", "alert"),
            ("C", "confused"),
            ("V", "responds to voice"),
            ("P", "responds to pain"),
            ("U", "unresponsive"),
        ),
    ),
}
"""By the word that is typed. Consciousness is ACVPU (Royal College of Physicians, NEWS2, 2017)."""
