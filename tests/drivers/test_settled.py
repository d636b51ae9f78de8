"""A value that is repeated is a reading once it has settled, and never what came after."""

from __future__ import annotations

from decimal import Decimal

from drivers.base import Measurement, Value
from drivers.settled import ENOUGH, Settled


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


def test_value_that_loses_its_pulse_is_not_settled() -> None:
    bare = Measurement("oximetry", b"x", values=at(97).values[:1])
    assert watched(*[at(97)] * (ENOUGH - 1), bare).reading is None
