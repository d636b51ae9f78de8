"""Pair, bind and forget while the unit runs: by a person, live, and never the neighbour's."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import date, datetime
from itertools import islice
from typing import TYPE_CHECKING

import pytest
from sqlite_utils import Database

from agent.board import Board, DeviceState
from agent.sightings import Sightings
from agent.stations import calibration
from agent.store import schema
from agent.store.bindings import AlreadyBound, Binding, NotBound, bind, bindings, release
from agent.store.connection import open_writer
from agent.store.figures import figures
from agent.store.settling import alarm
from agent.store.store import Store
from drivers.base import Device, Identity
from drivers.blood_pressure import simulator
from drivers.lab.gatt_peripheral import CUFF, GattPeripheral, Model, Security
from drivers.lab.radio import Ether

from .unit import ROOT, Unit, end, environment, tables

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

OURS, NEIGHBOURS = "F1:00:00:00:00:01", "F1:00:00:00:00:02"
START = datetime(2026, 11, 21, 8)  # noqa: DTZ001 - devices know no time zone
FRAMES = list(islice(simulator.frames(seed=1, start=START), 6))
BINDING = Binding(f"ble:{OURS}", "blood-pressure", "box1-cuff", "1", OURS, "amal", "2027-01-31")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store.open(tmp_path / "state", "ab" * 48, "truck-01", "simulated")
    yield store
    store.close()


async def test_binding_is_on_disk_and_a_released_one_stays_for_the_record(store: Store) -> None:
    await store.writer.write(lambda connection: bind(connection, BINDING))
    assert bindings(store.reader) == [BINDING]
    assert await store.writer.write(lambda each: release(each, "box1-cuff", "badr")) == BINDING
    assert bindings(store.reader) == []
    moved = replace(BINDING, box="2", name="box2-cuff")
    await store.writer.write(lambda connection: bind(connection, moved))
    rows = store.reader.execute("SELECT name, bound_by, released_by FROM binding ORDER BY binding")
    assert rows.fetchall() == [("box1-cuff", "amal", "badr"), ("box2-cuff", "amal", None)]


@pytest.mark.parametrize(
    "second",
    [
        replace(BINDING, device="ble:X", place="X"),
        replace(BINDING, name="box2-cuff", box="2"),
    ],
)
async def test_nothing_is_bound_anew_before_a_person_has_forgotten_it(
    store: Store, second: Binding
) -> None:
    await store.writer.write(lambda connection: bind(connection, BINDING))
    with pytest.raises(AlreadyBound, match="qafila devices forget box1-cuff"):
        await store.writer.write(lambda connection: bind(connection, second))
    assert bindings(store.reader) == [BINDING]
    with pytest.raises(NotBound):
        await store.writer.write(lambda connection: release(connection, "box9-cuff", "badr"))


def test_database_of_the_first_schema_is_migrated_and_keeps_what_it_has(tmp_path: Path) -> None:
    key = "ab" * 48
    first = open_writer(tmp_path, key)
    schema.store.apply(Database(first), stop_before="binding")
    alarm(first, "old", "an alarm from before")
    assert first.execute("SELECT 1 FROM sqlite_master WHERE name = 'binding'").fetchone() is None
    first.close()
    migrated = Store.open(tmp_path, key, "truck-01", "simulated")
    names = [row[0] for row in migrated.reader.execute("SELECT name FROM _sqlite_migrations")]
    assert bindings(migrated.reader) == []
    (kept,) = figures(migrated.reader, "centre")["alarms"]
    migrated.close()
    assert kept["code"] == "old"
    assert {"log", "binding"} < set(names) == set(schema.NAMES)


@pytest.mark.parametrize(
    ("due", "words"),
    [
        (None, ""),
        (date(2027, 2, 20), ""),
        (date(2027, 2, 10), "its calibration is due on 2027-02-10"),
        (date(2027, 1, 30), "its calibration was due on 2027-01-30"),
    ],
)
def test_calibration_is_said_from_two_weeks_before(due: date | None, words: str) -> None:
    assert calibration(due, date(2027, 1, 31)) == words


async def test_cuff_with_the_serial_number_of_another_box_is_said_aloud_and_not_rebound(
    store: Store,
) -> None:
    board, bound = Board(), [("ble:A", "1"), ("ble:B", "2")]
    for name in ("box1-cuff", "box2-cuff"):
        board.devices[name] = DeviceState("blood-pressure", name[3], "at")
    sightings = Sightings(store, board, lambda: bound)
    said = Identity("A&D", "UA-651BLE", "5101234")

    async def read(name: str, device: str, identity: Identity = said) -> dict[str, str]:
        sightings.saw(name, name[3], Device(device, "blood-pressure", name), identity)
        await asyncio.gather(*sightings._noting)
        return board.devices[name].notes

    assert await read("box1-cuff", "ble:A") == {}
    assert await read("box1-cuff", "ble:A") == {}
    notes = await read("box2-cuff", "ble:B")
    assert "is that of box1-cuff of box 1, and it is read in box 2" in notes["device-moved"]
    (raised,) = figures(store.reader, "centre")["alarms"]
    assert raised["code"] == "device-moved-box2-cuff"
    assert await read("box1-cuff", "ble:A") == {}
    bound.remove(("ble:A", "1"))
    assert await read("box2-cuff", "ble:B") == {}
    assert await read("box2-cuff", "ble:B", replace(said, serial="0000")) == {}


@asynccontextmanager
async def truck(
    folder: Path, *models: Model, fixed: str = ""
) -> AsyncIterator[tuple[Unit, list[GattPeripheral]]]:
    """A unit that runs, and devices in the air around it, at the addresses above."""
    ether = Ether()
    radio = await ether.listen()
    devices = []
    try:
        for address, model in zip((OURS, NEIGHBOURS), models, strict=False):
            hci = ether.controller(address)
            devices.append(GattPeripheral(hci, hci, model, address))
            await devices[-1].power_on()
        with Unit(folder, f'{fixed}\n[bluetooth]\nradio = "{radio}"') as unit:
            unit.start()
            await unit.soon(lambda status: status["unit"], "the agent")
            yield unit, devices
            assert await asyncio.to_thread(end, unit.agents[-1]) == 0
    finally:
        for device in devices:
            await device.power_off()
        await ether.close()


async def cli(unit: Unit, *words: str) -> tuple[int, str]:
    told = await asyncio.to_thread(unit.cli, "devices", *words)
    return told.returncode, told.stdout + told.stderr


async def said(unit: Unit, words: tuple[str, ...], sentence: str) -> str:
    """What a command prints once it says `sentence`: `status.json` is two seconds behind."""
    async with asyncio.timeout(60):
        while True:
            told = (await asyncio.to_thread(unit.cli, *words)).stdout
            if sentence in told:
                return told


BIND = ("bind", OURS, "1", "--driver", "blood-pressure", "--name", "box1-cuff", "--actor", "amal")


async def test_cuff_is_bound_and_forgotten_live_and_the_neighbours_is_never_captured(
    tmp_path: Path,
) -> None:
    async with truck(tmp_path, CUFF, replace(CUFF, name="Next door")) as (unit, (ours, other)):
        await other.measure(FRAMES[5])
        await ours.measure(FRAMES[0])
        seen = {OURS, NEIGHBOURS}
        await unit.soon(lambda s: {e["address"] for e in s["unbound"]} == seen, "both in the air")
        assert ours.visits == other.visits == 0
        await said(unit, ("devices",), f"seen, not bound: Next door {NEIGHBOURS}")
        await said(unit, ("devices",), "(services 1810); needs no pairing")

        assert await cli(unit, *BIND) == (0, "box1-cuff is bound to box 1\n")
        await unit.soon(lambda s: s["store"]["saved"] == 1, "a reading without a restart")
        assert (await cli(unit, *BIND))[0] == 1
        listed = json.loads(await said(unit, ("devices", "list", "--json"), "box1-cuff"))
        assert listed["devices"]["box1-cuff"]["box"] == "1"
        assert [each["address"] for each in listed["unbound"]] == [NEIGHBOURS]

        forget = ("forget", "box1-cuff", "--actor", "amal")
        assert await cli(unit, *forget) == (0, "box1-cuff is forgotten\n")
        assert (await cli(unit, *forget))[0] == 1
        visits = ours.visits
        await ours.measure(FRAMES[1])
        status = await unit.soon(
            lambda s: OURS in {each["address"] for each in s["unbound"]}, "it is unbound again"
        )
        assert (ours.visits, status["devices"]) == (visits, {})
        assert (other.visits, list(other.stored)) == (0, [FRAMES[5]])
        assert status["store"]["saved"] == 1


async def test_binding_outlives_the_agent_and_a_wrong_one_is_refused_in_a_sentence(
    tmp_path: Path,
) -> None:
    fixed = tables({"box9-ecg": ("healthypi6", "/dev/none", "9")})
    async with truck(tmp_path, CUFF, fixed=fixed) as (unit, (ours,)):
        wrong = {
            ("bind", "kitchen", "1", *BIND[3:]): "kitchen is no Bluetooth address",
            ("bind", OURS, "1", "--driver", "oven", *BIND[5:]): "no such driver",
            ("bind", OURS, "Box One", *BIND[3:]): "box",
            ("bind", "/dev/none", "1", *BIND[3:]): "take it out of unit.toml first",
            (*BIND, "--calibration-due", "soon"): "calibration_due",
            ("forget", "box9-ecg", "--actor", "a"): "written in unit.toml",
            ("forget", "box1-cuff", "--actor", "a"): "no device called box1-cuff",
        }
        for words, sentence in wrong.items():
            code, told = await cli(unit, *words)
            assert (code, told.count("\n")) == (1, 1)
            assert told.startswith("Error: ")
            assert sentence in told
        assert (await cli(unit, *BIND, "--calibration-due", "2026-01-31"))[0] == 0
        assert await asyncio.to_thread(end, unit.agents[-1]) == 0
        unit.start()
        status = await unit.soon(
            lambda s: s["devices"].get("box1-cuff", {}).get("notes"), "the binding and its note"
        )
        assert status["devices"]["box1-cuff"]["notes"] == {
            "calibration-due": "its calibration was due on 2026-01-31"
        }
        await said(unit, ("status",), "box1-cuff: its calibration was due on 2026-01-31")
        await ours.measure(FRAMES[0])
        await unit.soon(lambda s: s["store"]["saved"] == 1, "a reading of the bound cuff")


async def test_nurse_types_the_passkey_that_the_cuff_shows(tmp_path: Path) -> None:
    model = replace(CUFF, security=Security.PASSKEY)
    async with truck(tmp_path, model) as (unit, (cuff,)):
        assert (await cli(unit, *BIND))[0] == 0
        await cuff.measure(FRAMES[0])
        await unit.soon(
            lambda s: s["devices"]["box1-cuff"]["state"] == "needs-pairing", "the cuff to refuse"
        )
        words = ["devices", "pair", OURS, "--settings", str(unit.settings)]
        nurse = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "agent", *words),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment(),
            cwd=ROOT,
        )
        assert nurse.stdin is not None
        async with asyncio.timeout(60):
            while cuff.passkey is None:  # noqa: ASYNC110 - what is polled has no event
                await asyncio.sleep(0.01)
        told, _ = await nurse.communicate(f"{cuff.passkey:06}\n".encode())
        assert nurse.returncode == 0, told
        assert f"{OURS} is paired" in told.decode()
        await unit.soon(lambda s: s["store"]["saved"] == 1, "the reading that had been refused")
