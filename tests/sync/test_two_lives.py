"""Two computers with one state folder, both alive: what either saved is at the centre, once."""

from __future__ import annotations

import contextlib
import shutil
from typing import TYPE_CHECKING

import pytest

from agent.store.figures import figures
from agent.store.store import Store
from central import backoff as central_backoff
from sync import backoff, session

from .relay import Relay
from .rig import DESTINATION, UNIT, Place, Unit, conserved, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.brokers import Mosquitto


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    for side in (backoff, central_backoff):
        monkeypatch.setattr(side, "FIRST", 0.02)
        monkeypatch.setattr(side, "CEILING", 0.5)
    monkeypatch.setattr(session, "ANSWER_TIMEOUT", 2.0)
    monkeypatch.setattr(session, "GREETING_TIMEOUT", 1.5)


@contextlib.contextmanager
def cloned(original: Unit, folder: Path) -> Iterator[Unit]:
    """The folder as it stands now, in a second life with the same name and keys."""
    shutil.copytree(original.store.folder, folder, ignore=shutil.ignore_patterns("lock"))
    clone = Unit.__new__(Unit)
    clone.key, clone.centre_key = original.key, original.centre_key
    clone.store = Store.open(folder, original.store.key, UNIT, "clinical")
    clone.outbox = clone.store.outbox(DESTINATION)
    clone.saved = dict(original.saved)
    try:
        yield clone
    finally:
        clone.store.close()


def epochs(unit: Unit) -> int:
    found: int = unit.store.reader.execute("SELECT count(*) FROM epoch").fetchone()[0]
    return found


@pytest.mark.parametrize("of_the_clone", [2, 6, 9], ids=["shorter", "as long", "longer"])
async def test_a_clone_that_went_its_own_way_begins_anew_and_nothing_is_lost_or_doubled(
    of_the_clone: int, here: Place, mosquitto: Mosquitto, tmp_path: Path
) -> None:
    """T28: C-8.5: one after the other; the second finds its seqs taken by another history."""
    with here.centre.receiving(mosquitto.port):
        async with here.unit.online(mosquitto.port):
            await here.unit.record_many(5)
            await here.unit.settled()
        with cloned(here.unit, tmp_path / "clone") as clone:
            await here.unit.record_many(6)
            await clone.record_many(of_the_clone)
            for _ in range(2):
                for each in (here.unit, clone):
                    async with each.online(mosquitto.port):
                        await each.settled()
                    await each.record()
            for each in (here.unit, clone):
                async with each.online(mosquitto.port):
                    await each.settled()
            assert (epochs(here.unit), epochs(clone)) == (1, 2)
            assert "restored-copy" in clone.alarms()
            assert figures(clone.store.reader, DESTINATION)["refused"] == 0
            here.unit.saved |= clone.saved
    conserved(here.unit, here.centre)


async def test_two_that_are_online_at_once_take_turns_and_both_end_whole(
    here: Place, mosquitto: Mosquitto, tmp_path: Path
) -> None:
    """The broker throws out whoever was there first; receipts of one are read by the other."""
    with here.centre.receiving(mosquitto.port):
        async with here.unit.online(mosquitto.port):
            await here.unit.record_many(5)
            await here.unit.settled()
        with cloned(here.unit, tmp_path / "clone") as clone:
            async with (
                Relay(mosquitto.port) as relay,
                here.unit.online(relay.port),
                clone.online(relay.port),
            ):
                for _ in range(10):
                    await here.unit.record()
                    await clone.record()
                await until(
                    lambda: here.unit.confirmed() and clone.confirmed(), "both to be confirmed"
                )
            here.unit.saved |= clone.saved
    conserved(here.unit, here.centre)
