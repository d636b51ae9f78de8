"""What both Bluetooth codecs share: clocks, bounds, digits and quirks."""

# ruff: noqa: DTZ001 - devices know no time zone

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

import pytest

from drivers.card import Quirk
from drivers.errors import ProtocolFault
from drivers.medfloat import Reader, encode_date_time
from drivers.spot import (
    Bounds,
    Clock,
    deviations,
    is_plausible,
    quirks_of,
    read_clock,
    written_out,
)

BOUNDS = Bounds(plausible=(30, 300), possible=(0, 600))
NONE: frozenset[str] = frozenset()


def clock(stamp: bytes, quirks: frozenset[str] = NONE) -> Clock:
    return read_clock(Reader(stamp), present=True, quirks=quirks)


@pytest.mark.parametrize(
    "when", [datetime(2020, 1, 20), datetime(2010, 1, 2), datetime(2017, 1, 1)]
)
def test_january_of_a_past_year_is_a_factory_clock(when: datetime) -> None:
    said = clock(encode_date_time(when))
    assert said == Clock(time=when, trusted=False, repeatable=True, quality=("clock-unset",))


@pytest.mark.parametrize(
    "when", [datetime(2026, 1, 1), datetime(2025, 2, 1), datetime(2025, 12, 31, 23, 59, 59)]
)
def test_other_times_are_trusted(when: datetime) -> None:
    assert clock(encode_date_time(when)) == Clock(time=when, trusted=True, repeatable=True)


def test_absent_time_is_neither_trusted_nor_repeatable() -> None:
    assert read_clock(Reader(b""), present=False, quirks=NONE) == Clock()


def test_all_zero_time_identifies_nothing() -> None:
    assert clock(bytes(7)) == Clock()


def test_unknown_date_with_a_running_clock_still_identifies() -> None:
    assert clock(bytes.fromhex("00000000080102")) == Clock(repeatable=True)


def test_frozen_clock_identifies_nothing() -> None:
    said = clock(encode_date_time(datetime(2026, 8, 1)), frozenset({"frozen-clock"}))
    assert said.trusted
    assert not said.repeatable


@pytest.mark.parametrize(
    ("number", "plausible"),
    [("29.9", False), ("30", True), ("300", True), ("300.1", False), ("0", False), ("600", False)],
)
def test_possible_number_is_judged(number: str, plausible: bool) -> None:  # noqa: FBT001
    assert is_plausible(Decimal(number), BOUNDS, "pressure") is plausible


@pytest.mark.parametrize("number", ["-0.1", "600.1", "1824E+2", "1E+127"])
def test_impossible_number_is_a_fault_that_does_not_say_it(number: str) -> None:
    with pytest.raises(ProtocolFault) as caught:
        is_plausible(Decimal(number), BOUNDS, "pressure")
    assert number not in caught.value.reason


@pytest.mark.parametrize(
    ("number", "text"),
    [("12E+1", "120"), ("36.0", "36.0"), ("0E+127", "0"), ("1.000000", "1.000000")],
)
def test_digits_are_written_out_as_a_person_writes_them(number: str, text: str) -> None:
    assert str(written_out(Decimal(number), "pressure")) == text


def test_digits_without_end_are_a_fault() -> None:
    with pytest.raises(ProtocolFault, match="decimals"):
        written_out(Decimal("0E-128"), "pressure")


def test_quirk_applies_by_name_only() -> None:
    quirk = Quirk(name=r"\bBM ?85\b", source="test", apply=("hidden-user",), settle_ms=100)
    assert quirks_of([quirk], "Beurer BM85") == (quirk,)
    assert deviations([quirk], "BM 85") == {"hidden-user"}
    assert deviations([quirk], "BM850") == NONE
    assert quirks_of([quirk], None) == ()
