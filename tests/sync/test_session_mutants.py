"""Three ways to break the promise, each caught by the oracle that the other tests use.

If one of these passed, `conserved` would not be worth its name.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import msgspec
import pytest

from agent.store import settling
from sync import session as sessions

from .ledger_link import LedgerLink, session
from .rig import UNIT, Centre, Place, conserved, until

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from typing import Any

PICTURE = random.Random(10).randbytes(50_000)


@pytest.fixture
def mutant(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Break the unit in the way that the parameter names; `none` leaves it whole."""
    name: str = request.param
    if name == "settles before the receipt":
        monkeypatch.setattr(LedgerLink, "publish", settling_at_once(LedgerLink.publish))
    elif name == "ignores missing":
        apply = settling.apply
        monkeypatch.setattr(
            settling,
            "apply",
            lambda connection, where, unit, receipt, **more: apply(
                connection, where, unit, msgspec.structs.replace(receipt, missing=()), **more
            ),
        )
    elif name == "believes old blobs":
        monkeypatch.setattr(settling, "_follow_epoch", lambda *_: None)
    return name


def settling_at_once(publish: Any) -> Any:
    """Take the broker's word for delivery: what was handed over is settled."""

    async def publishing(self: LedgerLink, channel: str, payload: bytes) -> None:
        await publish(self, channel, payload)
        if channel.startswith("up/log/"):
            header = self.batches()[-1].header
            newest = self.receipts[-1]
            told = msgspec.structs.replace(
                newest,
                serial=newest.serial + 100,
                lane=header.lane,
                through=header.last,
                last=header.last,
                missing=(),
                head_hash=header.head_hash,
            )
            self.put(self.seal(told))

    return publishing


async def lossy_day(here: Place) -> None:
    """The first batch never reaches the centre, a later one does; the unit believes what it may."""
    await here.unit.record_many(20)
    lost: list[str] = []

    def lose_the_first(channel: str, payload: bytes) -> Sequence[tuple[str, bytes]]:
        if channel.startswith("up/log/") and not lost:
            lost.append(channel)
            return []
        return [(channel, payload)]

    with here.centre.ledger() as ledger:
        link = LedgerLink(here.unit, here.centre, ledger)
        link.on_the_way_up = lose_the_first
        async with session(here.unit, link):
            await until(lambda: lost, "the loss")
            await here.unit.record()
            await here.unit.settled()
    conserved(here.unit, here.centre)


async def change_of_centre(here: Place, folder: Path) -> None:
    """A picture is at one centre; another one follows, which has nothing."""
    await here.unit.record(PICTURE)
    with here.centre.ledger() as ledger:
        async with session(here.unit, LedgerLink(here.unit, here.centre, ledger)):
            await here.unit.settled()
    heir = Centre(folder / "heir")
    heir.key = here.centre.key
    heir.enrol(UNIT, here.unit.key)
    await here.unit.record()
    with heir.ledger() as ledger:
        async with session(here.unit, LedgerLink(here.unit, heir, ledger)):
            await here.unit.settled()
    conserved(here.unit, heir, PICTURE)


@pytest.mark.parametrize(
    "mutant", ["none", "settles before the receipt", "ignores missing"], indirect=True
)
async def test_settling_too_early_or_too_much_is_caught(
    mutant: str, here: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "ANSWER_TIMEOUT", 2.0)  # the next record has to come before
    if mutant == "none":
        await lossy_day(here)
        return
    with pytest.raises(AssertionError):
        await lossy_day(here)


@pytest.mark.parametrize("mutant", ["none", "believes old blobs"], indirect=True)
async def test_believing_blobs_of_an_earlier_centre_is_caught(
    mutant: str, here: Place, tmp_path: Path
) -> None:
    if mutant == "none":
        await change_of_centre(here, tmp_path)
        return
    with pytest.raises(AssertionError):
        await change_of_centre(here, tmp_path)
