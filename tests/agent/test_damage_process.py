"""The agent as a process on a damaged database: it runs, salvages, and says so."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
from typing import TYPE_CHECKING, Any

import pytest

from agent.damage.cipher import PAGE
from agent.store.bindings import Binding, bind
from agent.store.connection import FILE
from drivers.base import Device, RawFrame

from .store.damage import flip_page, pages_of
from .store.truck import STAMP, capture
from .unit import CEILING, Unit, end

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from agent.store.store import Store

RECORDS = 40
FRAME = "167c0056006100e807060f11111b33000000"
"""A pressure, as docs/reference/cli.md decodes it."""
BOUND = Binding("port:/dev/nowhere", "healthypi6", "box1-ecg", "1", "/dev/nowhere", "tester")


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Unit:
    unit = Unit(tmp_path_factory.mktemp("damaged") / "unit")
    store = unit.store()
    asyncio.run(_fill(store))
    store.close()
    return unit


async def _fill(store: Store) -> None:
    for n in range(RECORDS):
        await store.record(capture(b"%d" % n, repeatable=True))
    cuff = Device("ble:F1:F1:F1:F1:F1:F1", "blood-pressure", "box1-cuff")
    await store.keep(RawFrame("2A35", bytes.fromhex(FRAME)), cuff, "1", STAMP)
    await store.writer.write(lambda c: bind(c, BOUND))


@pytest.fixture
def unit(template: Unit, tmp_path: Path) -> Iterator[Unit]:
    with Unit(tmp_path / "unit") as unit:
        shutil.rmtree(unit.state)
        shutil.copytree(template.state, unit.state)
        yield unit


def salvaged(status: dict[str, Any]) -> bool:
    damage = status["store"]["damage"]
    return bool(damage) and damage[-1]["finished"] is not None


def test_t04_agent_on_a_zeroed_head_runs_and_takes_up_everything(unit: Unit) -> None:
    with (unit.state / FILE).open("r+b") as file:
        file.write(bytes(3 * PAGE))
    agent = unit.start()
    recovered = f"{RECORDS} records recovered, 0 lost"
    status = unit.until(salvaged, "the salvage")
    (damage,) = status["store"]["damage"]
    assert (damage["records"], damage["lost"]) == (RECORDS, 0)
    status = unit.until(
        lambda status: status["store"]["lanes"]["clinical"]["last"] == RECORDS + 1,
        "the frame that nobody had decoded",
    )
    assert status["store"]["undecoded"] == 0
    assert "box1-ecg" in status["devices"], "a bound device is served again without a restart"
    unit.until(lambda _: recovered in unit.cli("status").stdout, "what the status file says")
    told = unit.cli("status")
    assert told.returncode == 1
    assert "damaged/1 " in told.stdout
    assert end(agent) == 0
    assert "Traceback" not in unit.log.read_text()
    assert json.loads(unit.cli("fsck", "--json").stdout)["verdict"] == "sound"


def test_damage_met_while_starting_is_set_aside_at_the_next_start(unit: Unit) -> None:
    flip_page(unit.state, pages_of(unit.state, "binding")[0])
    agent = unit.start()
    assert agent.wait(CEILING) == 1
    assert unit.log.read_text().splitlines()[-1].startswith("Error: the database is damaged: ")
    agent = unit.start()
    unit.until(salvaged, "the salvage")
    assert end(agent, signal.SIGTERM) == 0
    assert "Traceback" not in unit.log.read_text()


@pytest.mark.parametrize(
    ("page", "words"),
    [
        (0, "Error: the database is damaged: "),  # whoever reads the queue meets it
        (2, "Error: 1 pages of the database can't be read any more"),  # nobody reads it: the scrub
    ],
)
def test_t06_damage_found_at_work_ends_the_process_and_the_next_start_goes_on(
    unit: Unit, page: int, words: str
) -> None:
    flip_page(unit.state, pages_of(unit.state, "record")[page])
    agent = unit.start()
    assert agent.wait(CEILING) == 1
    lines = unit.log.read_text().splitlines()
    assert lines[-1].startswith(words)
    agent = unit.start()
    status = unit.until(salvaged, "the salvage")
    (damage,) = status["store"]["damage"]
    assert damage["records"] + damage["lost"] == RECORDS + 1, "the frame was decoded before"
    assert 0 < damage["lost"] < RECORDS // 4
    assert end(agent, signal.SIGTERM) == 0
    assert "Traceback" not in unit.log.read_text()
