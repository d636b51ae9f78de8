"""2A1C: what the captures cannot show one by one."""

# ruff: noqa: DTZ001 - devices know no time zone

from __future__ import annotations

from contextlib import suppress
from datetime import datetime
from decimal import Decimal
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.base import Decoded, Measurement, NoReading
from drivers.card import card
from drivers.errors import ProtocolFault
from drivers.medfloat import Special
from drivers.thermometer.codec import SITES, decode
from drivers.thermometer.simulator import Reading, encode, frames

SO_36_0 = bytes.fromhex("06680100FFE207030A15340002")


def reading_in(raw: bytes) -> Measurement:
    outcome = decode(raw)
    assert isinstance(outcome, Decoded)
    (reading,) = outcome.readings
    return reading


@given(st.binary(max_size=16))
def test_any_bytes_are_decoded_or_a_protocol_fault(raw: bytes) -> None:
    with suppress(ProtocolFault):
        outcome = decode(raw)
        assert isinstance(outcome, NoReading) or len(str(reading_in(raw).values[0].value)) < 16


@given(st.integers(0, len(SO_36_0) * 8 - 1))
def test_flipped_bit_is_decoded_or_a_protocol_fault(bit: int) -> None:
    flipped = bytearray(SO_36_0)
    flipped[bit // 8] ^= 1 << bit % 8
    with suppress(ProtocolFault):
        decode(bytes(flipped))


def test_truncation_at_every_length_is_a_protocol_fault() -> None:
    for size in range(len(SO_36_0)):
        with pytest.raises(ProtocolFault) as caught:
            decode(SO_36_0[:size])
        assert caught.value.offset == size


@given(st.integers(-128, 127))
def test_text_of_a_temperature_is_short_under_any_exponent(exponent: int) -> None:
    frame = bytes([0]) + (360).to_bytes(3, "little") + (exponent & 0xFF).to_bytes(1, "little")
    try:
        said = reading_in(frame)
    except ProtocolFault:
        return
    assert exponent in range(-6, 0)
    assert len(f"{said.values[0].value:f}") <= 8


@pytest.mark.parametrize(
    ("degrees", "quality"),
    [
        ("29.9", ("implausible",)),
        ("30.0", ()),
        ("45.0", ()),
        ("45.1", ("implausible",)),
        ("0", ("implausible",)),
        ("100", ("implausible",)),
    ],
)
def test_temperature_no_body_has_is_flagged(degrees: str, quality: tuple[str, ...]) -> None:
    assert reading_in(encode(Reading(Decimal(degrees)))).quality == quality


@pytest.mark.parametrize(
    ("degrees", "quality"),
    [("85.9", ("implausible",)), ("86.0", ()), ("113.0", ()), ("211", ("implausible",))],
)
def test_fahrenheit_is_judged_as_fahrenheit(degrees: str, quality: tuple[str, ...]) -> None:
    said = reading_in(encode(Reading(Decimal(degrees), fahrenheit=True)))
    assert said.quality == quality
    assert said.values[0].unit == "[degF]"


@pytest.mark.parametrize(
    ("degrees", "fahrenheit"), [("-0.1", False), ("100.1", False), ("31.9", True), ("212.1", True)]
)
def test_temperature_beyond_water_is_a_protocol_fault(degrees: str, fahrenheit: bool) -> None:  # noqa: FBT001
    with pytest.raises(ProtocolFault):
        decode(encode(Reading(Decimal(degrees), fahrenheit=fahrenheit)))


@pytest.mark.parametrize("special", list(Special))
def test_special_value_is_no_reading(special: Special) -> None:
    assert isinstance(decode(encode(Reading(special, site="ear"))), NoReading)


@pytest.mark.parametrize("site", SITES.values())
def test_site_is_read_back(site: str) -> None:
    assert reading_in(encode(Reading(Decimal("36.6"), site=site))).site == site


def test_equal_temperatures_without_a_time_are_not_repeatable() -> None:
    assert not reading_in(encode(Reading(Decimal("36.6")))).repeatable
    assert reading_in(SO_36_0).repeatable


def test_simulated_day_is_plausible_and_never_repeats() -> None:
    day = list(islice(frames(seed=7, start=datetime(2026, 11, 21, 8)), 200))
    assert len(set(day)) == 200
    assert all(reading_in(frame).quality == () for frame in day)


def test_unit_and_code_are_those_of_the_card() -> None:
    (promised,) = card("thermometer").measures
    (value,) = reading_in(SO_36_0).values
    assert (value.code, value.unit) == (promised.code, promised.unit)
