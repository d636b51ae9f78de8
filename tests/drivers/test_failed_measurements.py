"""A special value in the main value's place is the device's report of a failure, stored so."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from drivers.base import Decoded, NoReading, records_of
from drivers.card import card, decoder
from drivers.medfloat import Special
from drivers.spot import failure
from tests.contract.cases import CAPTURES

if TYPE_CHECKING:
    from drivers.base import Measurement, Outcome

FAILED = {
    "blood-pressure/systolic-not-a-number": "not-a-number",
    "blood-pressure/systolic-infinite": "positive-infinity",
    "thermometer/not-a-number": "not-a-number",
    "thermometer/not-a-number-exponent-left": "not-a-number",
    "thermometer/below-range": "negative-infinity",
    "pulse-oximeter/no-saturation": "not-a-number",
    "glucose-meter/concentration-not-a-number": "not-a-number",
    "glucose-meter/concentration-above-range": "positive-infinity",
    "weight-scale/unsuccessful": "not-a-number",
    "weight-scale/composition-unsuccessful": "not-a-number",
}
NO_REPORT = (
    "blood-pressure/intermediate-cuff-pressure",  # still measuring
    "pulse-oximeter/continuous-finger-out",  # no finger in this second
    "pulse-oximeter/derived-choicemmed-demonstration",  # of no patient
    "glucose-meter/derived-control-solution",
    "glucose-meter/no-concentration",
)


def outcome(place: str) -> Outcome:
    folder = CAPTURES / place
    driver = folder.parent.name
    case = tomllib.loads((folder / "case.toml").read_text("utf-8"))
    source = case.get("characteristic", card(driver).sources[0])
    raw = bytes.fromhex((folder / "wire.hex").read_text("utf-8"))
    return decoder(driver, source)(raw, name=case.get("name"))


@pytest.mark.parametrize(("place", "absent"), FAILED.items())
def test_special_main_value_is_an_error_report(place: str, absent: str) -> None:
    said = outcome(place)
    assert isinstance(said, NoReading)
    (report,) = records_of(said)
    assert (report.absent, report.values, report.blobs) == (absent, (), ())
    assert report.kind in card(Path(place).parent.name).kinds


@pytest.mark.parametrize("place", NO_REPORT)
def test_what_is_no_failed_measurement_is_no_report(place: str) -> None:
    assert records_of(outcome(place)) == ()


@pytest.mark.parametrize("said", Special)
def test_every_special_value_has_a_reason_of_fhir(said: Special) -> None:
    measured = outcome("blood-pressure/bp2-plain")
    assert isinstance(measured, Decoded)
    (reading,) = measured.readings
    assert (
        _absent(failure("It failed.", reading, said))
        == {
            Special.NAN: "not-a-number",
            Special.NRES: "error",
            Special.POSITIVE_INFINITY: "positive-infinity",
            Special.NEGATIVE_INFINITY: "negative-infinity",
            Special.RESERVED: "error",
        }[said]
    )


def _absent(said: NoReading) -> str | None:
    report: Measurement | None = said.report
    return report.absent if report else None
