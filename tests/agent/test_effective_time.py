"""When a reading was taken, between a device's clock and the unit's."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from agent.capture import Capture
from agent.fhir import effective
from tests.agent.store.truck import CUFF, STAMP, reading

NOW = STAMP.wall


def measured(
    device_time: datetime | None,
    *,
    clock_trusted: bool = False,
    clock_offset_ms: int | None = None,
) -> datetime:
    said = replace(
        reading(b"raw"),
        device_time=device_time,
        clock_trusted=clock_trusted,
        clock_offset_ms=clock_offset_ms,
    )
    return effective(Capture(said, CUFF, STAMP, "1", "simulated", "1"))


def naive(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(tzinfo=None)


@pytest.mark.parametrize("ago", [timedelta(0), timedelta(minutes=3), timedelta(days=30)])
def test_believable_device_time_is_when_it_was_measured(ago: timedelta) -> None:
    assert measured(naive(NOW - ago), clock_trusted=True) == NOW - ago


@pytest.mark.parametrize("ago", [timedelta(days=-1), timedelta(days=32), timedelta(days=365)])
def test_device_with_a_wrong_year_does_not_date_a_reading(ago: timedelta) -> None:
    assert measured(naive(NOW - ago), clock_trusted=True) == NOW


def test_untrusted_or_absent_time_leaves_the_arrival() -> None:
    assert measured(naive(NOW - timedelta(hours=1))) == NOW
    assert measured(None) == NOW


def test_known_error_of_the_device_clock_is_taken_out() -> None:
    """The device said its present time: it is a year and a minute behind."""
    behind = timedelta(days=365, minutes=1)
    found = measured(
        naive(NOW - behind - timedelta(minutes=10)),
        clock_trusted=True,
        clock_offset_ms=-int(behind.total_seconds() * 1000),
    )
    assert found == NOW - timedelta(minutes=10)
