"""A hundred restarts in mid-drain: the backlog travels once, not a hundred times."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from sync import packing
from tests.sync.ledger_link import LedgerLink, session
from tests.sync.rig import conserved, place, until

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

RESTARTS, RECORDS = 100, 1750


async def test_t27_a_hundred_restarts_in_mid_drain_repeat_less_than_a_tenth(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """T27: what arrived is known by the answer to the hello, though its receipt was cut off."""
    monkeypatch.setattr(packing, "BATCH_BUDGET", 12_000)
    chance = random.Random(27)
    with place(tmp_path) as here, here.centre.ledger() as ledger:
        await here.unit.record_many(RECORDS)
        sent = restarts = 0
        while here.unit.pending():
            link = LedgerLink(here.unit, here.centre, ledger)
            most = chance.randrange(1, 3)  # batches beside the hello
            if chance.randrange(2):  # the receipt of the last batch never comes back
                most = 1
                link.on_the_way_down = lambda receipt: [receipt] if receipt.answers else []

            def ended(link: LedgerLink = link, most: int = most) -> bool:
                return len(link.channels()) > most or not here.unit.pending()

            async with session(here.unit, link):
                await until(ended, "some batches")
                link.cut()
            sent += sum(len(batch.lines) for batch in link.batches())
            restarts += 1
        assert restarts >= RESTARTS
        assert sent <= 1.1 * RECORDS
        conserved(here.unit, here.centre)
