"""A stick in a unit: its recordings are in the store once, however often it is plugged in."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, closing
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from agent.board import Board
from agent.consultations import open_consultation
from agent.stations import Stations
from agent.store.store import Store
from config.model import Device, Settings, Unit
from drivers.contec_ecg90a.simulator import UNSET_CLOCK, file_of, heart
from drivers.dicom.waveform import LONGEST
from drivers.links import files

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    import pytest

NAME = "box2-ecg"


def recording(samples: int) -> bytes:
    moment = datetime(2026, 3, 14, 9, 26, 53)  # noqa: DTZ001 - a device's clock knows no zone
    return file_of(heart(samples), moment, name="SYNTHETI")


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not true():  # noqa: ASYNC110 - what is polled has no event
            await asyncio.sleep(0.02)


@asynccontextmanager
async def unit(store: Store, stick: Path) -> AsyncIterator[Board]:
    device = Device(name=NAME, driver="contec-ecg90a", at=str(stick), box="2")
    board = Board()
    stations = Stations(store, board, Settings(unit=Unit(name="unit-1"), devices=(device,)))
    run = asyncio.create_task(stations.run())
    yield board
    run.cancel()
    await asyncio.wait({run})


def count(store: Store, table: str) -> int:
    (found,) = store.reader.execute(f"SELECT count(*) FROM {table}").fetchone()
    return int(found)


def taken(board: Board) -> bool:
    return NAME in board.devices and board.devices[NAME].state == "connected"


async def test_stick_plugged_in_again_and_after_a_restart_imports_nothing_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "EVERY_S", 0.02)
    stick, pocket = tmp_path / "stick", tmp_path / "pocket"
    stick.mkdir()
    (stick / "0000001.ECG").write_bytes(recording(100))
    (stick / "0000002.ECG").write_bytes(recording(LONGEST + 1))
    with closing(Store.open(tmp_path / "state", "0" * 96, "unit-1", "simulated")) as store:
        async with unit(store, stick) as board:
            await until(lambda: taken(board))
            assert count(store, "record") == 2
            stick.rename(pocket)
            await until(lambda: board.devices[NAME].state == "unavailable")
            pocket.rename(stick)
            await until(lambda: taken(board))
            assert board.devices[NAME].readings == 2
        async with unit(store, stick) as board:
            await until(lambda: taken(board))
            assert board.devices[NAME].readings == 0
        assert count(store, "record") == 2
        assert count(store, "record_blob") == 3
        assert count(store, "frame") == 0


PATIENT = "0198c6a1-7a5e-7000-8000-000000000001"


async def test_recordings_of_who_knows_when_are_never_given_to_the_open_consultation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "EVERY_S", 0.02)
    stick = tmp_path / "stick"
    stick.mkdir()
    with closing(Store.open(tmp_path / "state", "0" * 96, "unit-1", "simulated")) as store:
        opened = await store.writer.write(
            lambda connection: open_consultation(connection, "2", PATIENT, "nurse")
        )
        soon = datetime.now().astimezone().replace(tzinfo=None, microsecond=0) + timedelta(
            seconds=2
        )
        dates: list[datetime | str] = [
            UNSET_CLOCK,
            "2000-01-01 00:00:00",
            soon - timedelta(days=1),
            soon,
        ]
        for number, when in enumerate([*dates, soon + timedelta(days=1)]):
            (stick / f"{number}.ECG").write_bytes(file_of(heart(10), when))
        async with unit(store, stick) as board:
            await until(lambda: taken(board))
        found = store.reader.execute(
            "SELECT record.consultation, tray.why FROM record "
            "LEFT JOIN tray ON tray.record_id = record.record_id"
        ).fetchall()
    assert len(found) == 5
    assert [why for consultation, why in found if consultation == opened] == [None]
    unknown = "it lay in the device, and nobody can tell when it was taken"
    older = "the reading is older than the open consultation"
    assert sorted(why for _, why in found if why) == [unknown] * 3 + [older]
