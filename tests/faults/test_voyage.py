"""Days without a link and with a power cut every evening; `make soak` makes ninety of them."""

from __future__ import annotations

import pytest

from tests.faults.disk import why_not
from tests.faults.voyage import travel

DAYS = 7


@pytest.mark.skipif(why_not() != "", reason=why_not())
@pytest.mark.timeout(300)
async def test_days_offline_with_a_power_cut_every_evening_lose_nothing() -> None:
    """T15, T32, T35: and the last day is as quick as the second."""
    voyage = await travel(DAYS, seed=1)
    assert voyage.missing == 0
    assert len(voyage.acknowledged) == 12 * DAYS
    assert voyage.pending >= len(voyage.acknowledged)
    assert sorted(voyage.at_centre, key=repr) == sorted(voyage.acknowledged, key=repr)
    assert voyage.changes[-1] < 2 * voyage.changes[1]
