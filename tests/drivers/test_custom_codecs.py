"""Codecs of profiles of their own: what a simulator encodes is what is decoded, and by whom."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from itertools import islice
from typing import TYPE_CHECKING

import pytest

from drivers.base import Decoded, Measurement, NoReading
from drivers.card import card, decoder
from drivers.errors import ProtocolFault
from drivers.microlife import simulator as microlife
from drivers.nonin3230 import simulator as nonin
from drivers.omron_memory import codec as omron
from drivers.omron_memory import simulator as omron_memory
from drivers.pc60 import simulator as pc60
from drivers.spot import deviations
from drivers.taidoc import codec as taidoc
from drivers.taidoc import simulator as taidoc_device
from drivers.yonker import simulator as yonker

if TYPE_CHECKING:
    from collections.abc import Iterator

START = datetime(2026, 2, 28, 23, 50, 7)  # noqa: DTZ001 - devices know no time zone
MINUTE = START.replace(second=0)
MANY = 200


def reading(driver: str, raw: bytes, name: str | None = None) -> Measurement:
    outcome = decoder(driver)(raw, name=name)
    assert isinstance(outcome, Decoded)
    return outcome.readings[-1]


def numbers(measurement: Measurement) -> tuple[int, ...]:
    return tuple(int(value.value) for value in measurement.values)


@pytest.mark.parametrize(
    ("driver", "frames", "name", "first"),
    [
        ("yonker", yonker.frames(seed=1, start=START), None, MINUTE),
        ("microlife", microlife.frames(seed=1, start=START), None, MINUTE),
        ("taidoc", taidoc_device.frames(seed=1, start=START), "TAIDOC TD3128", MINUTE),
        ("omron-memory", omron_memory.frames(seed=1, start=START), "HEM-7142T2", START),
    ],
)
def test_simulated_readings_are_decoded_with_their_time(
    driver: str, frames: Iterator[bytes], name: str | None, first: datetime
) -> None:
    for number, raw in enumerate(islice(frames, MANY)):
        said = reading(driver, raw, name)
        assert said.device_time == first + number * timedelta(minutes=3)
        assert said.repeatable
        assert said.quality == ()
        assert said.clock_trusted == (driver != "yonker")


def test_both_layouts_of_omron_say_the_same() -> None:
    for minute in range(MANY):
        when = START + timedelta(minutes=minute, seconds=minute)
        pressure = (90 + minute % 160, 40 + minute % 90, 40 + minute)
        for flags in range(4):
            one = reading(
                "omron-memory", omron_memory.little_endian(pressure, when, flags), "HEM-7142T2"
            )
            other = reading(
                "omron-memory", omron_memory.bit_packed(pressure, when, flags), "HEM-7322T-E"
            )
            assert numbers(one) == numbers(other) == pressure
            assert one.device_time == other.device_time == when
            assert one.status == other.status
            assert len(one.status) == flags.bit_count()


def test_layout_of_omron_is_never_guessed() -> None:
    record = omron_memory.little_endian((120, 80, 60), START)
    assert numbers(reading("omron-memory", record, "HEM-7142T2")) == (120, 80, 60)
    for name in (None, "", "BLESmart_0000", "HEM-7188T1", "HEM-6232T", "HEM-7142"):
        with pytest.raises(ProtocolFault, match="not known"):
            omron.decode(record, name=name)


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("TAIDOC TD3140", "pressure"),
        ("FORA P30 PLUS", "pressure"),
        ("TAIDOC TD3128", "pressure"),
        ("FORA D40", "pressure"),
        ("TAIDOC TD8201", "oximetry"),
        ("TAIDOC TD8255", "oximetry"),
        ("TAIDOC TD1241", "temperature"),
        ("TAIDOC TD1261", "temperature"),
        ("TAIDOC TD1035", "temperature"),
        ("FORA IR40", "temperature"),
        ("FORA IR42", "temperature"),
        ("FORA GD40", None),
        ("TAIDOC TD4257", None),
        ("TAIDOC TD31400", None),
        (None, None),
    ],
)
def test_model_of_taidoc_measures_what_its_name_says(name: str | None, what: str | None) -> None:
    assert taidoc.measured_by(name) == what
    assert bool(deviations(card("taidoc").quirks, name)) == (what is not None)


def test_temperature_keeps_the_digits_that_were_sent() -> None:
    for tenths in range(340, 420):
        degrees = Decimal(tenths).scaleb(-1)
        said = reading("taidoc", taidoc_device.temperature(degrees), "FORA IR42")
        assert str(said.values[0].value) == f"{tenths / 10:.1f}"


def test_frames_of_a_clip_say_a_value_only_while_a_finger_is_in() -> None:
    for driver, stay, silent in (
        ("pc60", list(pc60.stay(seed=3, seconds=8)), (3, 2)),
        ("nonin3230", list(nonin.stay(seed=3, seconds=8)), (3, 1)),
    ):
        said = [decoder(driver)(raw) for raw in stay]
        before, after = silent
        assert all(isinstance(each, NoReading) for each in said[:before] + said[-after:])
        assert sum(isinstance(each, Decoded) for each in said) == 8
