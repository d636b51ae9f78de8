"""A value that is repeated is a reading once it has settled, and never what came after."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from drivers.base import Measurement, Value
from drivers.card import card
from drivers.settled import _SPREAD, ENOUGH, Settled


def at(saturation: int, pulse: int = 70, *quality: str) -> Measurement:
    values = (
        Value("150456", Decimal(saturation), "%"),
        Value("149530", Decimal(pulse), "/min"),
    )
    raw = bytes([saturation, pulse])
    return Measurement("oximetry", raw, values=values, quality=quality)


def watched(*readings: Measurement | None) -> Settled:
    settled = Settled()
    for reading in readings:
        if reading is None:
            settled.doubt()
        else:
            settled.watch(reading)
    return settled


def test_too_few_frames_are_no_reading() -> None:
    assert watched(*[at(97)] * (ENOUGH - 1)).reading is None


def test_latest_of_enough_equal_frames_is_the_reading() -> None:
    assert watched(*[at(97)] * (ENOUGH - 1), at(98)).reading == at(98)


def test_value_that_leaps_settles_only_after_enough_frames() -> None:
    leap = [at(97)] * (ENOUGH - 1) + [at(90)] * (ENOUGH - 1)
    assert watched(*leap).reading is None
    assert watched(*leap, at(90)).reading == at(90)


def test_pulse_that_leaps_is_not_settled_either() -> None:
    assert watched(*[at(97, 70)] * (ENOUGH - 1), at(97, 95)).reading is None


def test_doubtful_frame_starts_the_count_anew() -> None:
    half = [at(97)] * (ENOUGH - 1)
    assert watched(*half, at(97, 70, "questionable"), *half).reading is None
    assert watched(*half, None, *half).reading is None


def test_what_comes_when_the_finger_is_drawn_out_changes_nothing() -> None:
    settled = watched(*[at(97)] * ENOUGH, at(60, 180), None, at(40, 30))
    assert settled.reading == at(97)


def test_perfusion_index_that_varies_keeps_no_oximeter_from_settling() -> None:
    frames = [
        replace(at(97), values=(*at(97).values, Value("150488", Decimal(index), "%")))
        for index in (2, 9, 4, 12, 7)
    ]
    assert watched(*frames).reading == frames[-1]


def test_values_of_no_known_spread_are_never_settled() -> None:
    bare = Measurement("oximetry", b"x", values=(Value("150488", Decimal(4), "%"),))
    assert watched(*[bare] * (2 * ENOUGH)).reading is None


@pytest.mark.parametrize("driver", ["pulse-oximeter", "heart-rate", "pc60", "nonin3230"])
def test_what_a_streaming_driver_measures_has_a_spread(driver: str) -> None:
    carried_along = {"150488"}
    told = {each.code for each in card(driver).measures if each.unit in {"%", "/min"}}
    assert told - carried_along <= set(_SPREAD)
    assert told - carried_along


def test_value_that_loses_its_pulse_is_not_settled() -> None:
    bare = Measurement("oximetry", b"x", values=at(97).values[:1])
    assert watched(*[at(97)] * (ENOUGH - 1), bare).reading is None
