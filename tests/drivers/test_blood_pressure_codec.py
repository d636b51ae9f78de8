"""2A35: what the captures cannot show one by one."""

# ruff: noqa: DTZ001 - devices know no time zone

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from itertools import islice
from operator import attrgetter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.base import Decoded, Measurement, NoReading
from drivers.blood_pressure.codec import decode
from drivers.blood_pressure.simulator import Reading, encode, frames
from drivers.card import card
from drivers.errors import ProtocolFault
from drivers.medfloat import Special
from drivers.spot import quirks_of

BP2 = bytes.fromhex("167C0056006100E807060F11111B33000000")
BP3 = bytes.fromhex("566A0047000000EA07080B121F00003F000000")
NAMES = st.none() | st.sampled_from(["Beurer BM85", "BM59", "ELITE 900", "A&D_UA-651BLE_1234"])
PRESSURES = attrgetter("systolic", "diastolic", "mean")
NUMBERS = st.integers(0, 2045).map(lambda tenths: Decimal(tenths).scaleb(-1))


def reading_in(raw: bytes, name: str | None = None) -> Measurement:
    outcome = decode(raw, name=name)
    assert isinstance(outcome, Decoded)
    (reading,) = outcome.readings
    return reading


@given(st.binary(max_size=24), NAMES)
def test_any_bytes_are_decoded_or_a_protocol_fault(raw: bytes, name: str | None) -> None:
    with suppress(ProtocolFault):
        outcome = decode(raw, name=name)
        assert isinstance(outcome, NoReading) or reading_in(raw, name).raw == raw


@given(st.sampled_from([BP2, BP3]), st.integers(0, 151), NAMES)
def test_flipped_bit_is_decoded_or_a_protocol_fault(raw: bytes, bit: int, name: str | None) -> None:
    flipped = bytearray(raw)
    flipped[bit // 8 % len(raw)] ^= 1 << bit % 8
    with suppress(ProtocolFault):
        decode(bytes(flipped), name=name)


@pytest.mark.parametrize(("frame", "name"), [(BP2, None), (BP3, "BM85")])
def test_truncation_at_every_length_is_a_protocol_fault(frame: bytes, name: str | None) -> None:
    for size in range(len(frame)):
        with pytest.raises(ProtocolFault) as caught:
            decode(frame[:size], name=name)
        assert caught.value.offset == size


@pytest.mark.parametrize("name", ["Beurer BM85", "BM48", "BM 59", "ELITE900", "Elite 900"])
def test_beurer_models_are_known_by_name(name: str) -> None:
    assert [value.code for value in reading_in(BP3, name).values] == ["150021", "150022", "149546"]


@pytest.mark.parametrize("name", [None, "", "BM58", "Beurer", "XBM850", "A&D_UA-651BLE"])
def test_other_names_are_not_taken_for_a_beurer(name: str | None) -> None:
    with pytest.raises(ProtocolFault, match="longer"):
        decode(BP3, name=name)


def test_beurer_status_is_big_endian() -> None:
    frame = BP3[:-2] + bytes([0x00, 0x04])
    assert reading_in(frame, "BM85").status == ("irregular-pulse",)


def test_beurer_needs_a_pause_before_it_is_subscribed_to() -> None:
    (quirk,) = quirks_of(card("blood-pressure").quirks, "Beurer BM85")
    assert quirk.settle_ms == 100


def test_reading_with_a_time_is_repeatable_whatever_the_time() -> None:
    unset = bytes.fromhex("DEF6F416F3FF07E4070114082B00B2F2018000")
    assert reading_in(BP2).repeatable
    assert reading_in(unset).repeatable


def test_reading_without_a_time_is_never_repeatable() -> None:
    frame = encode(Reading(Decimal(120), Decimal(80), Decimal(96)))
    assert not reading_in(frame).repeatable


@pytest.mark.parametrize("special", list(Special))
def test_special_value_is_never_a_number(special: Special) -> None:
    fine = Reading(Decimal(120), Decimal(80), Decimal(96), pulse=Decimal(60))
    for without, missing in (
        (replace(fine, diastolic=special), "150022"),
        (replace(fine, mean=special), "150023"),
        (replace(fine, pulse=special), "149546"),
    ):
        codes = {value.code for value in reading_in(encode(without)).values}
        assert codes == {"150021", "150022", "150023", "149546"} - {missing}
    assert isinstance(decode(encode(replace(fine, systolic=special))), NoReading)


@given(
    st.builds(
        Reading,
        systolic=NUMBERS,
        diastolic=NUMBERS,
        mean=NUMBERS,
        pulse=st.none() | NUMBERS,
        time=st.none() | st.datetimes(min_value=datetime(1582, 1, 1)),
        user=st.none() | st.integers(0, 254),
        status=st.none() | st.just(0),
        kpa=st.booleans(),
    )
)
def test_simulated_reading_is_read_back_digit_by_digit(sent: Reading) -> None:
    try:
        said = reading_in(encode(sent))
    except ProtocolFault:
        assert sent.kpa
        assert any(isinstance(each, Decimal) and each > 80 for each in PRESSURES(sent))
        return
    numbers = [sent.systolic, sent.diastolic, sent.mean, sent.pulse]
    assert [str(value.value) for value in said.values] == [
        str(each) for each in numbers if each is not None
    ]
    assert {value.unit for value in said.values[:3]} == {"kPa" if sent.kpa else "mm[Hg]"}
    assert said.user_slot == sent.user
    assert said.device_time == (sent.time and sent.time.replace(microsecond=0))


def test_simulated_day_is_plausible_and_never_repeats() -> None:
    day = list(islice(frames(seed=7, start=datetime(2026, 11, 21, 8)), 200))
    assert len(set(day)) == 200
    for frame in day:
        said = reading_in(frame)
        assert said.quality == ()
        assert said.clock_trusted


def test_units_and_codes_are_those_of_the_card() -> None:
    promised = {(each.code, each.unit) for each in card("blood-pressure").measures}
    assert {(each.code, each.unit) for each in reading_in(BP2).values} == promised
