"""Standard health profiles: what is encoded is decoded again, and nothing but a fault escapes."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.base import Decoded, NoReading, Value
from drivers.card import card, decoder
from drivers.errors import ProtocolFault
from drivers.glucose_meter import codec as glucose
from drivers.glucose_meter.context import HEALTH, MEALS, TESTERS, Context, decode_context
from drivers.glucose_meter.simulator import ContextOf, Record, encode_context
from drivers.glucose_meter.simulator import encode as encode_record
from drivers.heart_rate import codec as heart
from drivers.heart_rate.simulator import Beat
from drivers.heart_rate.simulator import encode as encode_beat
from drivers.medfloat import Special
from drivers.pulse_oximeter import codec as oximeter
from drivers.pulse_oximeter.simulator import Instant, SpotCheck, encode_continuous
from drivers.pulse_oximeter.simulator import encode as encode_spot
from drivers.weight_scale import codec as scale
from drivers.weight_scale.codec import CompositionFlag
from drivers.weight_scale.simulator import Composition, Weighing, encode_composition
from drivers.weight_scale.simulator import encode as encode_weighing

if TYPE_CHECKING:
    from drivers.base import Measurement, Outcome

PROFILES = ("pulse-oximeter", "glucose-meter", "weight-scale", "heart-rate")
SOURCES = [(driver, source) for driver in PROFILES for source in card(driver).sources]

percents = st.decimals(0, 100, places=1)
pulses = st.integers(0, 600).map(Decimal)
times = st.none() | st.datetimes(
    datetime(2000, 1, 1),  # noqa: DTZ001 - devices know no time zone
    datetime(2099, 12, 31),  # noqa: DTZ001
).map(lambda when: when.replace(microsecond=0))
words = st.none() | st.integers(0, 0x03FF).map(lambda bits: bits & ~0x1F)


def one(outcome: Outcome) -> Measurement:
    assert isinstance(outcome, Decoded)
    (reading,) = outcome.readings
    return reading


def numbers(reading: Measurement) -> dict[str, Decimal]:
    return {value.code: value.value for value in reading.values}


@pytest.mark.parametrize(("driver", "source"), SOURCES)
@given(raw=st.binary(max_size=40))
def test_any_octets_are_an_outcome_or_a_fault(driver: str, source: str, raw: bytes) -> None:
    try:
        outcome = decoder(driver, source)(raw, name=None)
    except ProtocolFault as fault:
        assert fault.reason.endswith(".")  # noqa: PT017 - either outcome is legal
    else:
        assert isinstance(outcome, Decoded | NoReading)


@given(percents, pulses, times, words, st.none() | percents)
def test_spot_check_says_what_was_measured(
    saturation: Decimal,
    pulse: Decimal,
    time: datetime | None,
    status: int | None,
    amplitude: Decimal | None,
) -> None:
    spot = SpotCheck(saturation, pulse, time, status, 0, amplitude)
    reading = one(oximeter.decode(encode_spot(spot)))
    said = {oximeter.SATURATION: saturation, oximeter.PULSE: pulse}
    if amplitude is not None:
        said[oximeter.AMPLITUDE] = amplitude
    assert numbers(reading) == said
    assert reading.device_time == time
    assert reading.repeatable == (time is not None)
    assert ("from-storage" in reading.status) == bool((status or 0) & 0x0200)


@given(percents, pulses, st.booleans(), st.booleans(), words)
def test_continuous_value_is_that_of_normal_averaging(
    saturation: Decimal,
    pulse: Decimal,
    fast: bool,  # noqa: FBT001
    slow: bool,  # noqa: FBT001
    status: int | None,
) -> None:
    other = (Decimal(1), Decimal(2))
    instant = Instant(saturation, pulse, other if fast else None, other if slow else None, status)
    reading = one(oximeter.decode_continuous(encode_continuous(instant)))
    assert numbers(reading) == {oximeter.SATURATION: saturation, oximeter.PULSE: pulse}
    assert not reading.repeatable


@pytest.mark.parametrize("bit", [10, 11, 12, 13, 15])
def test_demonstration_test_and_their_like_are_no_reading(bit: int) -> None:
    spot = SpotCheck(Decimal(97), Decimal(70), status=1 << bit)
    instant = Instant(Decimal(97), Decimal(70), status=1 << bit)
    assert isinstance(oximeter.decode(encode_spot(spot)), NoReading)
    assert isinstance(oximeter.decode_continuous(encode_continuous(instant)), NoReading)


def test_clock_that_the_oximeter_calls_unset_is_not_trusted() -> None:
    spot = SpotCheck(Decimal(97), Decimal(70), time=datetime(2026, 6, 1), clock_not_set=True)  # noqa: DTZ001
    reading = one(oximeter.decode(encode_spot(spot)))
    assert not reading.clock_trusted
    assert reading.quality == ("clock-unset",)


@pytest.mark.parametrize("special", Special)
def test_saturation_that_is_no_number_is_no_reading(special: Special) -> None:
    assert isinstance(oximeter.decode(encode_spot(SpotCheck(special, Decimal(70)))), NoReading)


@given(st.integers(0, 0xFFFF), times, st.integers(1, 2000), st.booleans())
def test_concentration_keeps_its_digits_in_the_unit_of_the_meter(
    sequence: int,
    time: datetime | None,
    count: int,
    moles: bool,  # noqa: FBT001
) -> None:
    concentration = Decimal(count).scaleb(-4 if moles else -5)
    record = Record(sequence, time, concentration, moles=moles)
    reading = one(glucose.decode(encode_record(record)))
    (value,) = reading.values
    expected = Decimal(count).scaleb(-1) if moles else Decimal(count)
    assert str(value.value) == str(expected)
    assert value.unit == ("mmol/L" if moles else "mg/dL")
    assert glucose.header(reading.raw) == glucose.Header(sequence, context_follows=False)
    assert reading.repeatable


@given(st.integers(-0x7FFF, 0x7FFE))
def test_time_of_a_record_is_its_base_moved_by_its_offset(minutes: int) -> None:
    base = datetime(2026, 6, 1, 12)  # noqa: DTZ001
    record = Record(1, base, Decimal("0.00100"), offset_min=minutes)
    when = one(glucose.decode(encode_record(record))).device_time
    assert when is not None
    assert (when - base).total_seconds() == minutes * 60


@pytest.mark.parametrize("time", [datetime(9999, 12, 31, 23), datetime(1582, 1, 1)])  # noqa: DTZ001
def test_time_moved_out_of_the_calendar_is_a_fault_or_a_time(time: datetime) -> None:
    record = Record(1, time, Decimal("0.00100"), offset_min=0x7FFE)
    if time.year > 2000:
        with pytest.raises(ProtocolFault, match="cannot be"):
            glucose.decode(encode_record(record))
    else:
        assert one(glucose.decode(encode_record(record))).device_time is not None


@pytest.mark.parametrize("concentration", [Decimal("-0.1"), Decimal(-1), None, *Special])
def test_record_without_a_concentration_is_no_reading(
    concentration: Decimal | Special | None,
) -> None:
    outcome = glucose.decode(encode_record(Record(1, None, concentration)))
    assert isinstance(outcome, NoReading)


@given(
    st.integers(0, 0xFFFF),
    st.none() | st.sampled_from(list(MEALS.values())),
    st.none() | st.sampled_from(list(TESTERS.values())),
    st.none() | st.sampled_from(list(HEALTH.values())),
)
def test_context_says_what_was_noted(
    sequence: int, meal: str | None, tester: str | None, health: str | None
) -> None:
    said = tuple(word for word in (meal, tester, health) if word)
    raw = encode_context(ContextOf(sequence, meal, tester, health))
    assert decode_context(raw) == Context(sequence, said)


@given(st.integers(1, 0xFFFE), st.booleans(), times, st.none() | st.integers(0, 254))
def test_weight_has_the_resolution_of_the_scale(
    count: int,
    imperial: bool,  # noqa: FBT001
    time: datetime | None,
    user: int | None,
) -> None:
    weighing = Weighing(count, imperial, time, user)
    reading = one(scale.decode(encode_weighing(weighing)))
    expected = Decimal(count).scaleb(-2) if imperial else Decimal(count * 5).scaleb(-3)
    unit = "[lb_av]" if imperial else "kg"
    assert reading.values == (Value(scale.WEIGHT, expected, unit),)
    assert str(reading.values[0].value) == str(expected)
    assert (reading.user_slot, reading.device_time) == (user, time)


@given(st.integers(1, 1000), st.integers(1, 4000), st.integers(1, 60000))
def test_composition_says_what_was_weighed(fat: int, height: int, weight: int) -> None:
    counts = {
        CompositionFlag.METABOLISM: 6500,
        CompositionFlag.IMPEDANCE: 5000,
        CompositionFlag.WEIGHT: weight,
        CompositionFlag.HEIGHT: height,
    }
    reading = one(scale.decode_composition(encode_composition(Composition(fat, counts=counts))))
    assert numbers(reading) == {
        scale.BODY_FAT: Decimal(fat).scaleb(-1),
        scale.WEIGHT: Decimal(weight * 5).scaleb(-3),
        scale.HEIGHT: Decimal(height).scaleb(-1),
    }


@given(st.integers(1, 600), st.none() | st.booleans(), st.lists(st.integers(0, 0xFFFF), max_size=9))
def test_heart_rate_and_its_intervals_are_exact(
    rate: int,
    contact: bool | None,  # noqa: FBT001
    intervals: list[int],
) -> None:
    raw = encode_beat(Beat(rate, contact, energy=7, intervals=tuple(intervals)))
    reading = one(heart.decode(raw))
    first, *others = reading.values
    assert first == Value(heart.RATE, Decimal(rate), "/min")
    assert [int(each.value * heart.TICKS) for each in others] == intervals
    assert ("no-contact" in reading.quality) == (contact is False)
